/* app_supply.c - see app_supply.h.
 *
 * A request goes to a free slot of the busiest worker that has one, so that the others can go idle; else,
 * below `workers`, one more is started; else it waits. Where no worker is ready the one that starts gets its
 * first request at once: the records are written while Python starts. One worker starts at a time. */
#include "app_supply.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "ignored.h"
#include "log.h"
#include "net.h"
#include "proc.h"
#include "stats.h"
#include "succession.h"
#include "tell.h"
#include "upstream.h"
#include "worker_slots.h"

/* ---- idle ---- */

/* Starts and stops the clock of idle_timeout, and the worker when it has run out. A request of ignore_idle
 * does not stop the clock, but the worker is not stopped while it has one. */
static void watch_idle(struct app *app, struct worker *w, bool idle)
{
    if (w->state != WORKER_READY || worker_awake(w) > 0) {
        timeq_stop(&w->idle);
    } else if (w->idle.expired && idle) {
        timeq_stop(&w->idle);
        tell_idle_stop(w);
        worker_end(w, WORKER_ON_IDLE, STATS_EXIT_IDLE);
    } else if (!w->idle.expired && !timeq_waiting(&w->idle)) {
        timeq_start(timeq_get(app->app_conf->idle_timeout), &w->idle, &app->task);
    }
}

/* Whether the app has a worker also while nobody asks: it may have threads of its own. */
static bool never_idle(const struct app *app)
{
    return app->app_conf->idle_timeout == CONF_OFF;
}

/* Nobody needs a worker of an older file that is idle, unless it stands in for a successor that starts or
 * that has failed. */
static bool outlived(const struct app *app, const struct worker *w)
{
    return w->outdated && w->state == WORKER_READY && !roster_starting(&app->roster) &&
           app->backoff.pause == 0 && !(never_idle(app) && succession_takes(w));
}

static void look_after(struct app *app, struct worker *w)
{
    bool idle = worker_busy(w) == 0;
    if (idle)
        worker_event(w, WORKER_ON_EMPTY);
    bool unwanted = app->queue.count == 0 && worker_serving(w) == 0;
    if (unwanted && (app->shared->stopping || app->retired))
        worker_end(w, WORKER_ON_STOP, STATS_EXIT_STOPPED);
    else if (unwanted && idle && outlived(app, w))
        worker_end(w, WORKER_ON_STOP, STATS_EXIT_REPLACED);
    watch_idle(app, w, idle);
    fleet_set_idle(&app->shared->fleet, w, idle && w->state == WORKER_READY);
}

/* ---- dispatch ---- */

struct worker *app_start_worker(struct app *app)
{
    struct conf_error error;
    struct worker_owner owner = {
        .loop = app->shared->loop,
        .conf = app->conf,
        .app = app->app_conf,
        .library = app->shared->library,
        .task = &app->task,
    };
    struct worker *w = worker_new(&owner, &error);
    if (w == NULL) {
        unsigned status = errno == 0 ? 500 : 503; /* what the machine is short of may be there again soon */
        log_error("%s", error.text);
        stats_error(app->stats, time(NULL), error.text);
        app_give_up(app, status, error.text);
        return NULL;
    }
    app->stats->counts[STATS_STARTS]++;
    fleet_join(&app->shared->fleet, w);
    roster_add(&app->roster, w);
    return w;
}

static void start_successor(struct app *app)
{
    if (app->shared->stopping || app->retired || backoff_active(&app->backoff) ||
        !succession_due(&app->roster, app->queue.count, never_idle(app) || app->wanted))
        return;
    struct worker *w = app_start_worker(app);
    if (w != NULL)
        w->successor = true;
}

/* One worker that nobody has asked for: start = eager or check. After a reload those of the old file do not
 * count: who was idle is on its way out by now, and who is not has a successor. */
static void start_wanted(struct app *app)
{
    const struct fleet *fleet = &app->shared->fleet;
    bool wanted = app->wanted;
    app->wanted = false;
    if (!wanted || app->shared->stopping || app->retired || backoff_active(&app->backoff) ||
        roster_serving(&app->roster) > 0 || app->queue.count > 0) /* which starts one when it is its turn */
        return;
    if (fleet_full(fleet))
        log_warning("%s: not started: [limits] workers = %lld", app->app_conf->name, (long long)fleet->limit);
    else
        (void)app_start_worker(app); /* a failure was logged, and is answered as that of any start */
}

