/* dump.c - -T: the effective configuration as a file that can be loaded again, with who set each value. */
#include "load.h"

#include <string.h>

#include "reader.h"

#define COMMENT_COLUMN 36
#define INDENT         "    "

/* Where a value comes from, as a comment. */
static void print_source(FILE *out, const struct place *place)
{
    if (place->layer == LAYER_FILE)
        (void)fprintf(out, "; %s:%u\n", place->name, place->line);
    else
        (void)fprintf(out, "; %s\n", place->name);
}

/* Whether a file could hold the value: flags and variables hold more than a line does. `before`: what stands
 * in front of it on its line. */
static bool fits(const struct table_row *row, const char *value, size_t before)
{
    size_t len = strlen(value);
    bool word = row->type == TABLE_LIST && (row->flags & TABLE_LINES) == 0;
    if (before + len > READER_LINE || value[0] == ';' || value[0] == '#' || sections_has_comment(row, value))
        return false;
    if (len > 0 && (value[0] == ' ' || value[len - 1] == ' ' || strstr(value, " ;") != NULL))
        return false;
    for (size_t i = 0; i < len; i++)
        if (check_is_control(value[i]) || (word && value[i] == ' '))
            return false;
    return true;
}

/* What no line can hold is shown as a comment, readable and harmless. */
static void print_misfit(FILE *out, const char *key, const char *value)
{
    (void)fprintf(out, "; %s = ", key);
    for (; *value != '\0'; value++)
        (void)fputc(check_is_control(*value) ? '?' : *value, out);
    (void)fprintf(out, "  ; cannot stand in a file\n");
}

static void print_line(FILE *out, const char *key, const char *value, const struct place *place)
{
    int width = (int)(strlen(key) + strlen(" = ") + strlen(value));
    int pad = width < COMMENT_COLUMN ? COMMENT_COLUMN - width : 1;
    (void)fprintf(out, "%s = %s%*s", key, value, pad, "");
    print_source(out, place);
}

static void print_scalar(FILE *out, const struct table_row *row, const void *base, const struct place *place)
{
    char room[TABLE_NAME];
    const char *value = value_text(base, row, room);
    if (fits(row, value, strlen(row->key) + strlen(" = ")))
        print_line(out, row->key, value, place);
    else
        print_misfit(out, row->key, value);
}

/* One item behind the key, more of them on lines of their own. */
static void print_list(FILE *out, const struct table_row *row, const struct conf_list *list,
                       const struct place *place)
{
    bool single = list->count == 1 && fits(row, list->items[0], strlen(row->key) + strlen(" = "));
    print_line(out, row->key, single ? list->items[0] : "", place);
    for (uint32_t i = 0; i < list->count && !single; i++)
        if (fits(row, list->items[i], strlen(INDENT)))
            (void)fprintf(out, INDENT "%s\n", list->items[i]);
        else
            print_misfit(out, row->key, list->items[i]);
}

static void print_row(FILE *out, const struct table_row *row, const void *base, const struct place *place)
{
    if ((row->flags & TABLE_INCLUDE) != 0)
        return;
    if (row->type == TABLE_LIST) {
        struct conf_list list;
        memcpy(&list, (const char *)base + row->offset, sizeof(list));
        print_list(out, row, &list, place);
    } else {
        print_scalar(out, row, base, place);
    }
}

/* Its own line, or who set what it inherits. */
static struct place source(const struct loader *l, const struct draft *draft, const struct table_row *row)
{
    struct place place = draft->place;
    place.line = draft->lines[table_app_index(row)];
    return place.line != 0 ? place : l->places[table_index(row)];
}

static void print_app(const struct loader *l, const struct draft *draft, FILE *out)
{
    (void)fprintf(out, "\n[app:%s]\n", draft->app.name);
    for (size_t i = 0; i < table_count; i++) {
        if (table_rows[i].section == TABLE_APP && kind_uses(&draft->app, &table_rows[i])) {
            struct place place = source(l, draft, &table_rows[i]);
            print_row(out, &table_rows[i], &draft->app, &place);
        }
    }
}

void dump_conf(const struct loader *l, FILE *out)
{
    for (int section = 0; section < TABLE_APP; section++) {
        (void)fprintf(out, "%s[%s]\n", section > 0 ? "\n" : "",
                      table_section_name((enum table_section)section));
        for (size_t i = 0; i < table_count; i++)
            if (table_rows[i].section == (enum table_section)section)
                print_row(out, &table_rows[i], l->conf, &l->places[i]);
    }
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next)
        print_app(l, draft, out);
}
