/* gateway.c - see gateway.h.
 *
 *   start: logs, limits, loop -> bind -> drop privileges -> check apps -> accept
 *   SIGHUP: reload.c
 *   end:   gateway_end.c */
#include "gateway.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "app.h"
#include "banner.h"
#include "conn.h"
#include "forwarded.h"
#include "gateway_apps.h"
#include "gateway_end.h"
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
#include "stats.h"
#include "timeq.h"

enum {
    STATUS_CONNECTIONS = 8,
    BURST = 64, /* connections gone that make it worth while to give memory back */
    FEW = 8,    /* connections whose memory is not worth a look at the heap */
    REST_MS = 1000
};

static struct reload reload_of(struct gateway *g)
{
    return (struct reload){
        .input = g->input,
        .pool = &g->pool,
        .inside = &g->inside,
        .facts = &g->facts,
        .listeners = &g->listeners,
        .status_listeners = &g->status_listeners,
        .retired = &g->retired,
    };
}

static void load_anew(struct gateway *g)
{
    const struct reload reload = reload_of(g);
    g->reload = false;
    notify_reloading();
    bool good = reload_run(&reload);
    stats_globals[good ? STATS_RELOADS : STATS_RELOADS_FAILED]++;
    if (good) {
        gateway_apps_start(g);
        gateway_end_when_idle(g);
    }
    notify_ready(g->pool.conf->app_count, g->shared.fleet.count);
}

static void resume_listeners(struct gateway *g)
{
    struct list *node, *after;
    LIST_EACH (node, after, &g->listeners)
        listener_resume(LIST_OBJECT(node, struct listener, node));
    LIST_EACH (node, after, &g->status_listeners)
        listener_resume(LIST_OBJECT(node, struct listener, node));
}

/* While others go on: gives back what a burst needed. Each time half of its connections are gone, so that the
 * cost of looking stays small against that of the connections. */
static void trim_after_burst(struct gateway *g)
{
    if (g->most_connections < 2 * g->pool.count + FEW)
        return;
    g->most_connections = g->pool.count;
    memory_trim();
}

/* Gives back what was needed, when nothing goes on: at once if it is much, else once in REST_MS, for who asks
 * again needs it again. */
static void rest(struct gateway *g)
{
    if (g->shared.fleet.count > 0 || !list_empty(&g->pool.active)) {
        trim_after_burst(g);
        return;
    }
    bool much = g->shared.fell_asleep || g->most_connections > g->pool.count + BURST;
    uint32_t made = g->pool.made + g->inside.made;
    if (!much && (made == g->rested_after || g->inside.count > 0))
        return;
    if (!much && timeq_now() - g->rested < REST_MS / 1e3) {
        timeq_start(timeq_get(REST_MS), &g->pause, &g->task);
        return;
    }
    g->shared.fell_asleep = false;
    g->rested_after = made;
    g->most_connections = g->pool.count;
    g->rested = timeq_now();
    memory_give_back();
}

/* Runs after a signal, a passed deadline, a closed connection, an app whose last worker went. */
static void run(struct task *task)
{
    struct gateway *g = LIST_OBJECT(task, struct gateway, task);
    resume_listeners(g);
    gateway_apps_free_retired(g);
    if (g->reload && !g->ending)
        load_anew(g);
    for (; g->signals_seen < g->signal_count; g->signals_seen++)
        gateway_end_signal(g, g->signal);
    rest(g);
    gateway_end_step(g);
}

static void on_signal(EV_P_ ev_signal *signal, int events)
{
    (void)EV_A;
    (void)events;
    struct gateway *g = signal->data;
    g->signal = signal->signum;
    g->signal_count++;
    task_wake(&g->task);
}

static void on_hup(EV_P_ ev_signal *signal, int events)
{
    (void)EV_A;
    (void)events;
    struct gateway *g = signal->data;
    g->reload = g->input != NULL;
    task_wake(&g->task);
}

static void on_reopen(EV_P_ ev_signal *signal, int events)
{
    (void)EV_A;
    (void)events;
    const struct gateway *g = signal->data;
    log_reopen(g->pool.conf->access, g->pool.conf->error);
}

static void on_idle(EV_P_ ev_idle *idle, int events)
{
    (void)EV_A;
    (void)idle;
    (void)events;
}

void gateway_work(struct gateway *g)
{
    if (task_run())
        ev_idle_start(g->loop, &g->more);
    else
        ev_idle_stop(g->loop, &g->more);
    if (g->pool.count > g->most_connections)
        g->most_connections = g->pool.count;
    gateway_end_watch(g);
    notify_numbers(g->pool.conf->app_count, g->shared.fleet.count);
    timeq_sync();
    log_flush();
}

/* Before the loop sleeps. */
static void on_prepare(EV_P_ ev_prepare *prepare, int events)
{
    (void)EV_A;
    (void)events;
    gateway_work(prepare->data);
}

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

