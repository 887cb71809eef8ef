/* timeq.h - deadlines: those of one length share one queue and one timer, whoever owns them.
 *
 * A queue of one length is sorted by arrival, so starting and stopping a deadline costs a list operation, and
 * with nothing waiting there is no timer. When a deadline has passed, and the sockets were looked at once
 * more, its owner's task is woken with `expired` set. */
#ifndef LEANGATE_TIMEQ_H
#define LEANGATE_TIMEQ_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "task.h"

struct timeq; /* all deadlines of one length */

struct timeq_entry {
    struct list node;  /* linked while it waits */
    double at;         /* seconds, on timeq_now's clock */
    struct task *task; /* woken when it expires */
    bool expired;      /* until the next start or stop */
};

/* Must be called once, before everything else here. */
void timeq_init(struct ev_loop *loop);

/* Gives all queues back; no deadline may wait any more. */
void timeq_free(void);

/* The queue for a length in milliseconds; NULL when ms < 0 (no deadline). Out of memory: that of the next
 * length above, for late is better than never; NULL if there is none. */
struct timeq *timeq_get(int64_t ms);

/* (Re)starts the deadline from now. A NULL queue stops it: no deadline. */
void timeq_start(struct timeq *queue, struct timeq_entry *entry, struct task *task);

/* Stops the deadline and clears `expired`; may be called for one that does not wait. */
void timeq_stop(struct timeq_entry *entry);

bool timeq_waiting(const struct timeq_entry *entry);

/* Brings the timers in line with the queues; to be called before the loop sleeps. */
void timeq_sync(void);

/* Seconds on the clock of the deadlines: monotonic, less the time in which the whole process stood still. */
double timeq_now(void);

/* The same when this turn of the loop began. What is read in it has come in time by this clock, also where
 * the process was stopped in the middle of the turn. */
double timeq_turn(void);

/* Monotonic seconds. */
double timeq_clock(void);

#endif
