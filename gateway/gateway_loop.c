/* gateway_loop.c - see gateway_loop.h. */
#include "gateway_loop.h"

#include <signal.h>

#include "gateway_apps.h"
#include "gateway_end.h"
#include "listener.h"
#include "log.h"
#include "memory.h"
#include "notify.h"
#include "stats.h"

enum {
    BURST = 64, /* connections gone that make it worth while to give memory back */
    FEW = 8,    /* connections whose memory is not worth a look at the heap */
    REST_MS = 1000
};

struct reload gateway_loop_reload(struct gateway *g)
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
    const struct reload reload = gateway_loop_reload(g);
    g->reload = false;
    notify_reloading();
    bool good = reload_run(&reload);
    stats_globals[good ? STATS_RELOADS : STATS_RELOADS_FAILED]++;
    if (good) {
        g->reloaded = true;
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

/* Gives memory back when nothing goes on: at once after a burst or when an app fell asleep, else once in
 * REST_MS at most, since the next request needs the same pages again. */
static void rest(struct gateway *g)
{
    if (g->shared.fleet.count > 0 || !list_empty(&g->pool.active) || !list_empty(&g->pool.lingering)) {
        trim_after_burst(g);
        return;
    }
    bool much = g->shared.fell_asleep || g->reloaded || g->most_connections > g->pool.count + BURST;
    uint32_t made = g->pool.made + g->inside.made;
    if (!much && (made == g->rested_after || g->inside.count > 0))
        return;
    if (!much && timeq_now() - g->rested < REST_MS / 1e3) {
        timeq_start(timeq_get(REST_MS), &g->pause, &g->task);
        return;
    }
    g->shared.fell_asleep = false;
    g->reloaded = false;
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
    if (g->reload && g->serving && !g->pool.ending)
        load_anew(g);
    for (; g->serving && g->signals_seen < g->signal_count; g->signals_seen++) /* else start = check looks */
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

/* ---- watchers ---- */

void gateway_loop_watch(struct gateway *g)
{
    static const struct {
        int number;
        void (*callback)(EV_P_ ev_signal *signal, int events);
    } signals[GATEWAY_SIGNALS] = {
        {SIGTERM, on_signal},
        {SIGINT,  on_signal},
        {SIGQUIT, on_signal},
        {SIGUSR1, on_reopen},
        {SIGHUP,  on_hup   },
    };
    task_init(&g->task, run);
    for (int i = 0; i < GATEWAY_SIGNALS; i++) {
        ev_signal_init(&g->signals[i], signals[i].callback, signals[i].number);
        g->signals[i].data = g;
        ev_signal_start(g->loop, &g->signals[i]);
    }
    ev_idle_init(&g->more, on_idle);
    ev_prepare_init(&g->prepare, on_prepare);
    g->prepare.data = g;
    ev_prepare_start(g->loop, &g->prepare);
}

void gateway_loop_unwatch(struct gateway *g)
{
    for (int i = 0; i < GATEWAY_SIGNALS; i++)
        ev_signal_stop(g->loop, &g->signals[i]);
    ev_prepare_stop(g->loop, &g->prepare);
    ev_idle_stop(g->loop, &g->more);
}
