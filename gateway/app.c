/* app.c - see app.h.
 *
 * A request goes to a free slot of the busiest worker that has one, so that the others can go idle; else,
 * below `workers`, one more is started; else it waits. A starting worker gets its first request at once: the
 * records are written while Python starts. One worker starts at a time. */
#include "app.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "log.h"
#include "units.h"
#include "upstream.h"
#include "worker.h"

static const double BACKOFF_FIRST = 0.1; /* seconds */
static const double BACKOFF_LAST = 30.0;
static const int64_t RETRY_MS = 50; /* after a full backlog */

enum {
    REFUSALS = 5,       /* workers that may answer OVERLOADED to one request */
    DEATHS_UNREADY = 2, /* workers that may end before READY under one request */
    DEATHS_READY = 2    /* the same with READY, for methods that may be sent again */
};

/* ---- the queue ---- */

static bool have_ready_worker(const struct app *app)
{
    struct list *node, *after;
    LIST_EACH (node, after, &app->workers)
        if (LIST_OBJECT(node, struct worker, node)->state == WORKER_READY)
            return true;
    return false;
}

static void start_queue_clock(struct app *app, struct request *r)
{
    timeq_start(timeq_get(app->app_conf->queue_timeout), &r->queue_deadline, &app->task);
}

static void enqueue(struct app *app, struct request *r, bool front)
{
    if (front)
        list_prepend(&app->waiting, &r->waiting);
    else
        list_append(&app->waiting, &r->waiting);
    app->waiting_count++;
    if (have_ready_worker(app)) /* else the clock starts with the first one */
        start_queue_clock(app, r);
}

static void dequeue(struct app *app, struct request *r)
{
    if (!list_linked(&r->waiting))
        return;
    list_remove(&r->waiting);
    timeq_stop(&r->queue_deadline);
    app->waiting_count--;
}

static struct request *first_waiting(struct app *app)
{
    return LIST_OBJECT(app->waiting.next, struct request, waiting);
}

/* The request leaves the app with an error. */
static void fail(struct app *app, struct request *r, unsigned status, const char *detail)
{
    dequeue(app, r);
    request_fail(r, status, detail);
}

/* ---- failures of a start ---- */

/* Text of the failure for the client: nothing internal unless `debug`. */
static const char *failure_detail(const struct app *app)
{
    return app->app_conf->debug ? app->failure : NULL;
}

static void set_backoff(struct app *app, unsigned status, const char *failure)
{
    app->backoff = app->backoff == 0 ? BACKOFF_FIRST : app->backoff * 2;
    if (app->backoff > BACKOFF_LAST)
        app->backoff = BACKOFF_LAST;
    app->backoff_until = timeq_clock() + app->backoff;
    app->failure_status = status;
    free(app->failure);
    app->failure = failure != NULL ? strdup(failure) : NULL;
}

static void clear_backoff(struct app *app)
{
    app->backoff = app->backoff_until = 0;
    app->stillborn = 0;
    free(app->failure);
    app->failure = NULL;
}

static bool in_backoff(const struct app *app)
{
    return app->backoff_until != 0 && timeq_clock() < app->backoff_until;
}

static void fail_all_waiting(struct app *app, unsigned status)
{
    while (!list_empty(&app->waiting))
        fail(app, first_waiting(app), status, failure_detail(app));
}

/* ---- what became of a request ---- */

static bool may_send_again(const struct request *r)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS"};
    const char *method = r->in.data + r->head.method.off;
    for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
        if (r->head.method.len == strlen(safe[i]) && memcmp(method, safe[i], r->head.method.len) == 0)
            return true;
    return false;
}

/* The worker was lost under a request that has no answer yet. `ready`: it had begun. */
static void lost(struct app *app, struct request *r, bool ready)
{
    r->died++;
    bool again = ready ? may_send_again(r) && r->died < DEATHS_READY : r->died < DEATHS_UNREADY;
    if (again)
        enqueue(app, r, true);
    else
        fail(app, r, 502, NULL);
}

