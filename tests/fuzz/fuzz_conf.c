/* fuzz_conf.c - any bytes as gateway.ini: it loads or gives one line of error; what loads has the properties
 * that the gateway builds on, and its values stay within their rows' bounds.
 *
 * `include` finds nothing: the directory that it starts from does not exist, and inputs that name an absolute
 * path or climb out of it are passed over. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static bool is_number(const struct table_row *row)
{
    return row->type == TABLE_TIME || row->type == TABLE_SIZE || row->type == TABLE_NUMBER ||
           row->type == TABLE_OCTAL;
}

static void check_row(const struct table_row *row, void *base)
{
    if ((row->flags & TABLE_INCLUDE) != 0) {
        return;
    }
    if (is_number(row)) {
        const int64_t *value = value_field(base, row);
        bool off = *value == CONF_OFF && (row->flags & (TABLE_OFF | TABLE_EMPTY)) != 0;
        bool chosen = *value == CONF_AUTO && (row->flags & TABLE_AUTO) != 0;
        check(off || chosen || (*value >= row->min && *value <= row->max));
    } else if (row->type == TABLE_LIST) {
        const struct conf_list *list = value_field(base, row);
        check((list->count == 0) == (list->items == NULL));
        check(list->count > 0 || (row->flags & TABLE_EMPTY) != 0);
        for (uint32_t i = 0; i < list->count; i++) {
            check(*list->items[i] != '\0');
        }
    } else if (row->type == TABLE_TEXT) {
        check(*(const char **)value_field(base, row) != NULL);
    }
}

/* What an app is made of is there, and nothing that belongs to another kind can be meant. */
static void check_making(const struct conf_app *app)
{
    switch ((enum conf_kind)app->kind) {
    case CONF_KIND_AUTO:
    case CONF_KIND_WSGI:
    case CONF_KIND_ASGI:
        check(*app->module != '\0');
        break;
    case CONF_KIND_CGI:
        check(app->script[0] == '/');
        break;
    case CONF_KIND_FILES:
        check(app->root[0] == '/');
        break;
    case CONF_KIND_FASTCGI:
        check((*app->address != '\0') != (*app->command != '\0'));
        check((app->command_words.count > 0) == (*app->command != '\0'));
        break;
    }
}

static void check_app(const struct conf_app *app)
{
    check(*app->name != '\0' && strlen(app->name) <= 64);
    check(app->directory[0] == '/');
    check_making(app);
    for (uint32_t i = 0; i < app->path.count; i++) {
        const char *path = app->path.items[i];
        check(path[0] == '/' && strstr(path, "//") == NULL && strstr(path, "/../") == NULL);
        check(path[1] == '\0' || path[strlen(path) - 1] != '/');
    }
    for (uint32_t i = 0; i < app->env_file.count; i++) {
        check(app->env_file.items[i][0] == '/');
    }
    check(app->static_count == app->static_files.count);
    for (uint32_t i = 0; i < app->static_count; i++) {
        check(app->statics[i].prefix[0] == '/' && app->statics[i].directory[0] == '/');
        check(app->statics[i].prefix_len != 1);
    }
    for (uint32_t i = 0; i < app->env.count; i++) {
        check(strchr(app->env.items[i], '=') != NULL);
    }
}

static void check_conf(struct conf *conf)
{
    check(conf->app_count > 0 && conf->request_line <= conf->headers);
    for (size_t i = 0; i < table_count; i++) {
        for (uint32_t app = 0; app < conf->app_count && table_rows[i].section == TABLE_APP; app++) {
            check_row(&table_rows[i], &conf->apps[app]);
        }
        if (table_rows[i].section != TABLE_APP) {
            check_row(&table_rows[i], conf);
        }
    }
    for (uint32_t app = 0; app < conf->app_count; app++) {
        check_app(&conf->apps[app]);
    }
}

static bool reaches_files(const uint8_t *data, size_t size)
{
    return memmem(data, size, "include", 7) != NULL &&
           (memmem(data, size, "..", 2) != NULL || memmem(data, size, "/", 1) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *const none[] = {NULL};
    const struct conf_input input = {.argv = none, .environ = none, .cwd = "/nonexistent"};
    struct conf *conf;
    struct conf_error error;
    if (reaches_files(data, size)) {
        return 0;
    }
    FILE *file = size > 0 ? fmemopen((void *)(uintptr_t)data, size, "r") : fopen("/dev/null", "r");
    if (file == NULL) {
        return 0;
    }
    int result = conf_load_stream(&input, file, "x.ini", &conf, &error);
    (void)fclose(file);
    check((result == 0) == (conf != NULL) && (result == 0) == (error.text[0] == '\0'));
    check(strlen(error.text) < sizeof(error.text) && strpbrk(error.text, "\n\033") == NULL);
    if (conf != NULL) {
        check_conf(conf);
        conf_unref(conf);
    }
    return 0;
}
