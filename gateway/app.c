/* app.c - see app.h.
 *
 * A request goes to a free slot of the busiest worker that has one, so that the others can go idle; else,
 * below `workers`, one more is started; else it waits. A starting worker gets its first request at once: the
 * records are written while Python starts. One worker starts at a time. */
#include "app.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ignored.h"
#include "log.h"
#include "stats.h"
#include "succession.h"
#include "tell.h"
#include "upstream.h"

static const int64_t RETRY_MS = 50; /* after a full backlog */

enum {
    REFUSALS = 5,       /* workers that may answer OVERLOADED to one request */
    DEATHS_UNREADY = 2, /* workers that may end before READY under one request */
    DEATHS_READY = 2    /* the same with READY, for methods that may be sent again */
};

static void enqueue(struct app *app, struct request *r, bool front)
{
    /* without a ready worker the clock starts with the first one */
    bool ready = app->remote != NULL || roster_ready(&app->roster);
    int64_t ms = ready ? app->app_conf->queue_timeout : CONF_OFF;
    queue_put(&app->queue, r, front, ms);
}

/* Text of the failure for the client: nothing internal unless `debug`. */
static const char *failure_detail(const struct app *app)
{
    return app->app_conf->debug ? app->backoff.failure : NULL;
}

/* No worker can be had: who waits is told so, unless another worker serves. */
static void give_up(struct app *app, unsigned status, const char *failure)
{
    app->checked = true;
    app->stillborn = 0;
    backoff_begin(&app->backoff, status, failure);
    if (!roster_ready(&app->roster))
        queue_fail_all(&app->queue, status, failure_detail(app));
}

/* ---- what became of a request ---- */

/* The worker was lost under a request that has no answer yet. A copy had begun it, and is lost with it. */
static void lost(struct app *app, struct worker *w, struct request *r)
{
    bool ready = w->ready != 0;
    r->died++;
    bool again = ready ? request_repeats(r) && r->died < DEATHS_READY : r->died < DEATHS_UNREADY;
    if (again && !(ready && w->link == UPSTREAM_COPY))
        enqueue(app, r, true);
    else
        queue_fail(&app->queue, r, 502, NULL);
}

static void settle_request(struct app *app, struct worker *w, struct request *r, enum upstream_result result)
{
    bool unbegun = result == UPSTREAM_OVERLOADED || result == UPSTREAM_UNREACHED;
    if (r->head_sent)
        request_cut(r);
    else if (unbegun && r->refused++ < REFUSALS)
        enqueue(app, r, true);
    else if (result == UPSTREAM_DIED)
        lost(app, w, r);
    else
        queue_fail(&app->queue, r, result == UPSTREAM_TIMEOUT ? 504 : 502, NULL);
}

/* In mode fork one copy is at fault, and its end is asked for while it still has its slot. */
static void settle_copy(struct worker *w, const struct upstream *up, enum upstream_result result)
{
    if (result == UPSTREAM_HUNG)
        worker_end(w, WORKER_ON_REQUEST_TIMEOUT, STATS_EXIT_REQUEST_TIMEOUT);
    else if (result == UPSTREAM_OVERLOADED || result == UPSTREAM_UNREACHED)
        worker_end(w, WORKER_ON_RETIRE, STATS_EXIT_REPLACED);
    else if (result == UPSTREAM_DIED && w->ready == 0)
        worker_lost(w);
    else if ((result == UPSTREAM_TIMEOUT || result == UPSTREAM_BROKEN) && up->state != UPSTREAM_CLOSED)
        worker_kill_slot(w, up->id);
}

static void settle_worker(struct worker *w, enum upstream_result result)
{
    if (result == UPSTREAM_BROKEN)
        worker_event(w, WORKER_ON_BROKEN);
    else if (result == UPSTREAM_DIED)
        worker_lost(w);
    else if (result == UPSTREAM_TIMEOUT)
        worker_end(w, WORKER_ON_REQUEST_TIMEOUT, STATS_EXIT_REQUEST_TIMEOUT);
    else if (result == UPSTREAM_OVERLOADED || result == UPSTREAM_UNREACHED)
        worker_end(w, WORKER_ON_RETIRE, STATS_EXIT_REPLACED);
}

