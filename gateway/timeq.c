/* timeq.c - see timeq.h.
 *
 * Deadlines are kept on a clock of our own, monotonic time less `stood_still`: when the whole process slept
 * past its earliest deadline (SIGSTOP, a frozen container), that sleep is added there, which shifts every
 * deadline at once, so that nobody who was busy is blamed for time that nobody had. How much of the sleep was
 * an ordinary one is not known: deadlines come later rather than too early. A turn that takes longer than
 * STANDSTILL is added in the same way: the process was stopped in the middle of it. Both are told by our
 * clock alone, at the two ends of the turn: libev's own may have been read before the process was stopped. */
#include "timeq.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

static const double STANDSTILL = 1.0; /* seconds past a deadline that mean "we did not run" */

enum {
    LOOKS = 2 /* turns of the loop that find what has come in time, and read it */
};

struct timeq {
    struct list waiting;
    struct timeq *next;
    ev_timer timer;
    double length; /* seconds */
    int64_t ms;
    unsigned looks; /* turns that a deadline has been put off by */
    double due;     /* when the first of them began: who is due later has looks of its own */
};

static struct ev_loop *loop;
static struct timeq *queues;
static double stood_still;
static double slept_at; /* timeq_clock() when the loop went to sleep last */
static double woke_at;  /* and when it came back */
static double earliest; /* of all deadlines, when it went to sleep; INFINITY: none */
static ev_check check;

double timeq_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double timeq_now(void)
{
    return timeq_clock() - stood_still;
}

double timeq_turn(void)
{
    return woke_at - stood_still;
}

static struct timeq_entry *first(const struct timeq *queue)
{
    return list_empty(&queue->waiting) ? NULL : LIST_OBJECT(queue->waiting.next, struct timeq_entry, node);
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
    (void)EV_A;
    (void)events;
    struct timeq *queue = timer->data;
    double t = timeq_turn();
    struct timeq_entry *entry = first(queue);
    if (queue->looks == 0)
        queue->due = t;
    /* where a standstill has just moved it, looks that have begun go on */
    bool due = entry != NULL && (t >= entry->at || queue->looks > 0);
    if (due && queue->looks++ < LOOKS)
        return; /* sockets first: our own work, or a signal, may have kept us from them */
    queue->looks = 0;
    for (; entry != NULL && entry->at <= queue->due; entry = first(queue)) {
        list_remove(&entry->node);
        entry->expired = true;
        task_wake(entry->task);
    }
}

static void on_wake(EV_P_ ev_check *watcher, int events)
{
    (void)EV_A;
    (void)watcher;
    (void)events;
    woke_at = timeq_clock();
    double late = timeq_turn() - earliest;
    if (late > STANDSTILL)
        stood_still += fmax(late, woke_at - slept_at); /* late alone: our own work took so long */
}

void timeq_init(struct ev_loop *ev)
{
    loop = ev;
    woke_at = timeq_clock();
    earliest = INFINITY;
    ev_check_init(&check, on_wake);
    ev_set_priority(&check, EV_MAXPRI); /* before all that the turn has to do */
    ev_check_start(loop, &check);
}

void timeq_free(void)
{
    ev_check_stop(loop, &check);
    while (queues != NULL) {
        struct timeq *queue = queues;
        queues = queue->next;
        ev_timer_stop(loop, &queue->timer);
        free(queue);
    }
}

struct timeq *timeq_get(int64_t ms)
{
    struct timeq *longer = NULL; /* the shortest of those */
    if (ms < 0)
        return NULL;
    for (struct timeq *queue = queues; queue != NULL; queue = queue->next) {
        if (queue->ms == ms)
            return queue;
        if (queue->ms > ms && (longer == NULL || queue->ms < longer->ms))
            longer = queue;
    }
    struct timeq *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return longer;
    queue->ms = ms;
    queue->length = (double)ms / 1000.0;
    list_init(&queue->waiting);
    ev_timer_init(&queue->timer, on_timer, 0., 0.);
    queue->timer.data = queue;
    queue->next = queues;
    queues = queue;
    return queue;
}

void timeq_start(struct timeq *queue, struct timeq_entry *entry, struct task *task)
{
    timeq_stop(entry);
    if (queue == NULL)
        return;
    entry->at = timeq_now() + queue->length;
    entry->task = task;
    list_append(&queue->waiting, &entry->node);
}

void timeq_stop(struct timeq_entry *entry)
{
    list_remove(&entry->node);
    entry->expired = false;
}

bool timeq_waiting(const struct timeq_entry *entry)
{
    return list_linked(&entry->node);
}

void timeq_sync(void)
{
    double now = timeq_clock();
    if (now - woke_at > STANDSTILL)
        stood_still += now - woke_at;
    slept_at = woke_at = now;
    now -= stood_still;
    earliest = INFINITY;
    for (struct timeq *queue = queues; queue != NULL; queue = queue->next) {
        struct timeq_entry *entry = first(queue);
        double after = entry != NULL ? entry->at - now : 0.;
        if (entry != NULL && entry->at < earliest)
            earliest = entry->at;
        if (entry == NULL || after > 0.)
            queue->looks = 0;
        if (entry == NULL) {
            ev_timer_stop(loop, &queue->timer);
        } else if (!ev_is_active(&queue->timer)) {
            /* An active timer is never too late, only too early: then on_timer expires nothing and we come
             * back. */
            ev_timer_set(&queue->timer, after > 0. ? after : 0., 0.);
            ev_now_update(loop);
            ev_timer_start(loop, &queue->timer);
        }
    }
}
