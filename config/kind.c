/* kind.c - what kind an app is, what it needs for that, and which keys are not for it. */
#include "load.h"

#include <string.h>

/* Who a key is for: kinds, and of fastcgi its two forms. */
enum role {
    AUTO = 1 << CONF_KIND_AUTO,
    WSGI = 1 << CONF_KIND_WSGI,
    ASGI = 1 << CONF_KIND_ASGI,
    CGI = 1 << CONF_KIND_CGI,
    FILES = 1 << CONF_KIND_FILES,
    ADDRESS = 1 << CONF_KIND_FASTCGI,
    COMMAND = ADDRESS << 1,
    FASTCGI = ADDRESS | COMMAND,
    LOADED = AUTO | WSGI | ASGI, /* from a module */
    PYTHON = LOADED | CGI | FILES,
    PROCESS = PYTHON | COMMAND
};

/* Who a key is for, and what is said of it to others. */
static const struct audience {
    unsigned roles;
    const char *words;
} everybody = {~0u, ""}, for_cgi = {CGI, "kind = cgi"}, for_files = {FILES, "kind = files"},
  for_fastcgi = {FASTCGI, "kind = fastcgi"}, for_paths = {FILES | FASTCGI, "kind = files or fastcgi"},
  for_loaded = {LOADED, "kind = auto, wsgi or asgi"},
  for_lifespan = {AUTO | ASGI | FILES, "kind = auto, asgi or files"},
  for_python = {PYTHON, "Python, and kind = fastcgi runs something else"},
  for_process = {PROCESS, "a process that leangate starts, and the one at `address` runs already"};

/* Keys that are not for all. */
static const struct {
    const char *key;
    const struct audience *audience;
} owned[] = {
    {"module",              &for_loaded  },
    {"factory",             &for_loaded  },
    {"script",              &for_cgi     },
    {"root",                &for_files   },
    {"index",               &for_paths   },
    {"extensions",          &for_paths   },
    {"address",             &for_fastcgi },
    {"command",             &for_fastcgi },
    {"script_filename",     &for_fastcgi },
    {"lifespan",            &for_lifespan},
    {"python",              &for_python  },
    {"mode",                &for_python  },
    {"preload",             &for_python  },
    {"reload",              &for_python  },
    {"bytecode",            &for_python  },
    {"prefetch",            &for_python  },
    {"import_cache",        &for_python  },
    {"debug",               &for_python  },
    {"workers",             &for_process },
    {"idle_timeout",        &for_process },
    {"start",               &for_process },
    {"start_timeout",       &for_process },
    {"stop_timeout",        &for_process },
    {"max_requests",        &for_process },
    {"max_rss",             &for_process },
    {"max_age",             &for_process },
    {"ignore_idle",         &for_process },
    {"limit_address_space", &for_process },
    {"limit_files",         &for_process },
    {"limit_processes",     &for_process },
    {"env",                 &for_process },
    {"env_file",            &for_process },
    {"clear_env",           &for_process },
    {"umask",               &for_process },
};

/* What an app is made of: the key that is given says its kind where that is auto. */
static const struct {
    const char *key;
    enum conf_kind kind;
} makings[] = {
    {"module",  CONF_KIND_AUTO   },
    {"script",  CONF_KIND_CGI    },
    {"root",    CONF_KIND_FILES  },
    {"address", CONF_KIND_FASTCGI},
    {"command", CONF_KIND_FASTCGI},
};

/* Whether the app itself has written a key; what it inherits may be meant for others. Flags are meant for the
 * app of the command line. */
static bool wrote(const struct loader *l, const struct draft *draft, const struct table_row *row)
{
    if (draft->lines[table_app_index(row)] != 0)
        return true;
    return draft->place.layer == LAYER_FLAG && l->draft_count == 1 &&
           l->places[table_index(row)].layer == LAYER_FLAG;
}

static bool given(const struct draft *draft, const struct table_row *row)
{
    const char *text;
    struct conf_list list;
    const char *field = (const char *)&draft->app + row->offset;
    if (row->type == TABLE_LIST) {
        memcpy(&list, field, sizeof(list));
        return list.count > 0;
    }
    if (row->type != TABLE_TEXT)
        return true;
    memcpy(&text, field, sizeof(text));
    return *text != '\0';
}