static void take_result(struct app *app, struct worker *w, struct upstream *up)
{
    struct request *r = up->request;
    enum upstream_result result = upstream_take_result(up);
    if (result == UPSTREAM_DIED) /* READY may have come before, unread */
        worker_look(w);
    tell_result(w, up, result);
    w->served += result == UPSTREAM_DONE;
    if (r != NULL) {
        r->up = NULL;
        up->request = NULL;
        settle_request(app, w, r, result);
    }
    if (w->link == UPSTREAM_COPY)
        settle_copy(w, up, result);
    else
        settle_worker(w, result);
}

static void take_results(struct app *app, struct worker *w)
{
    while (!list_empty(&w->done))
        take_result(app, w, LIST_OBJECT(w->done.next, struct upstream, done));
    succession_look(w);
}

/* ---- what became of a worker ---- */

static void on_ready(struct app *app, struct worker *w)
{
    backoff_clear(&app->backoff);
    app->stillborn = 0;
    app->checked = app->check_ok = true;
    if (app->checking)
        log_info("%s: imports in %.0f ms", app->app_conf->name, (double)w->import_us / 1e3);
    else
        tell_ready(w, app->stats);
    if (roster_ready(&app->roster) == 1)
        queue_mark_cold(&app->queue, w->spawned, w->ready);
    succession_begin(w, &app->task);
    if (w->successor)
        succession_complete(&app->roster, w);
    queue_start_clocks(&app->queue, app->app_conf->queue_timeout);
}

/* Takes back what a worker was given before it could begin. A slot whose connection has ended already has a
 * result, which must not be looked at again: the request would be queued twice. */
static void take_back(struct app *app, struct worker *w)
{
    struct list *node, *after;
    LIST_EACH (node, after, &w->slots) {
        struct upstream *up = LIST_OBJECT(node, struct upstream, node);
        struct request *r = up->request;
        if (r == NULL)
            continue;
        (void)upstream_take_result(up);
        upstream_orphan(up);
        up->request = NULL;
        r->up = NULL;
        if (r->head_sent)
            request_cut(r);
        else
            enqueue(app, r, true);
    }
}

/* The app cannot be loaded, or takes too long. */
static void on_failed(struct app *app, struct worker *w)
{
    const char *text = w->failure != NULL ? w->failure
                       : w->start_expired ? "not ready within start_timeout; its process was killed"
                                          : "it cannot be loaded, and did not say why";
    tell_failure(w, app->stats, text);
    take_back(app, w);
    give_up(app, w->start_expired ? 503 : 500, text);
}

/* A start that ended neither READY nor FAILED: those who waited are sent again once, then there is back-off.
 */
static void on_stillborn(struct app *app)
{
    app->checked = true;
    if (++app->stillborn >= DEATHS_UNREADY || app->queue.count == 0)
        give_up(app, 502, "its process ended before it was ready");
}

static void on_gone(struct app *app, struct worker *w)
{
    tell_exit(w, app->stats);
    if (w->ready == 0 && w->failure == NULL && !w->start_expired && w->state != WORKER_TERM)
        on_stillborn(app);
    fleet_leave(&app->shared->fleet, w);
    roster_remove(&app->roster, w);
    if (app->roster.count == 0) {
        app->shared->fell_asleep = true;
        task_wake(app->shared->idle);
    }
}

/* ---- idle ---- */

/* Starts, stops and obeys the clock of idle_timeout. A request of ignore_idle does not stop it; it only waits
 * for its end. */
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

static void look_after(struct app *app, struct worker *w)
{
    bool idle = worker_busy(w) == 0;
    if (idle)
        worker_event(w, WORKER_ON_EMPTY);
    if (app->shared->stopping && worker_serving(w) == 0 && app->queue.count == 0)
        worker_end(w, WORKER_ON_STOP, STATS_EXIT_STOPPED);
    watch_idle(app, w, idle);
    fleet_set_idle(&app->shared->fleet, w, idle && w->state == WORKER_READY);
}

