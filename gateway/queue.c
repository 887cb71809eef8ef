/* queue.c - see queue.h. */
#include "queue.h"

#include "stats.h"
#include "timeq.h"

static struct request *request_of(struct list *node)
{
    return LIST_OBJECT(node, struct request, waiting);
}

static void expire(struct task *task)
{
    struct queue *q = LIST_OBJECT(task, struct queue, expiry);
    struct list *node, *after;
    LIST_EACH (node, after, &q->waiting) {
        struct request *r = request_of(node);
        if (r->queue_deadline.expired) {
            q->stats->counts[STATS_QUEUE_TIMEOUT]++;
            queue_fail(q, r, 503, "no worker became free in time");
        }
    }
    task_wake(q->owner);
}

void queue_init(struct queue *q, struct task *owner, struct stats *stats)
{
    list_init(&q->waiting);
    q->count = q->fresh = 0;
    q->stats = stats;
    task_init(&q->expiry, expire);
    q->owner = owner;
}

void queue_close(struct queue *q)
{
    task_cancel(&q->expiry);
}

void queue_put(struct queue *q, struct request *r, bool front, int64_t ms)
{
    if (front)
        list_prepend(&q->waiting, &r->waiting);
    else
        list_append(&q->waiting, &r->waiting);
    q->count++;
    q->fresh += !front;
    timeq_start(timeq_get(ms), &r->queue_deadline, &q->expiry);
}

void queue_limit(struct queue *q, int64_t most)
{
    for (; q->fresh > 0 && q->count > (uint64_t)most; q->fresh--) {
        q->stats->counts[STATS_QUEUE_FULL]++;
        queue_fail(q, request_of(q->waiting.prev), 503, "too many requests wait");
    }
    q->fresh = 0;
    if (q->count > q->stats->queue_most)
        q->stats->queue_most = q->count;
}

void queue_take(struct queue *q, struct request *r)
{
    if (!list_linked(&r->waiting))
        return;
    list_remove(&r->waiting);
    timeq_stop(&r->queue_deadline);
    q->count--;
}

struct request *queue_first(const struct queue *q)
{
    return request_of(q->waiting.next);
}

bool queue_only_ignored(const struct queue *q)
{
    struct list *node, *after;
    LIST_EACH (node, after, &q->waiting)
        if (!request_of(node)->ignored)
            return false;
    return true;
}

void queue_start_clocks(struct queue *q, int64_t ms)
{
    struct list *node, *after;
    LIST_EACH (node, after, &q->waiting) {
        struct request *r = request_of(node);
        if (!timeq_waiting(&r->queue_deadline))
            timeq_start(timeq_get(ms), &r->queue_deadline, &q->expiry);
    }
}

void queue_mark_cold(struct queue *q, double spawned, double ready)
{
    struct list *node, *after;
    LIST_EACH (node, after, &q->waiting) {
        struct request *r = request_of(node);
        r->cold = true;
        r->spawned = spawned;
        r->ready = ready;
    }
}

void queue_fail(struct queue *q, struct request *r, unsigned status, const char *detail)
{
    queue_take(q, r);
    request_fail(r, status, detail);
}

void queue_fail_all(struct queue *q, unsigned status, const char *detail)
{
    while (q->count > 0) {
        q->stats->counts[STATS_CANNOT_START]++;
        queue_fail(q, queue_first(q), status, detail);
    }
}
