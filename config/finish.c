/* finish.c - what only the whole can tell: what apps inherit, what is missing, what contradicts. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#define ROUTES_MAX 65536 /* domains x paths over all apps */

/* One host and path of an app, as the router will see it. */
struct route {
    const char *domain;
    const char *path;
    const struct draft *draft;
};

/* ---- inheritance ---- */

static void inherit(struct loader *l, struct draft *draft)
{
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        if (row->section == TABLE_APP && draft->lines[table_app_index(row)] == 0)
            memcpy(value_field(&draft->app, row), value_field(&l->defaults, row), value_size(row));
    }
    const struct table_row *directory = table_find(TABLE_APP, "directory");
    if (draft->lines[table_app_index(directory)] == 0 &&
        l->places[table_index(directory)].layer == LAYER_DEFAULT)
        draft->app.directory = draft->place.base;
}

static bool all_absolute(const struct conf_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i][0] != '/')
            return false;
    return true;
}

/* env_file is relative to the directory, which is known only now. */
static bool absolute_env_files(struct loader *l, struct draft *draft)
{
    const struct conf_list old = draft->app.env_file;
    if (all_absolute(&old))
        return true;
    draft->app.env_file = (struct conf_list){.items = NULL};
    for (uint32_t i = 0; i < old.count; i++) {
        const char *path = check_absolute(l->arena, draft->app.directory, old.items[i]);
        if (path == NULL)
            return load_no_memory(l);
        if (!value_append(l, &draft->app.env_file, path))
            return false;
    }
    return true;
}

/* "/prefix directory" with the directory made absolute, and the same taken apart into *pair. */
static const char *take_apart(struct loader *l, const struct conf_app *app, const char *item,
                              struct conf_static *pair)
{
    size_t len = strcspn(item, " ");
    const char *prefix = arena_copy(l->scratch, item, len);
    const char *directory = check_absolute(l->scratch, app->directory, item + len + 1);
    const char *both =
        prefix != NULL && directory != NULL ? arena_join(l->arena, prefix, " ", directory) : NULL;
    if (both != NULL)
        *pair = (struct conf_static){both, len > 1 ? (uint32_t)len : 0, both + len + 1};
    return both;
}

/* The directories of `static`, too, are relative to the app's. */
static bool complete_statics(struct loader *l, struct draft *draft)
{
    struct conf_app *app = &draft->app;
    const struct conf_list old = app->static_files;
    struct conf_static *pairs = old.count > 0 ? arena_alloc(l->arena, old.count * sizeof(*pairs)) : NULL;
    app->static_files = (struct conf_list){.items = NULL};
    app->statics = pairs;
    for (uint32_t i = 0; i < old.count; i++) {
        const char *both = pairs != NULL ? take_apart(l, app, old.items[i], &pairs[i]) : NULL;
        if (both == NULL)
            return load_no_memory(l);
        for (uint32_t k = 0; k < i; k++)
            if (pairs[k].prefix_len == pairs[i].prefix_len &&
                memcmp(pairs[k].prefix, pairs[i].prefix, pairs[i].prefix_len) == 0) {
                const struct table_row *row = table_find(TABLE_APP, "static");
                struct place place = load_draft_place(l, draft, row);
                return load_fail_at(l, &place, draft, row, "\"%.*s\" stands there twice",
                                    (int)strcspn(both, " "), both);
            }
        if (!value_append(l, &app->static_files, both))
            return false;
        app->static_count++;
    }
    return true;
}

/* ---- what is missing ---- */

static bool complete_section(struct loader *l, enum table_section section, struct draft *draft)
{
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        if (row->section != section || row->type != TABLE_LIST || (row->flags & TABLE_EMPTY) != 0)
            continue;
        const struct conf_list *list = value_find(l, draft, row);
        if (list->count == 0) {
            struct place place = draft != NULL ? load_draft_place(l, draft, row) : l->places[i];
            return load_fail_at(l, &place, draft, row, "needs a value (try %s)", row->standard);
        }
    }
    return true;
}

/* ---- what contradicts ---- */

/* Of [limits]: the first may not be larger than the second. */
static const struct {
    const char *small, *large;
} ordered[] = {
    {"request_line",     "headers"        },
    {"response_headers", "response_memory"},
};

