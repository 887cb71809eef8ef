/* gateway_end.c - see gateway_end.h. */
#include "gateway_end.h"

#include <signal.h>

#include "conn.h"
#include "gateway_apps.h"
#include "listener.h"
#include "log.h"
#include "notify.h"
#include "units.h"

enum { KILL_GRACE_MS = 2000 }; /* after SIGKILL: a process in an uninterruptible call is left to init */

static void drain(struct gateway *g)
{
    struct list *node, *after;
    timeq_stop(&g->delay);
    g->pool.draining = true;
    g->shared.stopping = true;
    LIST_EACH (node, after, &g->listeners)
        listener_accept_all(LIST_OBJECT(node, struct listener, node));
    listener_free_all(&g->listeners);
    conn_close_all(&g->pool, false);
    uint32_t left = list_count(&g->pool.active);
    if (left > 0)
        log_info("draining: %u request%s left (Ctrl-C again to stop now)", left, left == 1 ? "" : "s");
    gateway_apps_stop(g, false);
}

static void stop_now(struct gateway *g)
{
    if (g->killing)
        return;
    if (!g->pool.draining)
        drain(g);
    uint32_t left = list_count(&g->pool.active);
    if (left > 0)
        log_warning("stopped with %u request%s unfinished", left, left == 1 ? "" : "s");
    g->killing = true;
    conn_close_all(&g->pool, true);
    gateway_apps_stop(g, true);
    timeq_start(timeq_get(KILL_GRACE_MS), &g->deadline, &g->task);
}

/* Everything has `drain` from now on, the delay included. */
static void begin(struct gateway *g, int64_t delay)
{
    g->facts.draining = true;
    conn_end_all(&g->pool);
    notify_stopping();
    ev_timer_stop(g->loop, &g->quiet);
    timeq_start(timeq_get(conf_drain_time(g->pool.conf)), &g->deadline, &g->task);
    if (delay > 0)
        timeq_start(timeq_get(delay), &g->delay, &g->task);
    else
        drain(g);
}

void gateway_end_signal(struct gateway *g, int number)
{
    if (!g->pool.ending)
        begin(g, number == SIGTERM ? g->pool.conf->drain_delay : 0);
    else if (g->signals_seen > 0) /* else idle_exit has begun it: this is the first one */
        stop_now(g);
}

void gateway_end_step(struct gateway *g)
{
    if (g->deadline.expired) {
        timeq_stop(&g->deadline);
        if (g->killing)
            ev_break(g->loop, EVBREAK_ALL);
        else
            stop_now(g);
    }
    if (g->delay.expired)
        drain(g);
    if (g->shared.fleet.count == 0 && g->pool.count == 0 && g->pool.draining)
        ev_break(g->loop, EVBREAK_ALL);
}

/* ---- idle_exit ---- */

static bool is_active(const struct gateway *g)
{
    return !list_empty(&g->pool.active) || fleet_busy(&g->shared.fleet);
}

void gateway_end_watch(struct gateway *g)
{
    bool was_busy = g->busy;
    if (g->pool.conf->idle_exit == CONF_OFF)
        return;
    g->busy = is_active(g);
    if (!g->busy && !was_busy && g->requests == g->pool.requests)
        return;
    g->active = timeq_now();
    g->requests = g->pool.requests;
}

static void on_quiet(EV_P_ ev_timer *timer, int events)
{
    (void)EV_A;
    (void)events;
    struct gateway *g = timer->data;
    char text[UNITS_TEXT];
    gateway_end_watch(g);
    int64_t limit = g->pool.conf->idle_exit;
    double left = (double)limit / 1e3 - (timeq_now() - g->active);
    if (left > 0) {
        ev_timer_set(timer, left, 0.);
        ev_timer_start(g->loop, timer);
        return;
    }
    units_time_text(limit, text);
    log_info("no request for %s: leangate exits (idle_exit)", text);
    begin(g, 0);
    task_wake(&g->task); /* maybe all is done already */
}

void gateway_end_when_idle(struct gateway *g)
{
    int64_t limit = g->pool.conf->idle_exit;
    ev_timer_stop(g->loop, &g->quiet);
    if (limit == CONF_OFF || g->pool.ending)
        return;
    g->active = timeq_now();
    ev_timer_init(&g->quiet, on_quiet, (double)limit / 1e3, 0.);
    g->quiet.data = g;
    ev_now_update(g->loop);
    ev_timer_start(g->loop, &g->quiet);
}