/* ---- dispatch ---- */

/* NULL when no process can be started now; what waits has been answered. */
static struct worker *start_worker(struct app *app)
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
        log_error("%s", error.text);
        stats_error(app->stats, time(NULL), error.text);
        give_up(app, 500, error.text);
        return NULL;
    }
    app->stats->counts[STATS_STARTS]++;
    fleet_join(&app->shared->fleet, w);
    roster_add(&app->roster, w);
    return w;
}

static void start_successor(struct app *app)
{
    if (app->shared->stopping || backoff_active(&app->backoff) ||
        !succession_due(&app->roster, app->queue.count))
        return;
    struct worker *w = start_worker(app);
    if (w != NULL)
        w->successor = true;
}

/* Whether one more worker may be started for what waits. */
static bool may_grow(struct app *app)
{
    if (backoff_active(&app->backoff) || roster_starting(&app->roster) ||
        roster_serving(&app->roster) >= (uint64_t)app->app_conf->workers)
        return false;
    app->seat.task = &app->task;
    app->seat.name = app->app_conf->name;
    app->seat.destitute = !roster_ready(&app->roster);
    if (fleet_admit(&app->shared->fleet, &app->seat))
        return true;
    queue_start_clocks(&app->queue, app->app_conf->queue_timeout); /* there is no worker to wait for */
    return false;
}

/* A request of ignore_idle is not what a worker is started for. */
static bool answer_ignored(struct app *app, struct request *r)
{
    if (!r->ignored || roster_serving(&app->roster) > 0)
        return false;
    queue_take(&app->queue, r);
    ignored_answer(r);
    return true;
}

/* No slot is free for a request. False: it waits. */
static bool grow(struct app *app, struct request *r)
{
    if (answer_ignored(app, r))
        return true;
    if (!may_grow(app))
        return false;
    return start_worker(app) != NULL;
}

/* Gives one request to a slot. False: nothing more can be handed out now. */
static bool hand_out(struct app *app, struct request *r)
{
    struct worker *w = NULL;
    struct upstream *up = roster_slot(&app->roster, &w);
    if (up == NULL)
        return grow(app, r);
    if (upstream_start(up, r, w->state == WORKER_READY) == 0) {
        r->worker = w->child.pid;
        if (w->state != WORKER_READY) {
            r->cold = true;
            r->spawned = w->spawned;
            r->ready = 0; /* r->sent will be that */
        }
        w->given++;
        queue_take(&app->queue, r);
        return true;
    }
    bool short_of = errno == ENOMEM || errno == EMFILE || errno == ENFILE;
    if (errno == EAGAIN ||
        (short_of && worker_serving(w) > 0)) { /* one of its slots will be free, at the latest */
        timeq_start(timeq_get(RETRY_MS), &app->retry, &app->task);
    } else if (short_of) {
        queue_fail(&app->queue, r, 503, NULL);
        return true;
    } else {
        log_debug("%s: worker %d cannot be reached: %s", app->app_conf->name, (int)w->child.pid,
                  strerror(errno));
        worker_lost(w);
        return true;
    }
    return false;
}

/* A server that runs already has no life to look after. */
static void run_remote(struct task *task)
{
    struct app *app = LIST_OBJECT(task, struct app, task);
    remote_run(app->remote, &app->queue);
}

static void run(struct task *task)
{
    struct app *app = LIST_OBJECT(task, struct app, task);
    struct list *node, *after;
    timeq_stop(&app->retry);
    LIST_EACH (node, after, &app->roster.workers) {
        struct worker *w = LIST_OBJECT(node, struct worker, node);
        unsigned news = w->news;
        w->news = 0;
        if (news & WORKER_NEWS_READY)
            on_ready(app, w);
        if (news & WORKER_NEWS_FAILED)
            on_failed(app, w);
        take_results(app, w);
        if (news & WORKER_NEWS_GONE)
            on_gone(app, w);
    }
    queue_expire(&app->queue);
    while (app->queue.count > 0 && hand_out(app, queue_first(&app->queue)))
        ;
    if (backoff_active(&app->backoff) && !roster_ready(&app->roster) && !roster_starting(&app->roster))
        queue_fail_all(&app->queue, app->backoff.status, failure_detail(app));
    LIST_EACH (node, after, &app->roster.workers)
        look_after(app, LIST_OBJECT(node, struct worker, node));
    start_successor(app);
    if (app->queue.count == 0)
        fleet_withdraw(&app->shared->fleet, &app->seat);
}

