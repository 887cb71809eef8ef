/* gateway.c - see gateway.h.
 *
 *   start: logs, limits, loop -> bind -> drop privileges -> check apps -> accept
 *   run:   gateway_loop.c; at SIGHUP reload.c
 *   end:   gateway_end.c */
#include "gateway.h"

#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "banner.h"
#include "conn.h"
#include "forwarded.h"
#include "gateway_apps.h"
#include "gateway_end.h"
#include "gateway_loop.h"
#include "gateway_state.h"
#include "inherit.h"
#include "library.h"
#include "listener.h"
#include "log.h"
#include "memory.h"
#include "notify.h"
#include "privileges.h"
#include "reaper.h"
#include "reload.h"
#include "router.h"
#include "spawn.h"
#include "timeq.h"

enum {
    STATUS_CONNECTIONS = 8,
    TROUBLE_MS = 100 /* before libev tries again */
};

_Static_assert((int)CONF_LOG_ERROR == (int)LOG_ERROR, "the levels of the configuration are those of the log");

/* ---- building ---- */

/* A plain number of descriptors must not be what limits `connections`. Workers get the old limit back. */
static void raise_limits(void)
{
    struct rlimit files;
    spawn_keep_limits();
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* libev wakes every 60 s to look for clock jumps as long as no periodic watcher was ever started. */
static void calm_loop(struct ev_loop *loop)
{
    ev_periodic never;
    ev_periodic_init(&never, NULL, 0., 1e9, NULL);
    ev_periodic_start(loop, &never);
    ev_periodic_stop(loop, &never);
}

/* libev ends the process where it can neither wait nor make its set of descriptors anew, unless this returns:
 * then it tries again. */
static void on_trouble(const char *what)
{
    log_error("%s: %s; it is tried again", what, strerror(errno));
    (void)poll(NULL, 0, TROUBLE_MS);
}

static void init_pool(struct conn_pool *pool)
{
    list_init(&pool->idle);
    list_init(&pool->waiting);
    list_init(&pool->lingering);
    list_init(&pool->active);
}

/* The status listener has a pool of its own: it answers also when the clients have used up theirs. */
static bool fill_pools(struct gateway *g, struct conf *conf)
{
    g->facts = (struct status_facts){
        .started = time(NULL),
        .connections = &g->pool.count,
        .idle = &g->pool.idle,
    };
    struct conn_pool *pools[] = {&g->pool, &g->inside};
    for (int i = 0; i < 2; i++) {
        pools[i]->loop = g->loop;
        pools[i]->facts = &g->facts;
        pools[i]->closed = &g->task;
    }
    g->pool.app_shared = &g->shared;
    g->inside.limit = STATUS_CONNECTIONS;
    g->inside.inside = true;
    const struct reload reload = gateway_loop_reload(g);
    return reload_build(&reload, conf);
}

static enum gateway_exit build(struct gateway *g, struct conf *conf, const struct conf_input *input)
{
    *g = (struct gateway){.input = input};
    list_init(&g->listeners);
    list_init(&g->status_listeners);
    list_init(&g->retired);
    init_pool(&g->pool);
    init_pool(&g->inside);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is one more "disk full" */
    memory_init();
    ev_set_allocator(memory_for_loop);
    g->loop = ev_default_loop(EVFLAG_AUTO);
    if (g->loop == NULL) {
        log_error("cannot make an event loop");
        return GATEWAY_INTERNAL;
    }
    calm_loop(g->loop);
    timeq_init(g->loop);
    const char *path;
    /* Rotation needs a directory that the user can write to: root must not append to whatever it links to. */
    const struct log_targets targets = {.access = conf->access,
                                        .error = conf->error,
                                        .level = (enum log_level)conf->log_level,
                                        .guarded = conf->user[0] != '\0'};
    if (log_open(g->loop, &targets, &path) == -1) {
        log_error("%scannot open the log %s: %s",
                  path == conf->error ? conf->error_place : conf->access_place, path, strerror(errno));
        return GATEWAY_CANNOT_START;
    }
    char *library = library_find();
    if (library == NULL) {
        log_error("the worker package is missing: no pyworker/__main__.py beside the program or in its "
                  "lib/leangate");
        return GATEWAY_CANNOT_START;
    }
    g->shared = (struct app_shared){.loop = g->loop, .library = library, .idle = &g->task};
    fleet_init(&g->shared.fleet, conf->workers);
    raise_limits();
    if (!fill_pools(g, conf) || !reaper_init(g->loop))
        return GATEWAY_INTERNAL;
    gateway_loop_watch(g);
    ev_set_syserr_cb(on_trouble); /* what only the start needs it has */
    return GATEWAY_OK;
}

static void destroy(struct gateway *g)
{
    listener_free_all(&g->listeners);
    listener_free_all(&g->status_listeners);
    if (g->loop != NULL)
        conn_close_all(&g->inside, true);
    gateway_apps_free(g);
    fleet_close(&g->shared.fleet);
    timeq_stop(&g->delay);
    timeq_stop(&g->pause);
    timeq_stop(&g->deadline);
    task_cancel(&g->task);
    notify_close();
    if (g->loop != NULL) {
        log_close();
        timeq_free();
        gateway_loop_unwatch(g);
        ev_timer_stop(g->loop, &g->quiet);
        ev_loop_destroy(g->loop);
    }
    free(g->pool.apps);
    router_free(g->pool.router);
    forwarded_free(g->pool.forwarded);
    conf_unref(g->pool.conf);
    free(g->shared.library);
}

/* ---- start ---- */

static enum gateway_exit bind_all(struct gateway *g)
{
    char error[NET_ERROR_MAX * 2];
    const struct conf *conf = g->pool.conf;
    if (conf->status_listen[0] != '\0' &&
        !listener_open(&g->status_listeners, &g->inside, conf, conf->status_listen, error)) {
        log_error("%s%s", conf->status_listen_place, error);
        return GATEWAY_CANNOT_START;
    }
    for (uint32_t i = 0; i < conf->listen.count; i++)
        if (!listener_open(&g->listeners, &g->pool, conf, conf->listen.items[i], error)) {
            log_error("%s%s", conf->listen_place, error);
            return GATEWAY_CANNOT_START;
        }
    inherit_forget();
    return GATEWAY_OK;
}

enum gateway_exit gateway_check(struct conf *conf)
{
    struct gateway g;
    enum gateway_exit status = build(&g, conf, NULL);
    conf_unref(conf);
    if (status == GATEWAY_OK && (!privileges_take_group(g.pool.conf) || !privileges_drop(g.pool.conf)))
        status = GATEWAY_CANNOT_START;
    if (status == GATEWAY_OK)
        status = gateway_apps_check(&g, true) ? GATEWAY_OK : GATEWAY_APP_BROKEN;
    if (status == GATEWAY_OK && g.signal_count > 0) {
        log_error("the check was broken off by a signal");
        status = GATEWAY_INTERNAL;
    }
    if (status == GATEWAY_OK) {
        banner_warn(g.pool.conf);
        log_info("%s: ok", g.pool.conf->file[0] != '\0' ? g.pool.conf->file : g.pool.conf->apps[0].name);
    }
    destroy(&g);
    return status;
}

static void serve(struct gateway *g)
{
    struct list *node, *after;
    banner_tell(g->pool.conf, g->pool.forwarded, &g->listeners, &g->status_listeners);
    LIST_EACH (node, after, &g->status_listeners)
        listener_start(LIST_OBJECT(node, struct listener, node));
    LIST_EACH (node, after, &g->listeners)
        listener_start(LIST_OBJECT(node, struct listener, node));
    gateway_apps_start(g);
    gateway_end_when_idle(g);
    notify_ready(g->pool.conf->app_count, g->shared.fleet.count);
    g->serving = true;
    if (g->reload) /* which has waited for it */
        task_wake(&g->task);
    memory_give_back(); /* what only the start needed */
    ev_run(g->loop, 0);
}

enum gateway_exit gateway_run(struct conf *conf, const struct conf_input *input)
{
    struct gateway g;
    enum gateway_exit status = build(&g, conf, input);
    conf_unref(conf);
    if (status == GATEWAY_OK)
        notify_open();
    if (status == GATEWAY_OK && !privileges_take_group(g.pool.conf))
        status = GATEWAY_CANNOT_START;
    if (status == GATEWAY_OK)
        status = bind_all(&g);
    if (status == GATEWAY_OK && !privileges_drop(g.pool.conf))
        status = GATEWAY_CANNOT_START;
    if (status == GATEWAY_OK) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core, no ptrace: requests of all apps pass through here */
        if (!gateway_apps_check(&g, false))
            status = GATEWAY_APP_BROKEN;
    }
    if (status == GATEWAY_OK && g.signal_count == 0)
        serve(&g);
    destroy(&g);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* a leak checker at exit needs it */
    return status;
}
