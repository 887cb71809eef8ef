/* table.c - the rows, in the order of --help and -T, and the names that follow from them. */
#include "table.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

#define GATEWAY(field) TABLE_GATEWAY, #field
#define LIMITS(field)  TABLE_LIMITS, #field
#define TIMEOUT(field) TABLE_TIMEOUTS, #field
#define APP(field)     TABLE_APP, #field
#define AT(field)      offsetof(struct conf, field)
#define APP_AT(field)  offsetof(struct conf_app, field)

#define SECOND 1000LL
#define DAY    (24 * 3600 * SECOND)
#define YEAR   (365 * DAY)
#define K      1024LL
#define M      (1024 * K)
#define G      (1024 * M)
#define T      (1024 * G)

/* Sizes of memory stay below 4g, for buffers count in 32 bits; sizes of files do not. Times have a floor of
 * 10ms where less would only ever be a mistake. */
/* clang-format off */
const struct table_row table_rows[] = {
    {GATEWAY(listen), TABLE_LIST, AT(listen), "127.0.0.1:8000", 0, 0, NULL, check_listen, 0,
     "host:port, :port, unix:/path, fd:3, systemd[:NAME]"},
    {GATEWAY(listen_mode), TABLE_OCTAL, AT(listen_mode), "0660", 0, 0777, NULL, NULL, 0,
     "mode of unix sockets, octal"},
    {GATEWAY(backlog), TABLE_NUMBER, AT(backlog), "511", 1, 65535, NULL, NULL, 0,
     "connections the kernel may hold"},
    {GATEWAY(user), TABLE_TEXT, AT(user), "", 0, 0, NULL, check_user, TABLE_EMPTY,
     "drop to this user once bound (root only)"},
    {GATEWAY(group), TABLE_TEXT, AT(group), "", 0, 0, NULL, check_user, TABLE_EMPTY,
     "and to this group; empty: the user's"},
    {GATEWAY(trusted_proxies), TABLE_LIST, AT(trusted_proxies), "127.0.0.1 ::1 unix", 0, 0, NULL,
     check_trusted, TABLE_EMPTY, "whose word counts: addresses, private, unix, *"},
    {GATEWAY(forwarded), TABLE_LIST, AT(forwarded), "x-forwarded-for x-forwarded-proto", 0, 0, NULL,
     check_forwarded, TABLE_EMPTY, "what they are believed"},
    {GATEWAY(proxy_protocol), TABLE_BOOL, AT(proxy_protocol), "off", 0, 0, NULL, NULL, 0,
     "the peer must send a PROXY v1 or v2 header"},
    {GATEWAY(server_header), TABLE_BOOL, AT(server_header), "off", 0, 0, NULL, NULL, 0,
     "answer with Server: leangate"},
    {GATEWAY(cache_dir), TABLE_TEXT, AT(cache_dir), "", 0, 0, NULL, check_cache_dir, TABLE_EMPTY,
     "bytecode and start-up records of workers; off"},
    {TABLE_GATEWAY, "include", TABLE_LIST, 0, "", 0, 0, NULL, NULL, TABLE_EMPTY | TABLE_LINES | TABLE_INCLUDE,
     "more files, globs"},

    {LIMITS(connections), TABLE_NUMBER, AT(connections), "4096", 1, 1000000, NULL, NULL, 0,
     "clients at once"},
    {LIMITS(request_line), TABLE_SIZE, AT(request_line), "8k", 64, M, NULL, NULL, 0,
     "longest request line, else 414"},
    {LIMITS(headers), TABLE_SIZE, AT(headers), "32k", 128, M, NULL, NULL, 0,
     "longest request head, else 431"},
    {LIMITS(header_count), TABLE_NUMBER, AT(header_count), "100", 1, 1000, NULL, NULL, 0,
     "most request headers, else 431"},
    {LIMITS(body_memory), TABLE_SIZE, AT(body_memory), "64k", 0, G, NULL, NULL, 0,
     "a larger body waits in an unlinked file"},
    {LIMITS(response_headers), TABLE_SIZE, AT(response_headers), "32k", 128, M, NULL, NULL, 0,
     "longest head of an answer, else 502"},
    {LIMITS(response_memory), TABLE_SIZE, AT(response_memory), "256k", 4 * K, G, NULL, NULL, 0,
     "per answer; more waits in an unlinked file"},
    {LIMITS(response_spool), TABLE_SIZE, AT(response_spool), "64m", 0, T, NULL, NULL, 0,
     "then a worker is slowed to the client's speed"},
    {LIMITS(buffers), TABLE_SIZE, AT(buffers), "64m", M, T, NULL, NULL, 0,
     "all heads, bodies and answers held in memory"},
    {LIMITS(spool), TABLE_SIZE, AT(spool), "512m", 0, T, NULL, NULL, 0,
     "all unlinked files; beyond it 503 for new bodies"},
    {LIMITS(workers), TABLE_NUMBER, AT(workers), "32", 1, 100000, NULL, NULL, 0,
     "processes at once over all apps"},

    {TIMEOUT(header), TABLE_TIME, AT(header), "10s", 10, DAY, NULL, NULL, 0,
     "the whole request head, else 408"},
    {TIMEOUT(body), TABLE_TIME, AT(body), "30s", 10, DAY, NULL, NULL, 0,
     "between two reads of a body, then 500 B/s; else 408"},
    {TIMEOUT(send), TABLE_TIME, AT(send), "30s", 10, DAY, NULL, NULL, 0,
     "a client that does not read its answer"},
    {TIMEOUT(keepalive), TABLE_TIME, AT(keepalive), "75s", 10, DAY, NULL, NULL, 0,
     "an idle connection"},
    {TIMEOUT(drain), TABLE_TIME, AT(drain), "25s", 0, DAY, NULL, NULL, 0,
     "from SIGTERM to exit"},
    {TIMEOUT(drain_delay), TABLE_TIME, AT(drain_delay), "0s", 0, DAY, NULL, NULL, 0,
     "go on accepting after SIGTERM, not ready any more"},
    {TIMEOUT(idle_exit), TABLE_TIME, AT(idle_exit), "off", 10, YEAR, NULL, NULL, TABLE_OFF,
     "then leangate itself exits with 0; off"},

    {TABLE_LOG, "level", TABLE_CHOICE, AT(log_level), "info", 0, 0, "debug info warning error", NULL, 0,
     "debug, info, warning, error"},
    {TABLE_LOG, "access", TABLE_TEXT, AT(access), "stdout", 0, 0, NULL, check_access, 0,
     "one line a request: stdout, stderr, off, a path"},
    {TABLE_LOG, "error", TABLE_TEXT, AT(error), "stderr", 0, 0, NULL, check_error, 0,
     "leangate's own messages: stderr, a path"},
    {TABLE_LOG, "format", TABLE_CHOICE, AT(log_format), "text", 0, 0, "text combined json", NULL, 0,
     "text, combined, json"},
    {TABLE_LOG, "worker", TABLE_CHOICE, AT(worker_output), "auto", 0, 0, "auto raw tagged", NULL, 0,
     "workers' output: raw, tagged; auto: raw for one app"},
    {TABLE_LOG, "request_id", TABLE_TEXT, AT(request_id), "X-Request-ID", 0, 0, NULL, check_request_id, 0,
     "the header that carries it; off"},
    {TABLE_LOG, "server_timing", TABLE_BOOL, AT(server_timing), "off", 0, 0, NULL, NULL, 0,
     "answer with Server-Timing: queue, start, app"},

    {TABLE_STATUS, "listen", TABLE_TEXT, AT(status_listen), "off", 0, 0, NULL, check_status_listen, 0,
     "where / /status.json /metrics are answered; off"},
    {TABLE_STATUS, "health_path", TABLE_TEXT, AT(health_path), "/-/health", 0, 0, NULL, check_own_path, 0,
     "answered by the gateway, wakes nobody; off"},
    {TABLE_STATUS, "ready_path", TABLE_TEXT, AT(ready_path), "/-/ready", 0, 0, NULL, check_own_path, 0,
     "503 while draining or no app can start; off"},

    {APP(domain), TABLE_LIST, APP_AT(domain), "", 0, 0, NULL, check_domain, TABLE_EMPTY,
     "host names, *.example.com; empty: any"},
    {APP(path), TABLE_LIST, APP_AT(path), "/", 0, 0, NULL, check_path, 0,
     "whole segments; the longest prefix wins"},
    {APP(strip_path), TABLE_BOOL, APP_AT(strip_path), "on", 0, 0, NULL, NULL, 0,
     "the prefix becomes SCRIPT_NAME"},
    {APP(root_path), TABLE_TEXT, APP_AT(root_path), "", 0, 0, NULL, check_root_path, TABLE_EMPTY,
     "a prefix that a proxy in front has removed"},
    {APP(kind), TABLE_CHOICE, APP_AT(kind), "auto", 0, 0, "auto wsgi asgi cgi files fastcgi", NULL, 0,
     "auto, wsgi, asgi, cgi, files, fastcgi"},
    {APP(module), TABLE_TEXT, APP_AT(module), "", 0, 0, NULL, check_module, TABLE_EMPTY,
     "module:attribute, module, file.py[:attribute]"},
    {APP(factory), TABLE_BOOL, APP_AT(factory), "off", 0, 0, NULL, NULL, 0,
     "call the attribute to get the app"},
    {APP(script), TABLE_TEXT, APP_AT(script), "", 0, 0, NULL, check_in_directory, TABLE_EMPTY,
     "cgi: one Python script"},
    {APP(root), TABLE_TEXT, APP_AT(root), "", 0, 0, NULL, check_in_directory, TABLE_EMPTY,
     "files: the directory"},
    {APP(index), TABLE_LIST, APP_AT(index), "index.py", 0, 0, NULL, check_index, TABLE_EMPTY,
     "files, fastcgi: what a directory answers with"},
    {APP(extensions), TABLE_LIST, APP_AT(extensions), ".py", 0, 0, NULL, check_extension, TABLE_EMPTY,
     "files, fastcgi: what may be run"},
    {APP(address), TABLE_TEXT, APP_AT(address), "", 0, 0, NULL, check_address, TABLE_EMPTY,
     "fastcgi: a server that runs: unix:/path, host:port"},
    {APP(command), TABLE_TEXT, APP_AT(command), "", 0, 0, NULL, check_command, TABLE_EMPTY,
     "fastcgi: started on demand, listening socket on fd 0"},
    {APP(script_filename), TABLE_TEXT, APP_AT(script_filename), "", 0, 0, NULL, check_script_filename,
     TABLE_EMPTY, "fastcgi: SCRIPT_FILENAME, like /srv/www$path"},
    {APP(directory), TABLE_TEXT, APP_AT(directory), ".", 0, 0, NULL, check_keep_absolute, 0,
     "working directory, first on sys.path"},
    {APP(python), TABLE_TEXT, APP_AT(python), "auto", 0, 0, NULL, check_python, 0,
     "interpreter or venv; auto: .venv, venv, python3"},
    {APP(mode), TABLE_CHOICE, APP_AT(mode), "auto", 0, 0, "auto persistent fork", NULL, 0,
     "persistent (wsgi, asgi), fork (cgi, files); auto"},
    {APP(preload), TABLE_LIST, APP_AT(preload), "", 0, 0, NULL, check_preload, TABLE_EMPTY,
     "fork: modules imported once, before the copies"},
    {APP(workers), TABLE_NUMBER, APP_AT(workers), "1", 1, 1000, NULL, NULL, 0,
     "most processes at once"},
    {APP(concurrency), TABLE_NUMBER, APP_AT(concurrency), "auto", 1, 1000, NULL, NULL, TABLE_AUTO,
     "requests one worker serves at once"},
    {APP(idle_timeout), TABLE_TIME, APP_AT(idle_timeout), "60s", 10, YEAR, NULL, NULL, TABLE_OFF,
     "then the worker is stopped; off: never"},
    {APP(start), TABLE_CHOICE, APP_AT(start), "lazy", 0, 0, "lazy check eager", NULL, 0,
     "lazy, check (import at boot), eager; APP: check"},
    {APP(start_timeout), TABLE_TIME, APP_AT(start_timeout), "60s", 10, DAY, NULL, NULL, 0,
     "spawn to ready"},
    {APP(request_timeout), TABLE_TIME, APP_AT(request_timeout), "60s", 10, YEAR, NULL, NULL, TABLE_OFF,
     "to the head of the answer, else 504; off"},
    {APP(stream_timeout), TABLE_TIME, APP_AT(stream_timeout), "5m", 10, YEAR, NULL, NULL, TABLE_OFF,
     "between two pieces of an answer; off"},
    {APP(slow), TABLE_TIME, APP_AT(slow), "5s", 10, YEAR, NULL, NULL, TABLE_OFF,
     "no head after this: log it with Python's stacks; off"},
    {APP(stop_timeout), TABLE_TIME, APP_AT(stop_timeout), "10s", 0, DAY, NULL, NULL, 0,
     "from asking it to stop to SIGKILL"},
    {APP(queue), TABLE_NUMBER, APP_AT(queue), "256", 1, 1000000, NULL, NULL, 0,
     "requests waiting for a worker, then 503"},
    {APP(queue_timeout), TABLE_TIME, APP_AT(queue_timeout), "30s", 10, YEAR, NULL, NULL, TABLE_OFF,
     "longest wait once a worker is ready, else 503; off"},
    {APP(body_size), TABLE_SIZE, APP_AT(body_size), "10m", 0, T, NULL, NULL, TABLE_OFF,
     "largest request body, else 413; off"},
    {APP(max_requests), TABLE_NUMBER, APP_AT(max_requests), "off", 1, 1000000000, NULL, NULL, TABLE_OFF,
     "then a fresh worker takes over; off"},
    {APP(max_rss), TABLE_SIZE, APP_AT(max_rss), "off", M, T, NULL, NULL, TABLE_OFF,
     "the same, looked at after a request; off"},
    {APP(max_age), TABLE_TIME, APP_AT(max_age), "off", 10, YEAR, NULL, NULL, TABLE_OFF,
     "the same for a worker this old; off"},
    {APP(reload), TABLE_BOOL, APP_AT(reload), "off", 0, 0, NULL, NULL, 0,
     "a changed source means a fresh worker"},
    {APP(debug), TABLE_BOOL, APP_AT(debug), "off", 0, 0, NULL, NULL, 0,
     "the traceback is the error page"},
    {APP(lifespan), TABLE_CHOICE, APP_AT(lifespan), "auto", 0, 0, "auto on off", NULL, 0,
     "asgi: auto, on, off"},
    {APP(env), TABLE_LIST, APP_AT(env), "", 0, 0, NULL, check_env, TABLE_EMPTY | TABLE_LINES,
     "NAME=value for the worker"},
    {APP(env_file), TABLE_LIST, APP_AT(env_file), "", 0, 0, NULL, check_in_directory, TABLE_EMPTY | TABLE_LINES,
     "files of NAME=value lines"},
    {APP(bytecode), TABLE_CHOICE, APP_AT(bytecode), "auto", 0, 0, "auto off", NULL, 0,
     "auto: in cache_dir where __pycache__ takes none; off"},
    {APP(prefetch), TABLE_CHOICE, APP_AT(prefetch), "auto", 0, 0, "auto off", NULL, 0,
     "auto: read files ahead when they are not cached; off"},
    {APP(import_cache), TABLE_BOOL, APP_AT(import_cache), "off", 0, 0, NULL, NULL, 0,
     "reuse what the last start found out about imports"},
    {APP(clear_env), TABLE_BOOL, APP_AT(clear_env), "off", 0, 0, NULL, NULL, 0,
     "the worker gets only PATH HOME LANG LC_* TZ TMPDIR"},
    {APP(ignore_idle), TABLE_LIST, APP_AT(ignore_idle), "", 0, 0, NULL, check_path, TABLE_EMPTY,
     "paths that neither wake a worker nor keep it awake"},
    {TABLE_APP, "static", TABLE_LIST, APP_AT(static_files), "", 0, 0, NULL, check_static,
     TABLE_EMPTY | TABLE_LINES, "/url/prefix/ directory: files, without Python"},
    {APP(umask), TABLE_OCTAL, APP_AT(umask), "", 0, 0777, NULL, NULL, TABLE_EMPTY,
     "the worker's, octal; empty: inherited"},
    {APP(limit_address_space), TABLE_SIZE, APP_AT(limit_address_space), "off", M, T, NULL, NULL, TABLE_OFF,
     "the worker's RLIMIT_AS; off"},
    {APP(limit_files), TABLE_NUMBER, APP_AT(limit_files), "", 16, 1 << 30, NULL, NULL, TABLE_EMPTY,
     "the worker's RLIMIT_NOFILE; empty: inherited"},
    {APP(limit_processes), TABLE_NUMBER, APP_AT(limit_processes), "off", 1, 1 << 22, NULL, NULL, TABLE_OFF,
     "the worker's RLIMIT_NPROC; off"},
};
/* clang-format on */