static void watch_signals(struct gateway *g)
{
    static const int numbers[GATEWAY_SIGNALS] = {SIGTERM, SIGINT, SIGQUIT};
    for (int i = 0; i < GATEWAY_SIGNALS; i++) {
        ev_signal_init(&g->signals[i], on_signal, numbers[i]);
        g->signals[i].data = g;
        ev_signal_start(g->loop, &g->signals[i]);
    }
    ev_signal_init(&g->reopen, on_reopen, SIGUSR1);
    g->reopen.data = g;
    ev_signal_start(g->loop, &g->reopen);
    ev_signal_init(&g->hup, on_hup, SIGHUP);
    g->hup.data = g;
    ev_signal_start(g->loop, &g->hup);
    ev_idle_init(&g->more, on_idle);
    ev_prepare_init(&g->prepare, on_prepare);
    g->prepare.data = g;
    ev_prepare_start(g->loop, &g->prepare);
}

/* libev wakes every 60 s to look for clock jumps as long as no periodic watcher was ever started. */
static void calm_loop(struct ev_loop *loop)
{
    ev_periodic never;
    ev_periodic_init(&never, NULL, 0., 1e9, NULL);
    ev_periodic_start(loop, &never);
    ev_periodic_stop(loop, &never);
}

static void init_pool(struct conn_pool *pool)
{
    list_init(&pool->idle);
    list_init(&pool->waiting);
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
    const struct reload reload = reload_of(g);
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
    task_init(&g->task, run);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is one more "disk full" */
    memory_init();
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
        log_error("cannot open the log %s: %s", path, strerror(errno));
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
    if (!fill_pools(g, conf))
        return GATEWAY_INTERNAL;
    raise_limits();
    reaper_init(g->loop);
    watch_signals(g);
    return GATEWAY_DRAINED;
}

static void close_listeners(struct list *listeners)
{
    struct list *node, *after;
    LIST_EACH (node, after, listeners)
        listener_free(LIST_OBJECT(node, struct listener, node));
}

static void destroy(struct gateway *g)
{
    close_listeners(&g->listeners);
    close_listeners(&g->status_listeners);
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
        for (int i = 0; i < GATEWAY_SIGNALS; i++)
            ev_signal_stop(g->loop, &g->signals[i]);
        ev_signal_stop(g->loop, &g->reopen);
        ev_signal_stop(g->loop, &g->hup);
        ev_prepare_stop(g->loop, &g->prepare);
        ev_idle_stop(g->loop, &g->more);
        ev_timer_stop(g->loop, &g->quiet);
        ev_loop_destroy(g->loop);
    }
    free(g->pool.apps);
    router_free(g->pool.router);
    forwarded_free(g->pool.forwarded);
    conf_unref(g->pool.conf);
    union {
        const char *in;
        char *out;
    } library = {.in = g->shared.library}; /* ours, handed out as const */
    free(library.out);
}

/* ---- start ---- */

static enum gateway_exit bind_all(struct gateway *g)
{
    char error[NET_ERROR_MAX * 2];
    const struct conf *conf = g->pool.conf;
    if (conf->status_listen[0] != '\0' &&
        !listener_open(&g->status_listeners, &g->inside, conf, conf->status_listen, error)) {
        log_error("%s", error);
        return GATEWAY_CANNOT_START;
    }
    for (uint32_t i = 0; i < conf->listen.count; i++)
        if (!listener_open(&g->listeners, &g->pool, conf, conf->listen.items[i], error)) {
            log_error("%s", error);
            return GATEWAY_CANNOT_START;
        }
    inherit_forget();
    return GATEWAY_DRAINED;
}

enum gateway_exit gateway_check(struct conf *conf)
{
    struct gateway g;
    enum gateway_exit status = build(&g, conf, NULL);
    conf_unref(conf);
    if (status == GATEWAY_DRAINED && !privileges_drop(g.pool.conf))
        status = GATEWAY_CANNOT_START;
    if (status == GATEWAY_DRAINED)
        status = gateway_apps_check(&g, true) ? GATEWAY_DRAINED : GATEWAY_APP_BROKEN;
    if (status == GATEWAY_DRAINED) {
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
    memory_give_back(); /* what only the start needed */
    ev_run(g->loop, 0);
}

enum gateway_exit gateway_run(struct conf *conf, const struct conf_input *input)
{
    struct gateway g;
    enum gateway_exit status = build(&g, conf, input);
    conf_unref(conf);
    if (status == GATEWAY_DRAINED)
        notify_open();
    if (status == GATEWAY_DRAINED)
        status = bind_all(&g);
    if (status == GATEWAY_DRAINED && !privileges_drop(g.pool.conf))
        status = GATEWAY_CANNOT_START;
    if (status == GATEWAY_DRAINED) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core, no ptrace: requests of all apps pass through here */
        if (!gateway_apps_check(&g, false))
            status = GATEWAY_APP_BROKEN;
    }
    if (status == GATEWAY_DRAINED && g.signal_count == 0)
        serve(&g);
    destroy(&g);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* a leak checker at exit needs it */
    return status;
}
