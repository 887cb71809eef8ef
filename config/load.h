/* load.h - what the files of config/ share while one configuration is loaded; nobody else includes it.
 *
 * Layers are laid over each other in rising precedence: defaults, files, environment, command line. Each row
 * of the table remembers the layer that set it last: that is the comment in -T, and how a list knows whether
 * it is replaced or continued. An [app:NAME] section is a draft until the end, when it is known what it
 * inherits. */
#ifndef LEANGATE_LOAD_H
#define LEANGATE_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "arena.h"
#include "config.h"
#include "table.h"

#define APP_NAME_MAX 64

enum layer { LAYER_DEFAULT, LAYER_FILE, LAYER_VARIABLE, LAYER_FLAG };

/* Where a value stands. Strings live as long as the loader. */
struct place {
    enum layer layer;
    const char *name; /* the file as shown to the user, the variable, the flag */
    const char *base; /* absolute directory that its relative paths start from */
    uint32_t line;
};

/* An app while it is loaded. lines: where each of its own keys was written first, 0: inherited. */
struct draft {
    struct conf_app app;
    struct place place; /* of its section; LAYER_FLAG: the app of the command line */
    uint32_t index;     /* in the order of the sections */
    uint32_t lines[TABLE_APP_MAX];
    struct draft *next;
};

/* A flag that sets a key, kept until its layer is due. */
struct option {
    const struct table_row *row;
    const char *flag; /* as typed */
    const char *text;
    bool item; /* one item of a list, blanks and all */
    struct option *next;
};

struct loader {
    const struct conf_input *input;
    struct conf_error *error;
    FILE *warn;
    struct arena *arena;   /* the configuration's own */
    struct arena *scratch; /* ends with loading */
    struct conf *conf;
    struct conf_app defaults;       /* [app] */
    struct place places[TABLE_MAX]; /* who set each row last, in [app] for rows of apps */
    struct draft *drafts;           /* in order */
    struct draft **drafts_end;
    uint32_t draft_count;
    struct draft *typed; /* the app of the command line; NULL: none */
    uint32_t file_count;
    /* the command line */
    enum conf_action action;
    const char *app;  /* APP; NULL: none */
    const char *file; /* -c; NULL: none */
    const char *host;
    const char *port;
    struct option *options;
    struct option **options_end;
    bool dev;            /* --dev: loopback only */
    bool includes_given; /* by flag or variable: the files' own include lines are not followed */
};

/* load.c: the errors. Each writes one line and returns false, so that "return load_fail(...)" reads well. */
bool load_fail(struct loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* With the place in front: "FILE:LINE: [section] key: ", "LEANGATE_KEY: " or "--key: "; draft and row may be
 * NULL. */
bool load_fail_at(struct loader *l, const struct place *place, const struct draft *draft,
                  const struct table_row *row, const char *format, ...) __attribute__((format(printf, 5, 6)));
bool load_no_memory(struct loader *l);
/* Where a draft has written a key, else its section; for the app of the command line, which has none, who set
 * what it inherits. */
struct place load_draft_place(const struct loader *l, const struct draft *draft, const struct table_row *row);
/* What load_fail_at puts in front, for an error that shows only later; "" for a default, NULL without memory.
 */
const char *load_place(struct loader *l, const struct table_row *row);
/* The row whose name, as `make` makes it, is nearest to a wrong one; NULL: none is near. */
const struct table_row *load_nearest(void (*make)(const struct table_row *, char *), const char *wrong);

/* A list with commas between its values as one with blanks, in scratch; NULL without memory, with the error.
 */
const char *load_blanks(struct loader *l, const char *list);

/* value.c: text into the field of a row, of a draft or else of the struct itself. An item is a list's value
 * that is not split. */
bool value_take(struct loader *l, const struct place *place, struct draft *draft, const struct table_row *row,
                const char *text);
bool value_take_item(struct loader *l, const struct place *place, struct draft *draft,
                     const struct table_row *row, const char *item);
/* Appends to a list that value_append alone has filled. */
bool value_append(struct loader *l, struct conf_list *list, const char *item);
/* A row's field inside `base`, which is the struct that offset counts in, and its size. */
void *value_field(void *base, const struct table_row *row);
size_t value_size(const struct table_row *row);
/* A row's field in a draft; without one in [app] or in the configuration, as its section is. */
void *value_find(struct loader *l, struct draft *draft, const struct table_row *row);
/* A scalar as it would be written. The text is in `room` or in the field. */
const char *value_text(const void *base, const struct table_row *row, char room[TABLE_NAME]);

/* sections.c: one file with what it includes. `path` is absolute; `shown` is how errors name it; both live as
 * long as the loader. */
bool sections_file(struct loader *l, const char *shown, const char *path);
bool sections_stream(struct loader *l, FILE *file, const char *shown, const char *base);
/* Whether a value of a file has a # that was meant to begin a comment. */
bool sections_has_comment(const struct table_row *row, const char *value);
/* What a pattern of the command line or the environment names. */
bool sections_include(struct loader *l, const struct place *place, const char *pattern);
/* A new draft at the end of the list; NULL without memory. */
struct draft *sections_draft(struct loader *l, const struct place *place, const char *name, size_t len);

/* environment.c */
const char *environment_get(const struct conf_input *input, const char *name);
bool environment_take(struct loader *l);
bool environment_include(struct loader *l);
bool environment_port(struct loader *l);

/* options.c: parse sorts the command line out, take lays it over the rest. */
bool options_parse(struct loader *l);
bool options_take(struct loader *l);
bool options_include(struct loader *l);

/* argument.c: the app of the command line, as a draft; after the layers, for it asks what [app] says. */
bool argument_app(struct loader *l);

/* kind.c: what kind an app is, with all it has inherited; what is missing for that, or is not for it. */
bool kind_complete(struct loader *l, struct draft *draft);
/* Whether a row of [app] means anything for an app, whose kind is known. */
bool kind_uses(const struct conf_app *app, const struct table_row *row);

/* finish.c: inheritance, then everything that only the whole can tell; builds conf->apps. */
bool finish_all(struct loader *l);

/* dump.c: -T. */
void dump_conf(const struct loader *l, FILE *out);

/* config.c: conf_load, but `file` is read instead of looking for one. For fuzzing. */
int conf_load_stream(const struct conf_input *input, FILE *file, const char *shown, struct conf **conf,
                     struct conf_error *error);
/* Bytes that a configuration takes. */
size_t conf_memory(const struct conf *conf);

#endif