const size_t table_count = sizeof(table_rows) / sizeof(table_rows[0]);

static_assert(sizeof(table_rows) / sizeof(table_rows[0]) <= TABLE_MAX, "TABLE_MAX is too small");

static const char *const section_names[TABLE_SECTIONS] = {"gateway", "limits", "timeouts",
                                                          "log",     "status", "app"};

size_t table_index(const struct table_row *row)
{
    return (size_t)(row - table_rows);
}

size_t table_app_index(const struct table_row *row)
{
    return (size_t)(&table_rows[table_count - 1] - row);
}

const char *table_section_name(enum table_section section)
{
    return section_names[section];
}

bool table_section_find(const char *name, enum table_section *section)
{
    for (int i = 0; i < TABLE_SECTIONS; i++) {
        if (strcmp(section_names[i], name) == 0) {
            *section = (enum table_section)i;
            return true;
        }
    }
    return false;
}

const struct table_row *table_find(enum table_section section, const char *key)
{
    for (size_t i = 0; i < table_count; i++)
        if (table_rows[i].section == section && strcmp(table_rows[i].key, key) == 0)
            return &table_rows[i];
    return NULL;
}

/* [gateway] and [app] by the key alone, other sections with their name before it. */
static const char *prefix(const struct table_row *row)
{
    return row->section == TABLE_GATEWAY || row->section == TABLE_APP ? "" : section_names[row->section];
}