/* The kind that its makings tell; those that the app itself has written go before inherited ones. */
static bool find_kind(struct loader *l, struct draft *draft, bool own)
{
    const struct table_row *first = NULL;
    for (size_t i = 0; i < sizeof(makings) / sizeof(makings[0]); i++) {
        const struct table_row *row = table_find(TABLE_APP, makings[i].key);
        if (!given(draft, row) || (own && !wrote(l, draft, row)))
            continue;
        if (first != NULL && draft->app.kind != (int)makings[i].kind) {
            struct place place = load_draft_place(l, draft, row);
            return load_fail_at(l, &place, draft, row,
                                "there is a %s, too: keep one, or say with kind which is meant", first->key);
        }
        first = row;
        draft->app.kind = (int)makings[i].kind;
    }
    if (first == NULL && own)
        return find_kind(l, draft, false);
    if (draft->app.kind != CONF_KIND_AUTO)
        draft->lines[table_app_index(table_find(TABLE_APP, "kind"))] = draft->lines[table_app_index(first)];
    return true;
}

static bool missing(struct loader *l, const struct draft *draft, const char *key, const char *example)
{
    const struct table_row *row = table_find(TABLE_APP, key);
    struct place place = load_draft_place(l, draft, row);
    return load_fail_at(l, &place, draft, row, "needs a value (%s)", example);
}

/* A directory that somebody has named will do as the root; where the file happens to lie will not. */
static bool complete_root(struct loader *l, struct draft *draft)
{
    const struct table_row *row = table_find(TABLE_APP, "directory");
    if (*draft->app.root != '\0')
        return true;
    if (!wrote(l, draft, row) && l->places[table_index(row)].layer == LAYER_DEFAULT)
        return missing(l, draft, "root", "root = public");
    draft->app.root = draft->app.directory;
    return true;
}

static bool complete_fastcgi(struct loader *l, const struct draft *draft)
{
    bool address = *draft->app.address != '\0';
    bool command = *draft->app.command != '\0';
    const struct table_row *row = table_find(TABLE_APP, "command");
    struct place place = load_draft_place(l, draft, row);
    if (address && command)
        return load_fail_at(l, &place, draft, row,
                            "there is an address, too: a server is either started or runs already");
    return address || command ||
           missing(l, draft, "address", "address = unix:/run/php/php-fpm.sock, or a command");
}

static bool complete(struct loader *l, struct draft *draft)
{
    switch ((enum conf_kind)draft->app.kind) {
    case CONF_KIND_AUTO:
    case CONF_KIND_WSGI:
    case CONF_KIND_ASGI:
        return *draft->app.module != '\0' || missing(l, draft, "module", "module = main:app");
    case CONF_KIND_CGI:
        return *draft->app.script != '\0' || missing(l, draft, "script", "script = hello.py");
    case CONF_KIND_FILES:
        return complete_root(l, draft);
    case CONF_KIND_FASTCGI:
        break;
    }
    return complete_fastcgi(l, draft);
}

static unsigned role_of(const struct conf_app *app)
{
    bool started = app->kind == CONF_KIND_FASTCGI && *app->command != '\0';
    return started ? (unsigned)COMMAND : 1u << app->kind;
}

/* Looked up once: there may be a thousand apps. */
static const struct audience *audience_of(const struct table_row *row)
{
    static const struct audience *known[TABLE_MAX];
    const struct audience **found = &known[table_index(row)];
    for (size_t i = 0; *found == NULL && i < sizeof(owned) / sizeof(owned[0]); i++)
        if (strcmp(owned[i].key, row->key) == 0)
            *found = owned[i].audience;
    if (*found == NULL)
        *found = &everybody;
    return *found;
}

bool kind_uses(const struct conf_app *app, const struct table_row *row)
{
    return (audience_of(row)->roles & role_of(app)) != 0;
}

/* What [app] says to others is not said to this app. */
static void drop_foreign(struct draft *draft)
{
    static const char *const nothing = "";
    static const struct conf_list none = {.items = NULL};
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        if (row->section != TABLE_APP || kind_uses(&draft->app, row))
            continue;
        if (row->type == TABLE_TEXT)
            memcpy(value_field(&draft->app, row), &nothing, sizeof(nothing));
        else if (row->type == TABLE_LIST)
            memcpy(value_field(&draft->app, row), &none, sizeof(none));
    }
}

static bool refuse_foreign(struct loader *l, const struct draft *draft)
{
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        if (row->section == TABLE_APP && !kind_uses(&draft->app, row) && wrote(l, draft, row) &&
            given(draft, row)) {
            struct place place = load_draft_place(l, draft, row);
            return load_fail_at(l, &place, draft, row, "is for %s", audience_of(row)->words);
        }
    }
    return true;
}

