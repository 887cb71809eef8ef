/* table.h - the table of directives: everything that is known about a key stands in its row, once.
 *
 * Parsing, range errors, flags, environment names, -T and --help all come from it. A new key is one field in
 * struct conf or conf_app and one row here. */
#ifndef LEANGATE_TABLE_H
#define LEANGATE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

enum table_section {
    TABLE_GATEWAY,
    TABLE_LIMITS,
    TABLE_TIMEOUTS,
    TABLE_LOG,
    TABLE_STATUS,
    TABLE_APP,
    TABLE_SECTIONS
};

enum table_type {
    TABLE_BOOL,   /* bool */
    TABLE_TIME,   /* int64_t, ms */
    TABLE_SIZE,   /* int64_t, bytes */
    TABLE_NUMBER, /* int64_t */
    TABLE_OCTAL,  /* int64_t */
    TABLE_CHOICE, /* int, the position in choices */
    TABLE_TEXT,   /* const char * */
    TABLE_LIST    /* struct conf_list */
};

enum table_flag {
    TABLE_OFF = 1,     /* `off` is CONF_OFF */
    TABLE_EMPTY = 2,   /* may be empty; an empty number is CONF_OFF */
    TABLE_LINES = 4,   /* a list of one value a line, not of words */
    TABLE_INCLUDE = 8, /* names more files; has no field */
    TABLE_AUTO = 16    /* `auto` is CONF_AUTO */
};

struct table_row {
    enum table_section section;
    const char *key;
    enum table_type type;
    uint16_t offset;      /* of the field, in struct conf_app for [app], else in struct conf */
    const char *standard; /* the default, as it would be written */
    int64_t min;          /* numbers, times, sizes */
    int64_t max;
    const char *choices;   /* the words of a choice, with a blank between */
    check_function *check; /* texts, and each item of a list: NULL takes all */
    unsigned flags;        /* enum table_flag */
    const char *help;      /* for --help, 55 bytes at most */
};

#define TABLE_MAX     128 /* rows */
#define TABLE_APP_MAX 64  /* rows of [app], which are the last ones */
#define TABLE_NAME    64  /* bytes that hold any flag's or variable's name */

extern const struct table_row table_rows[];
extern const size_t table_count;

/* A row's place among all rows, and a row of [app]'s among those. */
size_t table_index(const struct table_row *row);
size_t table_app_index(const struct table_row *row);

/* "gateway", "limits", ... */
const char *table_section_name(enum table_section section);

/* A section by name; false when there is none. */
bool table_section_find(const char *name, enum table_section *section);

/* A key of a section, a flag ("--idle-timeout"), a variable ("LEANGATE_IDLE_TIMEOUT"); NULL: unknown. */
const struct table_row *table_find(enum table_section section, const char *key);
const struct table_row *table_find_flag(const char *name);
const struct table_row *table_find_variable(const char *name);

/* Their names: "--log-format", "LEANGATE_LOG_FORMAT". */
void table_flag(const struct table_row *row, char name[TABLE_NAME]);
void table_variable(const struct table_row *row, char name[TABLE_NAME]);

/* The position of a word in choices, -1 when it is none of them; the word at a position, copied. */
int table_choice(const char *choices, const char *word);
void table_choice_text(const char *choices, int position, char word[TABLE_NAME]);

#endif
