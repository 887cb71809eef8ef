/* help.c - --help: how to call it, then one line for each row of the table. */
#include "config.h"

#include "table.h"

#define FLAG_COLUMN    33
#define DEFAULT_COLUMN 14

static const char usage[] =
    "usage: leangate [APP] [options]\n"
    "\n"
    "  leangate                          serve the apps of ./gateway.ini\n"
    "  leangate -c FILE                  serve the apps of FILE\n"
    "  leangate main:app                 serve one app on http://127.0.0.1:8000\n"
    "  leangate shop/main.py:app -b :80  the same from a file, on port 80 of every address\n"
    "  leangate script.py                serve a file: an app, or a CGI script\n"
    "  leangate public/                  serve a directory of scripts and files\n"
    "  leangate warm [APP]               compile and record the start of every app once, then exit\n"
    "  leangate profile APP [/PATH ...]  show what a start and these requests cost, then exit\n"
    "\n"
    "APP is module:attribute, module, file.py:attribute, file.py or a directory.\n"
    "\n"
    "  -c, --config FILE   read this file\n"
    "  -b, --bind ADDRESS  listen there; --host and --port, --uds PATH do too\n"
    "  -w N                --workers N\n"
    "  --threads N         --concurrency N\n"
    "  --app-dir DIR       --directory DIR\n"
    "  --timeout SECONDS   --request-timeout, in seconds\n"
    "  --dev               --reload and --debug, for this machine alone\n"
    "  -t                  check the file and import every app, then exit\n"
    "  -T                  print the effective configuration and who set each value, then exit\n"
    "  -V, --version       print the version\n"
    "  -h, --help          print this\n"
    "\n"
    "Each key of gateway.ini is a flag and a variable: --log-format json, LEANGATE_LOG_FORMAT=json.\n"
    "Times: 250ms 10s 5m 2h. Sizes: 512 64k 10m 1g. Lists may be repeated.\n"
    "An on/off flag alone means on; its value stands behind =: --reload=off.\n";

static const char *const values[] = {
    [TABLE_BOOL] = "",        [TABLE_TIME] = " TIME",   [TABLE_SIZE] = " SIZE", [TABLE_NUMBER] = " N",
    [TABLE_OCTAL] = " OCTAL", [TABLE_CHOICE] = " WORD", [TABLE_TEXT] = " TEXT", [TABLE_LIST] = " TEXT...",
};

static void print_row(FILE *out, const struct table_row *row)
{
    char flag[TABLE_NAME];
    table_flag(row, flag);
    int width = fprintf(out, "  %s%s", flag, values[row->type]);
    int pad = width > 0 && width < FLAG_COLUMN ? FLAG_COLUMN - width : 1;
    (void)fprintf(out, "%*s%-*s %s\n", pad, "", DEFAULT_COLUMN, *row->standard != '\0' ? row->standard : "-",
                  row->help);
}

void conf_help(FILE *out)
{
    (void)fputs(usage, out);
    for (int section = 0; section < TABLE_SECTIONS; section++) {
        (void)fprintf(out, "\n[%s]%s\n", table_section_name((enum table_section)section),
                      section == TABLE_APP ? "  defaults of every app; [app:NAME] in a file wins over them"
                                           : "");
        for (size_t i = 0; i < table_count; i++)
            if (table_rows[i].section == (enum table_section)section)
                print_row(out, &table_rows[i]);
    }
}
