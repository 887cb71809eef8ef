/* reload.c - see reload.h.
 *
 *   load -> build -> open new listeners        anything fails: reported, undone, nothing has changed
 *        -> listeners -> logs -> apps          nothing can fail from here on
 *
 * Exchanges and workers of the old configuration hold a reference to it; the last one frees it. */
#include "reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "app.h"
#include "listener.h"
#include "log.h"

/* The warnings of loading, one a line. */
static void tell_warnings(char *text)
{
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        log_warning("%s", line);
        line = end;
    }
}

static struct conf *load(const struct conf_input *input)
{
    enum conf_action action;
    struct conf *conf = NULL;
    struct conf_error error;
    char *warnings = NULL;
    size_t size;
    FILE *warn = open_memstream(&warnings, &size);
    if (warn == NULL) {
        log_error("no memory for another configuration");
        return NULL;
    }
    if (conf_load(input, &action, &conf, warn, NULL, &error) == -1)
        log_error("the old configuration goes on: %s", error.text);
    (void)fclose(warn); /* in memory: what can fail shows as fewer warnings */
    tell_warnings(warnings);
    free(warnings);
    return conf;
}

/* A quarter of the descriptors is left to workers: clients that only wait could take all of them, and then no
 * app can start. */
static uint32_t client_limit(const struct conf *conf)
{
    struct rlimit files;
    uint32_t wanted = (uint32_t)conf->connections;
    if (getrlimit(RLIMIT_NOFILE, &files) == -1 || files.rlim_cur / 4 * 3 >= wanted)
        return wanted;
    uint32_t most = (uint32_t)(files.rlim_cur / 4 * 3);
    log_warning("[limits] connections = %u: only %u, for there are at most %llu descriptors (ulimit -n)",
                wanted, most, (unsigned long long)files.rlim_cur);
    return most > 0 ? most : 1;
}

bool reload_build(const struct reload *reload, struct conf *conf)
{
    struct conn_pool *pool = reload->pool;
    struct router *router = router_new(conf);
    struct forwarded *forwarded = forwarded_new(&conf->trusted_proxies, &conf->forwarded);
    struct app **apps = calloc(conf->app_count, sizeof(*apps));
    if (router == NULL || forwarded == NULL || apps == NULL) {
        router_free(router);
        forwarded_free(forwarded);
        free(apps);
        log_error("no memory for the configuration");
        return false;
    }
    pool->conf = conf_ref(conf);
    pool->router = router;
    pool->forwarded = forwarded;
    pool->apps = apps;
    pool->limit = reload->facts->limit = client_limit(conf);
    reload->inside->conf = conf;
    reload->inside->forwarded = forwarded;
    reload->facts->conf = conf;
    reload->facts->apps = apps;
    return true;
}

/* ---- listeners ---- */

/* Those of one pool, what is meant from now on, and those of them that are new. */
struct change {
    struct list *listeners;
    struct conn_pool *pool;
    struct conf_list specs;
    const char *place;
    struct list fresh;
};

static bool listens(const struct list *listeners, const char *spec)
{
    struct list *node, *after;
    LIST_EACH (node, after, listeners)
        if (strcmp(LIST_OBJECT(node, struct listener, node)->spec, spec) == 0)
            return true;
    return false;
}

static bool is_meant(const struct change *change, const struct listener *l)
{
    for (uint32_t i = 0; i < change->specs.count; i++)
        if (strcmp(change->specs.items[i], l->spec) == 0)
            return true;
    return false;
}

/* Opens those that are not there yet. False: one cannot be. */
static bool open_fresh(struct change *change, const struct conf *conf)
{
    char error[NET_ERROR_MAX * 2];
    for (uint32_t i = 0; i < change->specs.count; i++) {
        const char *spec = change->specs.items[i];
        if (!listens(change->listeners, spec) &&
            !listener_open(&change->fresh, change->pool, conf, spec, error)) {
            log_error("the old configuration goes on: %s%s", change->place, error);
            return false;
        }
    }
    return true;
}

