/* queue.h - the requests that wait for a worker of one app, in the order of their coming. */
#ifndef LEANGATE_QUEUE_H
#define LEANGATE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "request.h"
#include "task.h"

struct stats;

struct queue {
    struct list waiting; /* struct request */
    uint32_t count;
    uint32_t fresh;      /* private: how many came since queue_limit() */
    struct stats *stats; /* the app's */

    /* private */
    struct task expiry; /* answers those whose time is over with 503, then wakes the owner */
    struct task *owner;
};

void queue_init(struct queue *q, struct task *owner, struct stats *stats);

/* To be called before its memory goes; nobody may wait. */
void queue_close(struct queue *q);

/* Puts a request at the end, or at the front: it was given out already and came back. ms: its clock, or
 * CONF_OFF: none runs yet. */
void queue_put(struct queue *q, struct request *r, bool front, int64_t ms);

/* To be called when all that came since the last call were offered a slot. Where more than `most` still wait,
 * the newest of those get 503. */
void queue_limit(struct queue *q, int64_t most);

/* Takes it out, wherever it stands; nothing happens when it does not wait. */
void queue_take(struct queue *q, struct request *r);

/* The next one, which must be there. */
struct request *queue_first(const struct queue *q);

/* Whether nobody waits but for requests of ignore_idle. */
bool queue_only_ignored(const struct queue *q);

/* Starts the clock of all that wait without one; ms: queue_timeout. */
void queue_start_clocks(struct queue *q, int64_t ms);

/* All that wait have waited for a worker that was spawned, and is ready, at these times. */
void queue_mark_cold(struct queue *q, double spawned, double ready);

/* Takes a request out, if it waits, and answers it with an error. */
void queue_fail(struct queue *q, struct request *r, unsigned status, const char *detail);

/* The same to all of them, for no worker can be started. */
void queue_fail_all(struct queue *q, unsigned status, const char *detail);

#endif