static void take_result(struct app *app, struct worker *w, struct upstream *up)
{
    struct request *r = up->request;
    bool ready = w->ready != 0;
    enum upstream_result result = upstream_take_result(up);
    if (r != NULL) {
        r->up = NULL;
        up->request = NULL;
    }
    if (result == UPSTREAM_BROKEN)
        log_error("%s: worker %d does not speak FastCGI: %s", app->app_conf->name, (int)w->child.pid,
                  up->reason);
    if (result == UPSTREAM_TIMEOUT)
        log_error("%s: worker %d exceeded the time for a request (id %s); it is replaced",
                  app->app_conf->name, (int)w->child.pid, r != NULL ? r->id : "-");
    if (r != NULL && r->head_sent)
        request_cut(r);
    else if (r != NULL && result == UPSTREAM_OVERLOADED && r->refused++ < REFUSALS)
        enqueue(app, r, true);
    else if (r != NULL && result == UPSTREAM_DIED)
        lost(app, r, ready);
    else if (r != NULL)
        fail(app, r, result == UPSTREAM_TIMEOUT ? 504 : 502, NULL);
    if (result == UPSTREAM_BROKEN)
        worker_event(w, WORKER_ON_BROKEN);
    else if (result == UPSTREAM_DIED)
        worker_lost(w);
    else if (result == UPSTREAM_TIMEOUT)
        worker_event(w, WORKER_ON_REQUEST_TIMEOUT);
    else if (result == UPSTREAM_OVERLOADED)
        worker_event(w, WORKER_ON_RETIRE);
}

static void take_results(struct app *app, struct worker *w)
{
    while (!list_empty(&w->done))
        take_result(app, w, LIST_OBJECT(w->done.next, struct upstream, done));
}

/* ---- what became of a worker ---- */

