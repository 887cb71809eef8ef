/* value.c - text into fields and back, as a row says. */
#include "load.h"

#include <inttypes.h>
#include <string.h>

#include "units.h"

/* Where one value goes, and what an error about it needs. */
struct target {
    struct loader *loader;
    const struct place *place;
    struct draft *draft; /* NULL: the section itself */
    const struct table_row *row;
};

#define FAIL(t, ...) load_fail_at((t)->loader, (t)->place, (t)->draft, (t)->row, __VA_ARGS__)

void *value_field(void *base, const struct table_row *row)
{
    return (char *)base + row->offset;
}

void *value_find(struct loader *l, struct draft *draft, const struct table_row *row)
{
    if (draft != NULL)
        return value_field(&draft->app, row);
    return row->section == TABLE_APP ? value_field(&l->defaults, row) : value_field(l->conf, row);
}

static void *target_field(const struct target *t)
{
    return value_find(t->loader, t->draft, t->row);
}

size_t value_size(const struct table_row *row)
{
    switch (row->type) {
    case TABLE_BOOL:
        return sizeof(bool);
    case TABLE_CHOICE:
        return sizeof(int);
    case TABLE_TEXT:
        return sizeof(const char *);
    case TABLE_LIST:
        return sizeof(struct conf_list);
    case TABLE_TIME:
    case TABLE_SIZE:
    case TABLE_NUMBER:
    case TABLE_OCTAL:
        break;
    }
    return sizeof(int64_t);
}

static bool set(const struct target *t, const void *value)
{
    memcpy(target_field(t), value, value_size(t->row));
    return true;
}

/* ---- numbers of all kinds ---- */

static bool read_number(enum table_type type, const char *text, int64_t *value)
{
    switch (type) {
    case TABLE_TIME:
        return units_time(text, value);
    case TABLE_SIZE:
        return units_size(text, value);
    case TABLE_OCTAL:
        return units_octal(text, value);
    default:
        return units_number(text, value);
    }
}

static void number_text(enum table_type type, int64_t value, char text[UNITS_TEXT])
{
    switch (type) {
    case TABLE_TIME:
        units_time_text(value, text);
        break;
    case TABLE_SIZE:
        units_size_text(value, text);
        break;
    case TABLE_OCTAL:
        units_octal_text(value, text);
        break;
    default:
        (void)snprintf(text, UNITS_TEXT, "%" PRId64, value);
        break;
    }
}

static bool not_a_number(const struct target *t, const char *text)
{
    const struct table_row *row = t->row;
    const char *what = row->type == TABLE_TIME    ? "a time"
                       : row->type == TABLE_SIZE  ? "a size"
                       : row->type == TABLE_OCTAL ? "an octal number"
                                                  : "a number";
    char guess[UNITS_TEXT];
    bool guessed = (row->type == TABLE_TIME && units_time_guess(text, guess)) ||
                   (row->type == TABLE_SIZE && units_size_guess(text, guess));
    if (guessed)
        return FAIL(t, "\"%s\" is not %s (try %s)", text, what, guess);
    const char *example = *row->standard != '\0' ? row->standard : row->type == TABLE_OCTAL ? "0022" : "1024";
    if (strcmp(text, "off") == 0)
        return FAIL(t, "cannot be off (try %s)", example);
    const char *units = row->type == TABLE_TIME   ? " in ms, s, m or h"
                        : row->type == TABLE_SIZE ? " in bytes, k, m or g"
                                                  : "";
    return FAIL(t, "\"%s\" is not %s%s (try %s)", text, what, units, example);
}

static bool take_number(const struct target *t, const char *text)
{
    const struct table_row *row = t->row;
    int64_t value = CONF_OFF;
    if ((*text == '\0' && (row->flags & TABLE_EMPTY) != 0) ||
        (strcmp(text, "off") == 0 && (row->flags & TABLE_OFF) != 0))
        return set(t, &value);
    if (strcmp(text, "auto") == 0 && (row->flags & TABLE_AUTO) != 0)
        return set(t, &(int64_t){CONF_AUTO});
    if (!read_number(row->type, text, &value))
        return not_a_number(t, text);
    char bound[UNITS_TEXT];
    if (value < row->min) {
        number_text(row->type, row->min, bound);
        return FAIL(t, "\"%s\" is too small (%s is the least)", text, bound);
    }
    if (value > row->max) {
        number_text(row->type, row->max, bound);
        return FAIL(t, "\"%s\" is too large (%s is the most)", text, bound);
    }
    return set(t, &value);
}

/* ---- words ---- */

static bool take_bool(const struct target *t, const char *text)
{
    bool value;
    return units_bool(text, &value) ? set(t, &value) : FAIL(t, "\"%s\" is not on or off", text);
}

static bool take_choice(const struct target *t, const char *text)
{
    int value = table_choice(t->row->choices, text);
    if (value >= 0)
        return set(t, &value);
    char words[TABLE_NAME * 2];
    size_t len = 0;
    for (const char *at = t->row->choices; *at != '\0' && len < sizeof(words) - 3; at++) {
        if (*at == ' ')
            words[len++] = ',';
        words[len++] = *at;
    }
    words[len] = '\0';
    return FAIL(t, "\"%s\" is not one of %s", text, words);
}