/* Those that are not meant any more are closed, after what has come to them; those that stay are changed; the
 * new ones begin. */
static void apply(struct change *change, const struct conf *before)
{
    struct list *node, *after;
    LIST_EACH (node, after, change->listeners) {
        struct listener *l = LIST_OBJECT(node, struct listener, node);
        if (is_meant(change, l)) {
            listener_change(l, before, change->pool->conf);
            continue;
        }
        log_info("no longer on %s", l->url);
        listener_accept_all(l);
        listener_free(l);
    }
    LIST_EACH (node, after, &change->fresh) {
        struct listener *l = LIST_OBJECT(node, struct listener, node);
        list_remove(node);
        list_append(change->listeners, node);
        listener_start(l);
        log_info("now on %s", l->url);
    }
}

/* ---- apps ---- */

/* Its place in the new configuration; NULL: it has none. */
static struct app **place_of(const struct conn_pool *pool, const struct app *app)
{
    for (uint32_t i = 0; i < pool->conf->app_count; i++)
        if (strcmp(pool->conf->apps[i].name, app->app_conf->name) == 0)
            return &pool->apps[i];
    return NULL;
}

static void change_apps(const struct reload *reload, struct app **old, uint32_t count)
{
    struct conn_pool *pool = reload->pool;
    for (uint32_t i = 0; i < count; i++) {
        struct app *app = old[i];
        struct app **place = app != NULL ? place_of(pool, app) : NULL;
        const struct conf_app *conf = place != NULL ? &pool->conf->apps[place - pool->apps] : NULL;
        if (place != NULL && app_reload(app, pool->conf, conf)) {
            *place = app;
        } else if (app != NULL) {
            if (place != NULL) /* NULL: no memory now; it is made anew at its first request */
                *place = app_new(pool->app_shared, pool->conf, conf, app->stats);
            list_append(reload->retired, &app->node);
            app_retire(app);
        }
    }
}

static void change_logs(const struct conf *conf)
{
    const struct log_targets targets = {
        .access = conf->access, .error = conf->error, .level = (enum log_level)conf->log_level};
    log_change(&targets);
}

/* Whoever writes `user` into the file of a gateway that runs as root is not to believe that it holds. */
static void warn_privileges(const struct conf *before, const struct conf *conf)
{
    if (strcmp(before->user, conf->user) != 0 || strcmp(before->group, conf->group) != 0)
        log_warning(
            "user and group are as they were: what the file says holds from the next start of leangate");
}

/* From here on nothing can fail. */
static void commit(const struct reload *reload, const struct conn_pool *before)
{
    const struct conf *conf = reload->pool->conf;
    change_logs(conf);
    warn_privileges(before->conf, conf);
    fleet_set_limit(&reload->pool->app_shared->fleet, conf->workers);
    change_apps(reload, before->apps, before->conf->app_count);
    router_free(before->router);
    forwarded_free(before->forwarded);
    free(before->apps);
    conf_unref(before->conf);
    log_info("configuration loaded anew: %u app%s", conf->app_count, conf->app_count == 1 ? "" : "s");
}

bool reload_run(const struct reload *reload)
{
    const struct conn_pool before = *reload->pool;
    struct conf *conf = load(reload->input);
    if (conf == NULL)
        return false;
    const char *status[] = {conf->status_listen};
    struct change changes[] = {
        {.listeners = reload->listeners,
         .pool = reload->pool,
         .specs = conf->listen,
         .place = conf->listen_place       },
        {.listeners = reload->status_listeners,
         .pool = reload->inside,
         .specs = {status, status[0][0] != '\0'},
         .place = conf->status_listen_place},
    };
    list_init(&changes[0].fresh);
    list_init(&changes[1].fresh);
    bool good = open_fresh(&changes[0], conf) && open_fresh(&changes[1], conf) && reload_build(reload, conf);
    for (int i = 0; i < 2; i++)
        if (good)
            apply(&changes[i], before.conf);
        else
            listener_free_all(&changes[i].fresh);
    if (good)
        commit(reload, &before);
    conf_unref(conf);
    return good;
}