void table_flag(const struct table_row *row, char name[TABLE_NAME])
{
    const char *section = prefix(row);
    (void)snprintf(name, TABLE_NAME, "--%s%s%s", section, *section != '\0' ? "-" : "", row->key);
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '_' ? '-' : *c;
}

void table_variable(const struct table_row *row, char name[TABLE_NAME])
{
    const char *section = prefix(row);
    (void)snprintf(name, TABLE_NAME, "LEANGATE_%s%s%s", section, *section != '\0' ? "_" : "", row->key);
    for (char *c = name; *c != '\0'; c++)
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

static const struct table_row *find_named(void (*make)(const struct table_row *, char *), const char *name)
{
    char own[TABLE_NAME];
    for (size_t i = 0; i < table_count; i++) {
        make(&table_rows[i], own);
        if (strcmp(own, name) == 0)
            return &table_rows[i];
    }
    return NULL;
}

const struct table_row *table_find_flag(const char *name)
{
    return find_named(table_flag, name);
}

const struct table_row *table_find_variable(const char *name)
{
    return find_named(table_variable, name);
}

int table_choice(const char *choices, const char *word)
{
    size_t len = strlen(word);
    int position = 0;
    for (const char *at = choices; *at != '\0'; position++) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, word, n) == 0)
            return position;
        at += n;
        at += strspn(at, " ");
    }
    return -1;
}

void table_choice_text(const char *choices, int position, char word[TABLE_NAME])
{
    const char *at = choices;
    for (int i = 0; i < position; i++) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    (void)snprintf(word, TABLE_NAME, "%.*s", (int)strcspn(at, " "), at);
}