static bool limits(struct loader *l)
{
    for (size_t i = 0; i < sizeof(ordered) / sizeof(ordered[0]); i++) {
        const struct table_row *small = table_find(TABLE_LIMITS, ordered[i].small);
        const struct table_row *large = table_find(TABLE_LIMITS, ordered[i].large);
        const int64_t *a = value_field(l->conf, small);
        const int64_t *b = value_field(l->conf, large);
        if (*a > *b) {
            char room[TABLE_NAME];
            char other[TABLE_NAME];
            bool blame_large = l->places[table_index(small)].layer == LAYER_DEFAULT;
            const struct table_row *row = blame_large ? large : small;
            return load_fail_at(l, &l->places[table_index(row)], NULL, row, "%s is %s than %s (%s)",
                                value_text(l->conf, row, room), blame_large ? "less" : "more",
                                (blame_large ? small : large)->key,
                                value_text(l->conf, blame_large ? small : large, other));
        }
    }
    return true;
}

/* Else all that was taken in the delay would be cut off at its end. */
static bool delay_leaves_time(struct loader *l)
{
    const struct conf *conf = l->conf;
    const struct table_row *delay = table_find(TABLE_TIMEOUTS, "drain_delay");
    char room[TABLE_NAME];
    char whole[TABLE_NAME];
    if (conf->drain_delay == 0 || conf->drain_delay < conf_drain_time(conf))
        return true;
    return load_fail_at(l, &l->places[table_index(delay)], NULL, delay,
                        "%s leaves no time of drain (%s) to finish what is under way",
                        value_text(conf, delay, room),
                        value_text(conf, table_find(TABLE_TIMEOUTS, "drain"), whole));
}

/* --dev shows tracebacks: to nobody but who sits at this machine. */
static bool loopback_only(struct loader *l)
{
    const struct table_row *row = table_find(TABLE_GATEWAY, "listen");
    for (uint32_t i = 0; l->dev && i < l->conf->listen.count; i++) {
        const char *item = l->conf->listen.items[i];
        if (!check_is_loopback(item) && strncmp(item, "unix:", strlen("unix:")) != 0)
            return load_fail_at(
                l, &l->places[table_index(row)], NULL, row,
                "\"%s\" is not on this machine alone, and --dev shows tracebacks (try 127.0.0.1:8000)", item);
    }
    return true;
}

/* Of two listeners with one address the second would be told that somebody else has it. */
static bool same_address(const char *a, const char *b)
{
    size_t len = strlen(a);
    bool any_port = len > 2 && strcmp(a + len - 2, ":0") == 0;
    return !any_port && strcmp(a, b) == 0;
}

static bool listeners_are_apart(struct loader *l)
{
    const struct table_row *row = table_find(TABLE_STATUS, "listen");
    const struct table_row *own = table_find(TABLE_GATEWAY, "listen");
    const struct conf_list *listen = &l->conf->listen;
    const char *status = l->conf->status_listen;
    for (uint32_t i = 0; i < listen->count; i++) {
        if (same_address(listen->items[i], status))
            return load_fail_at(l, &l->places[table_index(row)], NULL, row,
                                "\"%s\" is where [gateway] listens: the status needs an address of its own",
                                status);
        for (uint32_t k = 0; k < i; k++)
            if (same_address(listen->items[i], listen->items[k]))
                return load_fail_at(l, &l->places[table_index(own)], NULL, own, "\"%s\" stands there twice",
                                    listen->items[i]);
    }
    return true;
}

/* "line 10", "conf.d/a.ini:10" seen from another file, "the command line". */
static void where(const struct place *from, const struct place *other, char text[320])
{
    if (other->layer != LAYER_FILE)
        (void)snprintf(text, 320, "the command line");
    else if (from->layer == LAYER_FILE && strcmp(from->name, other->name) == 0)
        (void)snprintf(text, 320, "line %u", other->line);
    else
        (void)snprintf(text, 320, "%s:%u", other->name, other->line);
}

static int by_name(const void *a, const void *b)
{
    const struct draft *x = *(const struct draft *const *)a;
    const struct draft *y = *(const struct draft *const *)b;
    int order = strcmp(x->app.name, y->app.name);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static bool unique_names(struct loader *l)
{
    const struct draft **all = arena_alloc(l->scratch, l->draft_count * sizeof(*all));
    if (all == NULL)
        return load_no_memory(l);
    size_t count = 0;
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next)
        all[count++] = draft;
    qsort(all, count, sizeof(*all), by_name);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(all[i - 1]->app.name, all[i]->app.name) == 0) {
            char first[320];
            where(&all[i]->place, &all[i - 1]->place, first);
            return load_fail_at(l, &all[i]->place, all[i], NULL, "there is an app of this name already (%s)",
                                first);
        }
    }
    return true;
}

