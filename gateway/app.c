/* app.c - see app.h. */
#include "app.h"

#include <stdlib.h>

#include "app_outcome.h"
#include "app_supply.h"
#include "ignored.h"
#include "log.h"
#include "stats.h"
#include "upstream.h"

/* A server that runs already has no life to look after. */
static void run_remote(struct task *task)
{
    struct app *app = LIST_OBJECT(task, struct app, task);
    remote_run(app->remote, &app->queue);
    queue_limit(&app->queue, app->app_conf->queue);
    if (app->retired)
        task_wake(app->shared->idle);
}

static void run(struct task *task)
{
    struct app *app = LIST_OBJECT(task, struct app, task);
    struct list *node, *after;
    LIST_EACH (node, after, &app->roster.workers)
        app_outcome(app, LIST_OBJECT(node, struct worker, node));
    app_supply(app);
    queue_limit(&app->queue, app->app_conf->queue);
    app_look_after(app);
}

/* ---- the handler's three verbs ---- */

static void handle_start(struct request *r)
{
    struct app *app = r->app;
    request_identify(r);
    r->ignored = ignored_matches(r);
    if (r->ignored && !roster_awake(&app->roster)) {
        ignored_answer(r);
    } else if (app_failing(app)) {
        app->stats->counts[STATS_CANNOT_START]++;
        request_fail(r, app->backoff.status, app_failure_detail(app));
    } else {
        app_enqueue(app, r, false);
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
    task_wake(&app->task); /* what was to start for it, or to make room, is not needed any more */
    if (up == NULL)
        return;
    if (up->state == UPSTREAM_BUSY)
        upstream_orphan(up);
    else
        upstream_detach(up); /* its result waits to be looked at */
}

const struct handler app_handler = {handle_start, handle_resume, handle_cancel};

/* ---- life ---- */

struct app *app_new(struct app_shared *shared, struct conf *conf, const struct conf_app *app_conf,
                    struct stats *numbers)
{
    bool is_remote = *app_conf->address != '\0';
    struct app *app = calloc(1, sizeof(*app));
    struct stats *stats = numbers != NULL ? stats_ref(numbers) : stats_new();
    struct remote *remote =
        is_remote && app != NULL ? remote_new(shared->loop, conf, app_conf, &app->task) : NULL;
    /* a retry must come, however short memory is then */
    if (app == NULL || stats == NULL || (is_remote && remote == NULL) ||
        timeq_get(UPSTREAM_RETRY_MS) == NULL) {
        log_error("%s: no memory for the app", app_conf->name);
        remote_free(remote);
        stats_unref(stats);
        free(app);
        return NULL;
    }
    app->stats = stats;
    app->shared = shared;
    app->conf = conf_ref(conf);
    app->app_conf = app_conf;
    app->remote = remote;
    roster_init(&app->roster);
    queue_init(&app->queue, &app->task, stats);
    task_init(&app->task, is_remote ? run_remote : run);
    return app;
}

void app_free(struct app *app)
{
    timeq_stop(&app->retry);
    queue_close(&app->queue);
    task_cancel(&app->task);
    fleet_withdraw(&app->shared->fleet, &app->seat);
    backoff_clear(&app->backoff);
    stats_unref(app->stats);
    remote_free(app->remote);
    conf_unref(app->conf);
    free(app);
}

void app_expect(struct app *app, bool arriving)
{
    if (arriving)
        app->expected++;
    else
        app->expected--;
    if (app->retired)
        task_wake(app->shared->idle);
}

/* Ends a start of an older configuration, since a fresh one serves its requests sooner. Told to stop before
 * it was READY it has begun nothing, so what it was given comes back when it exits. A program that is not
 * pyworker cannot be told: the first thing heard of it is its READY. False: w is no such start. */
static bool end_start(struct worker *w)
{
    if (w->state == WORKER_STARTING)
        worker_look(w); /* if it is READY its request has begun */
    if (w->state != WORKER_STARTING || w->owner.app->kind == CONF_KIND_FASTCGI)
        return false;
    worker_end(w, WORKER_ON_STOP, STATS_EXIT_REPLACED);
    return true;
}

/* A start that the reload before has told to stop, and that hangs, is killed, or each reload would add a
 * process. Not where READY has come meanwhile: then it finishes what it may have begun. */
static void kill_hanging(struct worker *w)
{
    if (!w->outdated || w->state != WORKER_TERM || w->why != STATS_EXIT_REPLACED)
        return;
    worker_look(w);
    if (w->ready == 0)
        worker_end(w, WORKER_ON_BROKEN, STATS_EXIT_REPLACED);
}

bool app_reload(struct app *app, struct conf *conf, const struct conf_app *app_conf)
{
    bool ended = false;
    struct list *node, *after;
    if (app->remote != NULL || *app_conf->address != '\0')
        return false;
    conf_unref(app->conf);
    app->conf = conf_ref(conf);
    app->app_conf = app_conf;
    app->seat.name = app_conf->name; /* it may wait for its turn */
    backoff_clear(&app->backoff);
    app->stillborn = 0;
    LIST_EACH (node, after, &app->roster.workers) {
        struct worker *w = LIST_OBJECT(node, struct worker, node);
        kill_hanging(w);
        w->outdated = true;
        ended = end_start(w) || ended;
    }
    if (ended && !roster_ready(&app->roster)) /* nobody stands in for it */
        (void)app_start_worker(app);          /* NULL: who waits was told so */
    task_wake(&app->task);
    return true;
}

void app_retire(struct app *app)
{
    app->retired = true;
    task_wake(&app->task);
    task_wake(app->shared->idle); /* there may be nothing left for it to finish */
}

bool app_over(const struct app *app)
{
    return app->roster.count == 0 && app->queue.count == 0 && app->expected == 0 &&
           (app->remote == NULL || !remote_busy(app->remote));
}

void app_start_early(struct app *app)
{
    app->wanted = app->remote == NULL;
    if (app->remote != NULL)
        app->checked = app->check_ok = true; /* whether it answers is for its own people to watch */
    else
        task_wake(&app->task);
}

void app_stop(struct app *app, bool now)
{
    struct list *node, *after;
    if (now) /* BROKEN leads to KILL from anywhere */
        LIST_EACH (node, after, &app->roster.workers)
            worker_end(LIST_OBJECT(node, struct worker, node), WORKER_ON_BROKEN, STATS_EXIT_STOPPED);
    task_wake(&app->task);
}
