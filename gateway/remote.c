/* remote.c - see remote.h. */
#include "remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "net.h"
#include "timeq.h"
#include "units.h"
#include "upstream.h"

enum { DEATHS = 2 }; /* connections that may end under one request, if its method may be sent again */

struct remote {
    struct upstream_owner owner;
    struct net_address address;
    struct list slots; /* struct upstream */
    struct list done;  /* those of them with a result */
    uint32_t count;
    uint32_t max;
    struct timeq_entry retry; /* its backlog was full, or memory short */
};

/* ---- what became of a request ---- */

static void tell_unreached(const struct remote *remote, int error)
{
    const struct conf_app *app = remote->owner.app;
    log_error("%s: cannot reach %s: %s", app->name, app->address,
              error != 0 ? strerror(error) : "it closed the connection");
}

static void tell_result(const struct remote *remote, const struct upstream *up, enum upstream_result result)
{
    const struct conf_app *app = remote->owner.app;
    const char *id = up->request != NULL ? up->request->id : "-";
    if (result == UPSTREAM_UNREACHED)
        tell_unreached(remote, up->error);
    else if (result == UPSTREAM_BROKEN)
        log_error("%s: %s does not speak FastCGI: %s", app->name, app->address, up->reason);
    else if (result == UPSTREAM_TIMEOUT)
        log_error("%s: %s exceeded the time for a request (id %s)", app->name, app->address, id);
    else if (result == UPSTREAM_DIED)
        log_error("%s: %s closed the connection %s (id %s)", app->name, app->address,
                  up->request != NULL && up->request->head_sent ? "before the end of its answer"
                                                                : "without an answer",
                  id);
}

static void tell_slow(const struct remote *remote, const struct upstream *up)
{
    const struct conf_app *app = remote->owner.app;
    char after[UNITS_TEXT];
    units_time_text(app->slow * up->slow_told, after);
    if (up->request != NULL)
        log_warning("%s: %s has no answer after %s (id %s)", app->name, app->address, after, up->request->id);
}

static unsigned status_of(enum upstream_result result)
{
    if (result == UPSTREAM_TIMEOUT)
        return 504;
    return result == UPSTREAM_OVERLOADED ? 503 : 502;
}

static void take_result(const struct remote *remote, struct queue *queue, struct upstream *up)
{
    struct request *r = up->request;
    enum upstream_result result = upstream_take_result(up);
    if (result == UPSTREAM_SLOW) {
        tell_slow(remote, up);
        return;
    }
    tell_result(remote, up, result);
    if (r == NULL)
        return;
    upstream_detach(up);
    if (result == UPSTREAM_UNREACHED)
        r->sent = 0; /* nobody took it */
    if (r->head_sent)
        request_cut(r);
    else if (result == UPSTREAM_DIED && request_repeats(r) && ++r->died < DEATHS)
        queue_put(queue, r, true, remote->owner.app->queue_timeout);
    else
        queue_fail(queue, r, status_of(result), NULL);
}

/* ---- giving out ---- */

/* A slot without a request, a new one below the limit; NULL: none, or no memory. */
static struct upstream *free_slot(struct remote *remote)
{
    struct list *node, *after;
    LIST_EACH (node, after, &remote->slots) {
        struct upstream *up = LIST_OBJECT(node, struct upstream, node);
        if (up->state == UPSTREAM_CLOSED && up->result == UPSTREAM_NOTHING)
            return up;
    }
    if (remote->count == remote->max)
        return NULL;
    struct upstream *up = upstream_new(&remote->owner, (uint16_t)(remote->count + 1), UPSTREAM_SINGLE);
    if (up != NULL) {
        remote->count++;
        list_append(&remote->slots, &up->node);
    }
    return up;
}

/* False: nothing more can be given out now. */
static bool hand_out(struct remote *remote, struct queue *queue)
{
    struct request *r = queue_first(queue);
    struct upstream *up = free_slot(remote);
    if (up == NULL && remote->count == remote->max)
        return false; /* the end of one of them is told */
    if (up != NULL && upstream_start(up, r, true) == 0) {
        queue_take(queue, r);
        return true;
    }
    if (up == NULL || errno == EAGAIN) {
        timeq_start(timeq_get(UPSTREAM_RETRY_MS), &remote->retry, remote->owner.task);
        return false;
    }
    bool shortage = net_is_shortage(errno);
    tell_unreached(remote, errno);
    queue_fail(queue, r, shortage ? 503 : 502, NULL);
    return true;
}

void remote_run(struct remote *remote, struct queue *queue)
{
    timeq_stop(&remote->retry);
    while (!list_empty(&remote->done))
        take_result(remote, queue, LIST_OBJECT(remote->done.next, struct upstream, done));
    while (queue->count > 0 && hand_out(remote, queue))
        ;
}

uint32_t remote_busy(const struct remote *remote)
{
    uint32_t busy = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &remote->slots) {
        const struct upstream *up = LIST_OBJECT(node, struct upstream, node);
        busy += up->state != UPSTREAM_CLOSED || up->result != UPSTREAM_NOTHING;
    }
    return busy;
}

/* ---- life ---- */

struct remote *remote_new(struct ev_loop *loop, const struct conf *conf, const struct conf_app *app,
                          struct task *task)
{
    struct remote *remote = calloc(1, sizeof(*remote));
    /* the configuration has checked the address */
    if (remote == NULL || !net_address(app->address, &remote->address)) {
        free(remote);
        return NULL;
    }
    list_init(&remote->slots);
    list_init(&remote->done);
    remote->max = conf_fastcgi_concurrency(app);
    remote->owner = (struct upstream_owner){
        .loop = loop,
        .conf = conf,
        .app = app,
        .address = &remote->address,
        .done = &remote->done,
        .task = task,
    };
    return remote;
}

void remote_free(struct remote *remote)
{
    struct list *node, *after;
    if (remote == NULL)
        return;
    LIST_EACH (node, after, &remote->slots)
        upstream_free(LIST_OBJECT(node, struct upstream, node));
    timeq_stop(&remote->retry);
    free(remote);
}