static int by_route(const void *a, const void *b)
{
    const struct route *x = a;
    const struct route *y = b;
    int order = strcmp(x->path, y->path);
    order = order != 0 ? order : strcmp(x->domain, y->domain);
    return order != 0 ? order : (x->draft->index > y->draft->index) - (x->draft->index < y->draft->index);
}

static bool same_route(struct loader *l, const struct route *first, const struct route *second)
{
    const struct table_row *row = table_find(TABLE_APP, "path");
    struct place a = load_draft_place(l, first->draft, row);
    struct place b = load_draft_place(l, second->draft, row);
    if (first->draft == second->draft) {
        return load_fail_at(l, &b, second->draft, row, "\"%s%s\" stands there twice", second->domain,
                            second->path);
    }
    char other[320];
    where(&b, &a, other);
    return load_fail_at(l, &b, second->draft, row, "\"%s%s\" leads to [app:%s] already (%s)", second->domain,
                        second->path, first->draft->app.name, other);
}

static struct route *add_routes(struct route *route, const struct draft *draft)
{
    static const char *const any[] = {""};
    const struct conf_app *app = &draft->app;
    uint32_t domains = app->domain.count > 0 ? app->domain.count : 1;
    const char *const *names = app->domain.count > 0 ? app->domain.items : any;
    for (uint32_t d = 0; d < domains; d++)
        for (uint32_t p = 0; p < app->path.count; p++)
            *route++ = (struct route){.domain = names[d], .path = app->path.items[p], .draft = draft};
    return route;
}

static bool unique_routes(struct loader *l)
{
    uint64_t count = 0;
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next) {
        uint64_t domains = draft->app.domain.count > 0 ? draft->app.domain.count : 1;
        count += domains * draft->app.path.count;
        if (count > ROUTES_MAX) {
            return load_fail_at(l, &draft->place, draft, NULL, "more than %d routes (domains x paths) in all",
                                ROUTES_MAX);
        }
    }
    struct route *routes = arena_alloc(l->scratch, count * sizeof(*routes));
    if (routes == NULL)
        return load_no_memory(l);
    struct route *end = routes;
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next)
        end = add_routes(end, draft);
    qsort(routes, count, sizeof(*routes), by_route);
    for (uint64_t i = 1; i < count; i++)
        if (strcmp(routes[i - 1].path, routes[i].path) == 0 &&
            strcmp(routes[i - 1].domain, routes[i].domain) == 0)
            return same_route(l, &routes[i - 1], &routes[i]);
    return true;
}

/* ---- the end ---- */

/* What only the start finds out is told with its place, too. */
static bool keep_places(struct loader *l)
{
    const struct {
        enum table_section section;
        const char *key;
        const char **place;
    } rows[] = {
        {TABLE_GATEWAY, "listen", &l->conf->listen_place       },
        {TABLE_GATEWAY, "user",   &l->conf->user_place         },
        {TABLE_GATEWAY, "group",  &l->conf->group_place        },
        {TABLE_LOG,     "access", &l->conf->access_place       },
        {TABLE_LOG,     "error",  &l->conf->error_place        },
        {TABLE_STATUS,  "listen", &l->conf->status_listen_place},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((*rows[i].place = load_place(l, table_find(rows[i].section, rows[i].key))) == NULL)
            return false;
    return true;
}

static bool build(struct loader *l)
{
    struct conf *conf = l->conf;
    conf->apps = arena_alloc(l->arena, l->draft_count * sizeof(*conf->apps));
    if (conf->apps == NULL)
        return load_no_memory(l);
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next)
        conf->apps[conf->app_count++] = draft->app;
    conf->typed_app = l->typed != NULL ? l->typed->app.name : NULL;
    return true;
}

/* A flag or variable sets the default of every app; where an app of the file has its own value, it does
 * nothing. */
static void warn_overruled(struct loader *l)
{
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        const struct place *set = &l->places[i];
        if (row->section != TABLE_APP || set->layer <= LAYER_FILE)
            continue;
        for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next) {
            uint32_t line = draft->lines[table_app_index(row)];
            if (line != 0 && draft->place.layer == LAYER_FILE) {
                (void)fprintf(l->warn, "%s has no effect on [app:%s]: %s:%u sets its %s\n", set->name,
                              draft->app.name, draft->place.name, line, row->key);
                break;
            }
        }
    }
}

/* The gateway's own paths go before those of apps, under every host. Below the prefix of an app they are
 * meant to; where a route begins, the app never sees its front page. */