/* The value as it is kept; NULL with the error written. */
static const char *checked(const struct target *t, const char *text)
{
    struct loader *l = t->loader;
    if (t->row->check == NULL) {
        const char *copy = arena_copy(l->arena, text, strlen(text));
        if (copy == NULL)
            (void)load_no_memory(l);
        return copy;
    }
    struct check c = {.arena = l->arena, .base = t->place->base, .typed = t->place->layer > LAYER_FILE};
    const char *kept = t->row->check(&c, text);
    if (kept == NULL)
        (void)FAIL(t, "%s", c.wrong);
    return kept;
}

static bool take_text(const struct target *t, const char *text)
{
    const char *value = *text != '\0' ? checked(t, text) : "";
    return value != NULL && set(t, &value);
}

/* ---- lists ---- */

bool value_append(struct loader *l, struct conf_list *list, const char *item)
{
    /* Full at each power of two: one item takes one pointer, as nearly all lists do. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count == 0 ? 1 : 2 * (size_t)list->count;
        const char **grown = arena_alloc(l->arena, room * sizeof(*grown));
        if (grown == NULL)
            return load_no_memory(l);
        if (list->count > 0)
            memcpy(grown, list->items, list->count * sizeof(*grown));
        list->items = grown;
    }
    /* the array is ours until the list is handed out as constant */
    ((const char **)(uintptr_t)list->items)[list->count++] = item;
    return true;
}

static bool take_one(const struct target *t, const char *text)
{
    const char *item = checked(t, text);
    return item != NULL && value_append(t->loader, target_field(t), item);
}

static bool take_list(const struct target *t, const char *text, const char *separators)
{
    for (const char *at = text + strspn(text, separators); *at != '\0'; at += strspn(at, separators)) {
        size_t len = strcspn(at, separators);
        const char *word = arena_copy(t->loader->scratch, at, len);
        if (word == NULL)
            return load_no_memory(t->loader);
        if (!take_one(t, word))
            return false;
        at += len;
    }
    return true;
}

/* ---- one value ---- */

/* Notes who sets the row now; a list of a lower layer is replaced, a scalar that its section has already is
 * an error. */
static bool claim(const struct target *t)
{
    struct place *before = &t->loader->places[table_index(t->row)];
    uint32_t *line = t->draft != NULL ? &t->draft->lines[table_app_index(t->row)] : NULL;
    bool again = line != NULL ? *line != 0 : before->layer == t->place->layer;
    bool list = t->row->type == TABLE_LIST;
    if (again && list)
        return true;
    if (again && t->place->layer == LAYER_FILE) {
        if (line != NULL || strcmp(before->name, t->place->name) == 0)
            return FAIL(t, "set twice (first in line %u)", line != NULL ? *line : before->line);
        return FAIL(t, "set twice (first in %s:%u)", before->name, before->line);
    }
    if (line != NULL)
        *line = t->place->line;
    else
        *before = *t->place;
    if (list)
        memset(target_field(t), 0, sizeof(struct conf_list));
    return true;
}

bool value_take(struct loader *l, const struct place *place, struct draft *draft, const struct table_row *row,
                const char *text)
{
    struct target t = {.loader = l, .place = place, .draft = draft, .row = row};
    if (!claim(&t))
        return false;
    if (*text == '\0' && row->type != TABLE_LIST && (row->flags & TABLE_EMPTY) == 0)
        return FAIL(&t, "needs a value (try %s)", row->standard);
    switch (row->type) {
    case TABLE_BOOL:
        return take_bool(&t, text);
    case TABLE_CHOICE:
        return take_choice(&t, text);
    case TABLE_TEXT:
        return take_text(&t, text);
    case TABLE_LIST:
        return take_list(&t, text, (row->flags & TABLE_LINES) != 0 ? "\n" : " \t\n");
    case TABLE_TIME:
    case TABLE_SIZE:
    case TABLE_NUMBER:
    case TABLE_OCTAL:
        break;
    }
    return take_number(&t, text);
}

bool value_take_item(struct loader *l, const struct place *place, struct draft *draft,
                     const struct table_row *row, const char *item)
{
    struct target t = {.loader = l, .place = place, .draft = draft, .row = row};
    return claim(&t) && take_one(&t, item);
}

const char *value_text(const void *base, const struct table_row *row, char room[TABLE_NAME])
{
    const char *field = (const char *)base + row->offset;
    int64_t number;
    if (row->type == TABLE_TEXT) {
        const char *text;
        memcpy(&text, field, sizeof(text));
        /* "" of a key that cannot be empty is its `off` */
        return *text == '\0' && (row->flags & TABLE_EMPTY) == 0 ? "off" : text;
    }
    if (row->type == TABLE_BOOL)
        return *field != 0 ? "on" : "off";
    if (row->type == TABLE_CHOICE) {
        int position;
        memcpy(&position, field, sizeof(position));
        table_choice_text(row->choices, position, room);
        return room;
    }
    memcpy(&number, field, sizeof(number));
    if (number == CONF_AUTO)
        return "auto";
    if (number == CONF_OFF)
        return (row->flags & TABLE_EMPTY) != 0 ? "" : "off";
    number_text(row->type, number, room);
    return room;
}