static void on_ready(struct app *app, struct worker *w)
{
    struct list *node, *after;
    clear_backoff(app);
    app->checked = app->check_ok = true;
    if (app->checking)
        log_info("%s: imports in %.0f ms", app->app_conf->name, (double)w->import_us / 1e3);
    else
        log_info("%s: ready in %.0f ms (import %.0f)", app->app_conf->name, (w->ready - w->spawned) * 1e3,
                 (double)w->import_us / 1e3);
    LIST_EACH (node, after, &app->waiting) {
        struct request *r = LIST_OBJECT(node, struct request, waiting);
        if (!timeq_waiting(&r->queue_deadline))
            start_queue_clock(app, r);
    }
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

/* A start has failed: the app cannot be loaded, or takes too long. Who waits is told so, unless another
 * worker serves. */
static void on_failed(struct app *app, struct worker *w)
{
    const char *text = w->failure != NULL ? w->failure
                       : w->start_expired ? "not ready within start_timeout; its process was killed"
                                          : "it cannot be loaded, and did not say why";
    char line[1024];
    size_t n = strcspn(text, "\n");
    log_error("app %s: %.*s", app->app_conf->name, (int)log_clean(line, sizeof(line), text, n), line);
    if (text[n] == '\n')
        log_text(text + n + 1, strlen(text + n + 1));
    app->checked = true;
    set_backoff(app, w->start_expired ? 503 : 500, text);
    take_back(app, w);
    if (!have_ready_worker(app))
        fail_all_waiting(app, app->failure_status);
}

/* The exit of a worker that nobody asked for it. */
static void tell_crash(const struct app *app, const struct worker *w)
{
    const char *name = app->app_conf->name;
    bool killed =
        w->state == WORKER_KILL && WIFSIGNALED(w->child.status) && WTERMSIG(w->child.status) == SIGKILL;
    bool asked = w->state == WORKER_TERM || w->state == WORKER_KILL;
    if (w->stop_expired)
        log_error("%s: worker %d did not stop within stop_timeout and was killed", name, (int)w->child.pid);
    else if (killed && w->lost)
        log_error("%s: worker %d closed its socket before it was ready and was killed", name,
                  (int)w->child.pid);
    else if (w->failure != NULL || killed || (asked && w->child.status == 0 && !w->lost))
        return;
    else if (WIFSIGNALED(w->child.status))
        log_error("%s: worker %d was killed by signal %d (%s)", name, (int)w->child.pid,
                  WTERMSIG(w->child.status), strsignal(WTERMSIG(w->child.status)));
    else
        log_error("%s: worker %d exited with status %d%s", name, (int)w->child.pid,
                  WEXITSTATUS(w->child.status), w->ready == 0 ? " before it was ready" : "");
}

/* A start that ended neither READY nor FAILED: those who waited were sent again once, then there is back-off.
 */
static void on_stillborn(struct app *app)
{
    app->checked = true;
    app->stillborn++;
    if (app->stillborn < DEATHS_UNREADY && !list_empty(&app->waiting))
        return;
    app->stillborn = 0;
    set_backoff(app, 502, "its process ended before it was ready");
    if (!have_ready_worker(app))
        fail_all_waiting(app, 502);
}

static void on_gone(struct app *app, struct worker *w)
{
    tell_crash(app, w);
    if (w->ready == 0 && w->failure == NULL && !w->start_expired && w->state != WORKER_TERM)
        on_stillborn(app);
    app->worker_count--;
    worker_free(w);
    if (app->worker_count == 0) {
        app->shared->live--;
        app->shared->fell_asleep = true;
        task_wake(app->shared->idle);
    }
}

/* ---- idle ---- */

static void tell_idle_stop(const struct app *app, const struct worker *w)
{
    char idle[UNITS_TEXT];
    units_time_text(app->app_conf->idle_timeout, idle);
    log_info("%s: stopped after %s idle, %.1f MB given back; gateway %.1f MB", app->app_conf->name, idle,
             (double)worker_memory(w->child.pid) / 1e6, (double)worker_memory(0) / 1e6);
}

/* Starts, stops and obeys the clocks of a worker that has nothing to do. */
static void look_after(struct app *app, struct worker *w)
{
    bool idle = worker_busy(w) == 0;
    if (idle)
        worker_event(w, WORKER_ON_EMPTY);
    if (app->shared->stopping && worker_serving(w) == 0 && list_empty(&app->waiting))
        worker_event(w, WORKER_ON_STOP);
    if (!idle || w->state != WORKER_READY) {
        timeq_stop(&w->idle);
    } else if (w->idle.expired) {
        timeq_stop(&w->idle);
        tell_idle_stop(app, w);
        worker_event(w, WORKER_ON_IDLE);
    } else if (!timeq_waiting(&w->idle)) {
        timeq_start(timeq_get(app->app_conf->idle_timeout), &w->idle, &app->task);
    }
}

/* ---- dispatch ---- */

static bool starting(const struct app *app)
{
    struct list *node, *after;
    LIST_EACH (node, after, &app->workers) {
        const struct worker *w = LIST_OBJECT(node, struct worker, node);
        if (w->state == WORKER_STARTING && !w->lost)
            return true;
    }
    return false;
}

/* Workers that count against `workers`: one that is on its way out makes room for its successor. */
static uint32_t serving(const struct app *app)
{
    uint32_t n = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &app->workers) {
        const struct worker *w = LIST_OBJECT(node, struct worker, node);
        n += !w->lost && (w->state == WORKER_STARTING || w->state == WORKER_READY);
    }
    return n;
}

/* The free slot of the busiest worker that has one; a starting worker only if no ready one has any. */
static struct upstream *find_slot(struct app *app, struct worker **owner)
{
    struct upstream *best = NULL;
    long best_rank = -1;
    struct list *node, *after;
    LIST_EACH (node, after, &app->workers) {
        struct worker *w = LIST_OBJECT(node, struct worker, node);
        struct upstream *up = worker_slot(w);
        long rank = w->state == WORKER_READY ? 1 + (long)worker_busy(w) : 0;
        if (up != NULL && rank > best_rank) {
            best = up;
            best_rank = rank;
            *owner = w;
        }
    }
    return best;
}