static void warn_own_paths(struct loader *l)
{
    const char *const own[] = {l->conf->health_path, l->conf->ready_path};
    const char *const keys[] = {"health_path", "ready_path"};
    for (int k = 0; k < 2; k++)
        for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next)
            for (uint32_t i = 0; i < draft->app.path.count; i++)
                if (strcmp(draft->app.path.items[i], own[k]) == 0)
                    (void)fprintf(l->warn, "[app:%s] never gets \"%s\": [status] %s is the same path\n",
                                  draft->app.name, own[k], keys[k]);
    if (*own[0] != '\0' && strcmp(own[0], own[1]) == 0)
        (void)fprintf(l->warn, "[status] ready_path never says 503: health_path is the same path\n");
}

/* Whether a request for an app can begin with a prefix. */
static bool reaches(const struct conf_app *app, const char *prefix, size_t prefix_len)
{
    for (uint32_t i = 0; i < app->path.count; i++) {
        const char *path = app->path.items[i];
        size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);
        size_t shorter = len < prefix_len ? len : prefix_len;
        const char *longer = len < prefix_len ? prefix : path;
        if (memcmp(path, prefix, shorter) == 0 && (len == prefix_len || longer[shorter] == '/'))
            return true;
    }
    return false;
}

static void warn_prefix(const struct loader *l, const struct draft *draft, const char *key,
                        const char *prefix, size_t len)
{
    bool here = draft == l->typed || draft->lines[table_app_index(table_find(TABLE_APP, key))] != 0;
    if (here && !reaches(&draft->app, prefix, len))
        (void)fprintf(l->warn, "[app:%s] never gets \"%.*s\" of %s: path leads elsewhere\n", draft->app.name,
                      (int)len, prefix, key);
}

/* Prefixes are of the whole path: with path = /shop a static = /static is nobody's. What comes from [app] is
 * for some app or other. */
static void warn_prefixes(const struct loader *l)
{
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next) {
        const struct conf_app *app = &draft->app;
        for (uint32_t i = 0; i < app->static_count; i++)
            warn_prefix(l, draft, "static", app->statics[i].prefix, app->statics[i].prefix_len);
        for (uint32_t i = 0; i < app->ignore_idle.count; i++) {
            const char *prefix = app->ignore_idle.items[i];
            warn_prefix(l, draft, "ignore_idle", prefix, strcmp(prefix, "/") == 0 ? 0 : strlen(prefix));
        }
    }
}

/* What `spool` never has room for is a 503 that reads as a busy moment, and comes again. What apps inherit is
 * told once. */
static void warn_bodies(const struct loader *l)
{
    const struct table_row *row = table_find(TABLE_APP, "body_size");
    const struct conf *conf = l->conf;
    bool told = false;
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next) {
        bool own = draft->lines[table_app_index(row)] != 0;
        int64_t size = draft->app.body_size;
        if ((size != CONF_OFF && size <= conf->body_memory + conf->spool) || (told && !own))
            continue;
        char most[TABLE_NAME];
        char spool[TABLE_NAME];
        (void)fprintf(l->warn,
                      "[app%s%s] body_size = %s, but all bodies share [limits] spool = %s: a larger one is "
                      "always 503\n",
                      own ? ":" : "", own ? draft->app.name : "", value_text(&draft->app, row, most),
                      value_text(conf, table_find(TABLE_LIMITS, "spool"), spool));
        told = told || !own;
    }
}

bool finish_all(struct loader *l)
{
    if (l->draft_count == 0) {
        return load_fail(l, "%s: no app: it needs a section [app:NAME] with module = main:app",
                         l->conf->file);
    }
    if (!unique_names(l)) /* first: one app that is written as two sections lacks something in each */
        return false;
    for (int section = 0; section < TABLE_SECTIONS; section++)
        if (!complete_section(l, (enum table_section)section, NULL))
            return false;
    for (struct draft *draft = l->drafts; draft != NULL; draft = draft->next) {
        inherit(l, draft);
        if (!kind_complete(l, draft) || !complete_section(l, TABLE_APP, draft) ||
            !absolute_env_files(l, draft) || !complete_statics(l, draft))
            return false;
    }
    warn_overruled(l);
    warn_own_paths(l);
    warn_prefixes(l);
    warn_bodies(l);
    return limits(l) && delay_leaves_time(l) && loopback_only(l) && listeners_are_apart(l) &&
           unique_routes(l) && keep_places(l) && build(l);
}