/* Whether one more worker may be started for what waits. */
static bool may_grow(struct app *app)
{
    if (backoff_active(&app->backoff) || roster_starting(&app->roster) ||
        roster_serving(&app->roster) >= (uint64_t)app->app_conf->workers || queue_only_ignored(&app->queue)) {
        /* or those behind it wait for a place it cannot take */
        fleet_withdraw(&app->shared->fleet, &app->seat);
        return false;
    }
    app->seat.task = &app->task;
    app->seat.name = app->app_conf->name;
    app->seat.destitute = !roster_ready(&app->roster);
    if (fleet_admit(&app->shared->fleet, &app->seat))
        return true;
    queue_start_clocks(&app->queue, app->app_conf->queue_timeout); /* there is no worker to wait for */
    return false;
}

/* A request of ignore_idle is not what a worker is started for, or stays for: many at once would leave it
 * without the moment in which it can be stopped. Where one serves it waits for a slot. */
static bool answer_ignored(struct app *app, struct request *r)
{
    if (!r->ignored || roster_awake(&app->roster))
        return false;
    queue_take(&app->queue, r);
    ignored_answer(r);
    return true;
}

/* No slot is free for a request. False: it waits. */
static bool grow(struct app *app)
{
    return may_grow(app) && app_start_worker(app) != NULL;
}

/* Whether a worker that could serve has none for want of memory: nothing else would tell of it. */
static bool slot_failed(const struct roster *roster)
{
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers) {
        const struct worker *w = LIST_OBJECT(node, struct worker, node);
        if (w->state == WORKER_READY && w->slot_count == 0)
            return true;
    }
    return false;
}

static void retry_soon(struct app *app)
{
    timeq_start(timeq_get(UPSTREAM_RETRY_MS), &app->retry, &app->task);
}

/* A slot could not be given the request. True: go on, with it or with the next one. */
static bool not_given(struct app *app, struct request *r, struct worker *w, int code)
{
    bool shortage = net_is_shortage(code);
    /* The process lives: the next round connects the slot anew. (A dying one may still listen.) */
    if (code == EPIPE && proc_resident(w->child.pid) > 0)
        return true;
    if (code == EAGAIN || (shortage && worker_serving(w) > 0)) { /* a slot will be free, at the latest */
        retry_soon(app);
        return false;
    }
    if (shortage) {
        log_error("%s: no connection to worker %d: %s (id %s)", app->app_conf->name, (int)w->child.pid,
                  strerror(code), r->id);
        queue_fail(&app->queue, r, 503, NULL);
        return true;
    }
    log_debug("%s: worker %d cannot be reached: %s", app->app_conf->name, (int)w->child.pid, strerror(code));
    worker_lost(w);
    return w->news == 0; /* else the app hears that first: its start has failed, maybe */
}

/* Gives one request to a slot. False: nothing more can be handed out now. */
static bool hand_out(struct app *app, struct request *r)
{
    struct worker *w = NULL;
    if (answer_ignored(app, r))
        return true;
    struct upstream *up = roster_slot(&app->roster, &w);
    if (up == NULL) {
        if (slot_failed(&app->roster))
            retry_soon(app);
        return grow(app);
    }
    if (upstream_start(up, r, w->state == WORKER_READY) == -1)
        return not_given(app, r, w, errno);
    r->worker = w->child.pid;
    if (w->state != WORKER_READY) {
        r->cold = true;
        r->spawned = w->spawned;
        r->ready = 0; /* `sent` will be the time of READY */
    }
    w->given++;
    queue_take(&app->queue, r);
    return true;
}

void app_supply(struct app *app)
{
    timeq_stop(&app->retry);
    while (app->queue.count > 0 && hand_out(app, queue_first(&app->queue)))
        ;
    app_fail_waiting(app);
}

void app_look_after(struct app *app)
{
    struct list *node, *after;
    LIST_EACH (node, after, &app->roster.workers)
        look_after(app, LIST_OBJECT(node, struct worker, node));
    start_successor(app);
    start_wanted(app);
    if (app->queue.count == 0)
        fleet_withdraw(&app->shared->fleet, &app->seat);
}