/* Copies are made in mode fork only. Of kind auto only a file may turn out to be a script. */
static bool check_preload_mode(struct loader *l, const struct draft *draft)
{
    const struct conf_app *app = &draft->app;
    const struct table_row *row = table_find(TABLE_APP, "preload");
    bool script = app->kind == CONF_KIND_CGI || app->kind == CONF_KIND_FILES ||
                  (app->kind == CONF_KIND_AUTO && check_is_script(app->module, strlen(app->module)));
    bool kept = app->mode == CONF_MODE_PERSISTENT || (app->mode == CONF_MODE_AUTO && !script);
    struct place place = load_draft_place(l, draft, row);
    return !kept || !wrote(l, draft, row) || app->preload.count == 0 ||
           load_fail_at(l, &place, draft, row,
                        "is for mode = fork: a persistent worker imports what its app does");
}

/* The script's part of a URL ends with .php unless the app says otherwise: a server that is told a file's
 * name runs whatever it finds there, an uploaded picture, too. */
static bool default_to_php(struct loader *l, struct draft *draft)
{
    static const char *const values[][2] = {
        {"index",      "index.php"},
        {"extensions", ".php"     },
    };
    if (draft->app.kind != CONF_KIND_FASTCGI || strchr(draft->app.script_filename, '$') == NULL)
        return true;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const struct table_row *row = table_find(TABLE_APP, values[i][0]);
        struct conf_list *list = value_field(&draft->app, row);
        if (wrote(l, draft, row) || l->places[table_index(row)].layer != LAYER_DEFAULT)
            continue;
        *list = (struct conf_list){.items = NULL};
        if (!value_append(l, list, values[i][1]))
            return false;
    }
    return true;
}

static bool absolute(struct loader *l, const struct draft *draft, const char **path)
{
    if (**path != '\0')
        *path = check_absolute(l->arena, draft->app.directory, *path);
    return *path != NULL || load_no_memory(l);
}

static bool split_command(struct loader *l, struct conf_app *app)
{
    app->command_words = (struct conf_list){.items = NULL};
    for (const char *at = app->command; *at != '\0'; at += strspn(at, " \t")) {
        size_t len = strcspn(at, " \t");
        const char *word = arena_copy(l->arena, at, len);
        if (word == NULL)
            return load_no_memory(l);
        if (len > 0 && !value_append(l, &app->command_words, word))
            return false;
        at += len;
    }
    return true;
}

/* A path without the slash at its end: "" for "/", so that what begins with a slash goes behind it. */
static const char *without_slash(struct loader *l, const char *path, size_t len)
{
    while (len > 0 && path[len - 1] == '/')
        len--;
    return arena_copy(l->arena, path, len);
}

/* Where scripts lie, as they are told to workers: below root, as the template has it, or beside the one that
 * there is. */
static bool place_scripts(struct loader *l, struct conf_app *app)
{
    const char *path = app->kind == CONF_KIND_FILES ? app->root
                       : app->kind == CONF_KIND_CGI ? app->script
                                                    : app->script_filename;
    const char *dollar = strchr(path, '$');
    const char *slash = strrchr(path, '/');
    if (app->kind == CONF_KIND_FILES) {
        app->root_files = (struct conf_static){"/", 0, app->root};
        app->script_tail = "";
        app->document_root = without_slash(l, path, strlen(path));
    } else if (dollar != NULL) {
        app->script_tail = dollar + strlen("$path");
        app->document_root = without_slash(l, path, (size_t)(dollar - path));
    } else if (slash != NULL) {
        app->document_root = without_slash(l, path, (size_t)(slash - path));
    } else {
        return true;
    }
    return app->document_root != NULL || load_no_memory(l);
}

/* A module that is a file may turn out to be a script: it is told its own name. */
static bool name_file(struct loader *l, struct conf_app *app)
{
    if (app->kind == CONF_KIND_AUTO && check_is_script(app->module, strlen(app->module)))
        app->script = check_absolute(l->arena, app->directory, app->module);
    return app->script != NULL || load_no_memory(l);
}

bool kind_complete(struct loader *l, struct draft *draft)
{
    struct conf_app *app = &draft->app;
    if (app->kind == CONF_KIND_AUTO && !find_kind(l, draft, true))
        return false;
    if (!refuse_foreign(l, draft))
        return false;
    drop_foreign(draft);
    return complete(l, draft) && check_preload_mode(l, draft) && default_to_php(l, draft) &&
           absolute(l, draft, &app->script) && absolute(l, draft, &app->root) && split_command(l, app) &&
           place_scripts(l, app) && name_file(l, app);
}