/* False when no process can be started now; what waits has been answered. */
static bool start_worker(struct app *app)
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
        app->checked = true;
        set_backoff(app, 500, error.text);
        if (!have_ready_worker(app))
            fail_all_waiting(app, 500);
        return false;
    }
    list_append(&app->workers, &w->node);
    if (app->worker_count++ == 0)
        app->shared->live++;
    return true;
}

/* Gives one request to a slot. False: nothing more can be handed out now. */
static bool hand_out(struct app *app, struct request *r)
{
    struct worker *w = NULL;
    struct upstream *up = find_slot(app, &w);
    if (up == NULL) {
        if (in_backoff(app) || starting(app) || serving(app) >= (uint64_t)app->app_conf->workers)
            return false;
        r->cold = true;
        return start_worker(app);
    }
    if (upstream_start(up, r, w->state == WORKER_READY) == 0) {
        r->cold = r->cold || w->state != WORKER_READY;
        timeq_stop(&w->idle);
        dequeue(app, r);
        return true;
    }
    if (errno == EAGAIN) {
        timeq_start(timeq_get(RETRY_MS), &app->retry, &app->task);
    } else if (errno == ENOMEM || errno == EMFILE || errno == ENFILE) {
        fail(app, r, 503, NULL);
        return true;
    } else {
        log_debug("%s: worker %d cannot be reached: %s", app->app_conf->name, (int)w->child.pid,
                  strerror(errno));
        worker_lost(w);
        return true;
    }
    return false;
}

static void expire_waiting(struct app *app)
{
    struct list *node, *after;
    LIST_EACH (node, after, &app->waiting) {
        struct request *r = LIST_OBJECT(node, struct request, waiting);
        if (r->queue_deadline.expired)
            fail(app, r, 503, "no worker became free in time");
    }
}

static void run(struct task *task)
{
    struct app *app = LIST_OBJECT(task, struct app, task);
    struct list *node, *after;
    timeq_stop(&app->retry);
    LIST_EACH (node, after, &app->workers) {
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
    expire_waiting(app);
    while (!list_empty(&app->waiting) && hand_out(app, first_waiting(app)))
        ;
    if (in_backoff(app) && !have_ready_worker(app) && !starting(app))
        fail_all_waiting(app, app->failure_status);
    LIST_EACH (node, after, &app->workers)
        look_after(app, LIST_OBJECT(node, struct worker, node));
}

/* ---- the handler's three verbs ---- */

static void handle_start(struct request *r)
{
    struct app *app = r->app;
    request_identify(r);
    if (in_backoff(app) && !have_ready_worker(app) && !starting(app)) {
        request_fail(r, app->failure_status, failure_detail(app));
    } else if (app->waiting_count >= (uint64_t)app->app_conf->queue) {
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
    dequeue(app, r);
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
    if (app == NULL || timeq_get(RETRY_MS) == NULL) { /* a retry must come, however short memory is then */
        free(app);
        return NULL;
    }
    app->shared = shared;
    app->conf = conf;
    app->app_conf = app_conf;
    list_init(&app->workers);
    list_init(&app->waiting);
    task_init(&app->task, run);
    return app;
}

void app_free(struct app *app)
{
    timeq_stop(&app->retry);
    task_cancel(&app->task);
    free(app->failure);
    free(app);
}

void app_warm(struct app *app)
{
    if (app->worker_count == 0 && start_worker(app))
        task_wake(&app->task);
}

bool app_failing(const struct app *app)
{
    return in_backoff(app) && !have_ready_worker(app);
}

void app_stop(struct app *app, bool now)
{
    struct list *node, *after;
    if (now)
        LIST_EACH (node, after, &app->workers)
            worker_event(LIST_OBJECT(node, struct worker, node),
                         WORKER_ON_BROKEN); /* leads to KILL from anywhere */
    task_wake(&app->task);
}