/* ---- the handler's three verbs ---- */

static void handle_start(struct request *r)
{
    struct app *app = r->app;
    request_identify(r);
    r->ignored = ignored_matches(r);
    if (r->ignored && roster_serving(&app->roster) == 0) {
        ignored_answer(r);
    } else if (backoff_active(&app->backoff) && !roster_ready(&app->roster) &&
               !roster_starting(&app->roster)) {
        app->stats->counts[STATS_CANNOT_START]++;
        request_fail(r, app->backoff.status, failure_detail(app));
    } else if (app->queue.count >= (uint64_t)app->app_conf->queue) {
        app->stats->counts[STATS_QUEUE_FULL]++;
        request_fail(r, 503, "too many requests wait");
    } else {
        enqueue(app, r, false);
        task_wake(&app->task);
    }
}

static void handle_resume(struct request *r)
{
    if (r->up != NULL)
        upstream_resume(r->up);
}

static void handle_cancel(struct request *r)
{
    struct app *app = r->app;
    struct upstream *up = r->up;
    queue_take(&app->queue, r);
    if (up == NULL)
        return;
    if (up->state == UPSTREAM_BUSY) {
        upstream_orphan(up);
    } else { /* its result waits to be looked at */
        up->request = NULL;
        r->up = NULL;
    }
    task_wake(&app->task);
}

const struct handler app_handler = {"app", handle_start, handle_resume, handle_cancel};

/* ---- life ---- */

struct app *app_new(struct app_shared *shared, const struct conf *conf, const struct conf_app *app_conf)
{
    struct app *app = calloc(1, sizeof(*app));
    struct stats *stats = stats_new();
    /* a retry must come, however short memory is then */
    if (app == NULL || stats == NULL || timeq_get(RETRY_MS) == NULL) {
        stats_unref(stats);
        free(app);
        return NULL;
    }
    app->stats = stats;
    app->shared = shared;
    app->conf = conf;
    app->app_conf = app_conf;
    roster_init(&app->roster);
    queue_init(&app->queue, &app->task, stats);
    task_init(&app->task, run);
    if (*app_conf->address == '\0')
        return app;
    task_init(&app->task, run_remote);
    app->remote = remote_new(shared->loop, conf, app_conf, &app->task);
    if (app->remote != NULL)
        return app;
    stats_unref(stats);
    free(app);
    return NULL;
}

void app_free(struct app *app)
{
    timeq_stop(&app->retry);
    task_cancel(&app->task);
    fleet_withdraw(&app->shared->fleet, &app->seat);
    backoff_clear(&app->backoff);
    stats_unref(app->stats);
    remote_free(app->remote);
    free(app);
}

void app_warm(struct app *app)
{
    const struct fleet *fleet = &app->shared->fleet;
    if (app->remote != NULL)
        app->checked = app->check_ok = true; /* whether it answers is for its own people to watch */
    else if (fleet->count >= fleet->limit)
        log_warning("%s: not started: [limits] workers = %lld", app->app_conf->name, (long long)fleet->limit);
    else if (app->roster.count == 0 && start_worker(app) != NULL)
        task_wake(&app->task);
}

bool app_failing(const struct app *app)
{
    return backoff_active(&app->backoff) && !roster_ready(&app->roster);
}

void app_stop(struct app *app, bool now)
{
    struct list *node, *after;
    if (now)
        LIST_EACH (node, after, &app->roster.workers)
            worker_end(LIST_OBJECT(node, struct worker, node),
                       WORKER_ON_BROKEN, /* leads to KILL from anywhere */
                       STATS_EXIT_STOPPED);
    task_wake(&app->task);
}
