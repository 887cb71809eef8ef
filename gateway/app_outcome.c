/* app_outcome.c - see app_outcome.h. */
#include "app_outcome.h"

#include "log.h"
#include "stats.h"
#include "succession.h"
#include "tell.h"
#include "upstream.h"

enum {
    REFUSALS = 5, /* workers that may answer OVERLOADED to one request */
    DEATHS = 2    /* workers that may end under one request; starts in a row that may end without a word */
};

static const double STEADY = 5; /* seconds after READY: one that ends sooner would do so again */

/* ---- what became of a request ---- */

/* The worker was lost under a request that has no answer yet. Before READY nothing was begun; after it only
 * what may be begun twice is sent again, and never what a copy had. */
static void lost(struct app *app, struct worker *w, struct request *r)
{
    bool repeats = w->ready == 0 || (w->link != UPSTREAM_COPY && request_repeats(r));
    if (++r->died < DEATHS && repeats)
        app_enqueue(app, r, true);
    else
        queue_fail(&app->queue, r, 502, NULL);
}

static void settle_request(struct app *app, struct worker *w, struct request *r, enum upstream_result result)
{
    bool unbegun = result == UPSTREAM_OVERLOADED || result == UPSTREAM_UNREACHED;
    /* by a reload: the next worker is not like this one, so nothing is counted */
    bool ended = w->outdated && (unbegun || (result == UPSTREAM_DIED && w->ready == 0));
    if (r->head_sent)
        request_cut(r);
    else if (ended || (unbegun && r->refused++ < REFUSALS))
        app_enqueue(app, r, true);
    else if (result == UPSTREAM_DIED)
        lost(app, w, r);
    else
        queue_fail(&app->queue, r, result == UPSTREAM_TIMEOUT ? 504 : 502, NULL);
}

/* What it means for the worker. Where a copy or a task is at fault alone its end is asked for, as long as it
 * has its slot; a copy that was asked for its stacks is DUE later, for nobody writes after a SIGKILL. */
static void settle_worker(struct worker *w, const struct upstream *up, enum upstream_result result)
{
    bool copy = w->link == UPSTREAM_COPY, timeout = result == UPSTREAM_TIMEOUT;
    bool kills = result == UPSTREAM_DUE || (copy && result == UPSTREAM_BROKEN);
    bool cancels = w->link == UPSTREAM_TASK && timeout;
    if ((kills || cancels) && up->state != UPSTREAM_CLOSED)
        worker_tell_slot(w, kills ? "KILL" : "CANCEL", up->id);
    if (kills || cancels || (copy && timeout))
        return;
    switch (result) {
    case UPSTREAM_OVERLOADED:
    case UPSTREAM_UNREACHED:
        worker_end(w, WORKER_ON_RETIRE, STATS_EXIT_REPLACED);
        break;
    case UPSTREAM_DIED:
        if (!copy || w->ready == 0)
            worker_lost(w);
        break;
    case UPSTREAM_BROKEN:
        worker_event(w, WORKER_ON_BROKEN);
        break;
    case UPSTREAM_TIMEOUT:
    case UPSTREAM_HUNG:
        worker_end(w, WORKER_ON_REQUEST_TIMEOUT, STATS_EXIT_REQUEST_TIMEOUT);
        break;
    case UPSTREAM_NOTHING:
    case UPSTREAM_DONE:
    case UPSTREAM_SLOW:
    case UPSTREAM_DUE:
        break;
    }
}

static void take_result(struct app *app, struct worker *w, struct upstream *up)
{
    struct request *r = up->request;
    enum upstream_result result = upstream_take_result(up);
    if (result == UPSTREAM_SLOW || result == UPSTREAM_TIMEOUT)
        worker_ask_stacks(w, up->id);
    if (result == UPSTREAM_SLOW) {
        tell_slow(w, up);
        return;
    }
    if (result == UPSTREAM_DIED) /* READY may have come before, unread */
        worker_look(w);
    tell_result(w, up, result);
    w->served += result == UPSTREAM_DONE;
    if (r != NULL) {
        upstream_detach(up);
        settle_request(app, w, r, result);
    }
    settle_worker(w, up, result);
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
    if (app->checking && app->app_conf->kind != CONF_KIND_FASTCGI)
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
        upstream_detach(up);
        if (r->head_sent)
            request_cut(r);
        else
            app_enqueue(app, r, true);
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
    if (!w->outdated) /* else the current configuration is yet to be tried */
        app_give_up(app, w->start_expired ? 503 : 500, text);
}

/* A start that ended neither READY nor FAILED: those who waited are sent again once, then there is back-off.
 */
static void on_stillborn(struct app *app)
{
    app->checked = true;
    if (++app->stillborn >= DEATHS || app->queue.count == 0)
        app_give_up(app, 502, "its process ended before it was ready");
}

/* With start = eager and idle_timeout = off an app works also while nobody asks. */
static bool is_missed(const struct app *app, const struct worker *w)
{
    return app->app_conf->start == CONF_START_EAGER && app->app_conf->idle_timeout == CONF_OFF &&
           app->roster.count == 1 && w->ready != 0 && timeq_clock() - w->ready >= STEADY &&
           w->why != STATS_EXIT_ROOM;
}

static void on_gone(struct app *app, struct worker *w)
{
    tell_exit(w, app->stats);
    if (w->live != NULL && w->why == STATS_EXIT_IDLE && !app->told_live) {
        app->told_live = true;
        tell_live(w);
    }
    bool told = w->failure != NULL || w->start_expired;
    /* one that a reload had to kill says nothing about what is to be started now */
    if (w->ready == 0 && !told && !w->outdated && w->state != WORKER_TERM)
        on_stillborn(app);
    app->wanted = app->wanted || is_missed(app, w);
    fleet_leave(&app->shared->fleet, w);
    roster_remove(&app->roster, w);
    if (app->roster.count == 0) {
        app->shared->fell_asleep = true;
        task_wake(app->shared->idle);
    }
}

void app_outcome(struct app *app, struct worker *w)
{
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
