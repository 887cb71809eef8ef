/* load.c - how every error of the configuration is worded. */
#include "load.h"

#include <stdarg.h>
#include <string.h>

#include "suggest.h"

/* Appends to the error, which is cut where it is full. */
__attribute__((format(printf, 2, 0))) static void add_args(struct conf_error *error, const char *format,
                                                           va_list args)
{
    size_t len = strlen(error->text);
    (void)vsnprintf(error->text + len, sizeof(error->text) - len, format, args);
}

__attribute__((format(printf, 2, 3))) static void add(struct conf_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_args(error, format, args);
    va_end(args);
}

/* One line, whatever the values in it hold: nothing of theirs may steer a terminal. */
static void one_line(char *text)
{
    for (; *text != '\0'; text++)
        if (check_is_control(*text))
            *text = '?';
}

bool load_fail(struct loader *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    l->error->text[0] = '\0';
    add_args(l->error, format, args);
    va_end(args);
    one_line(l->error->text);
    return false;
}

bool load_no_memory(struct loader *l)
{
    return load_fail(l, "out of memory");
}

static void begin_at(struct loader *l, const struct place *place, const struct draft *draft,
                     const struct table_row *row)
{
    bool typed_app = draft != NULL && draft->place.layer == LAYER_FLAG;
    l->error->text[0] = '\0';
    if (place->layer == LAYER_FILE)
        add(l->error, "%s:%u: ", place->name, place->line);
    else if (!typed_app)
        add(l->error, "%s: ", place->name);
    if (draft != NULL)
        add(l->error, "[app:%s] ", draft->app.name);
    else if (row != NULL && place->layer == LAYER_FILE)
        add(l->error, "[%s] ", table_section_name(row->section));
    if (row != NULL && (place->layer == LAYER_FILE || typed_app))
        add(l->error, "%s: ", row->key);
}

bool load_fail_at(struct loader *l, const struct place *place, const struct draft *draft,
                  const struct table_row *row, const char *format, ...)
{
    begin_at(l, place, draft, row);
    va_list args;
    va_start(args, format);
    add_args(l->error, format, args);
    va_end(args);
    one_line(l->error->text);
    return false;
}

struct place load_draft_place(const struct loader *l, const struct draft *draft, const struct table_row *row)
{
    struct place place = draft->place;
    uint32_t line = draft->lines[table_app_index(row)];
    if (line == 0 && place.layer == LAYER_FLAG)
        return l->places[table_index(row)];
    place.line = line != 0 ? line : place.line;
    return place;
}

const char *load_place(struct loader *l, const struct table_row *row)
{
    const struct place *place = &l->places[table_index(row)];
    if (place->layer == LAYER_DEFAULT)
        return "";
    begin_at(l, place, NULL, row);
    one_line(l->error->text);
    const char *copy = arena_copy(l->arena, l->error->text, strlen(l->error->text));
    l->error->text[0] = '\0';
    if (copy == NULL)
        (void)load_no_memory(l);
    return copy;
}

const char *load_blanks(struct loader *l, const char *list)
{
    char *copy = arena_copy(l->scratch, list, strlen(list));
    if (copy == NULL)
        (void)load_no_memory(l);
    for (char *at = copy; at != NULL && *at != '\0'; at++)
        *at = *at == ',' ? ' ' : *at;
    return copy;
}

const struct table_row *load_nearest(void (*make)(const struct table_row *, char *), const char *wrong)
{
    const struct table_row *best = NULL;
    struct suggest suggest;
    suggest_init(&suggest, wrong);
    for (size_t i = 0; i < table_count; i++) {
        char name[TABLE_NAME];
        make(&table_rows[i], name);
        if (suggest_offer(&suggest, name))
            best = &table_rows[i];
    }
    return best;
}
