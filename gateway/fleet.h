/* fleet.h - all workers of all apps: [limits] workers, and which app is next when it is reached.
 *
 * An app that needs a worker while there is no place for one stands in one queue with all others like it. The
 * longest idle worker of any app makes room; where all are busy for long and an app has none, the one
 * that has served longest does, when it has finished what it has. */
#ifndef LEANGATE_FLEET_H
#define LEANGATE_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "task.h"
#include "timeq.h"
#include "worker.h"

struct fleet {
    int64_t limit;       /* [limits] workers */
    uint32_t count;      /* processes now, successors included */
    struct list workers; /* struct worker, all */
    uint32_t idle_count;
    struct list idle;     /* those with nothing to do, the longest idle first */
    struct list starving; /* struct fleet_seat */

    /* private */
    struct task task;
    struct timeq_entry patience; /* runs while somebody starves and nobody is idle */
};

/* An app's place among those that starve. */
struct fleet_seat {
    struct list node;
    struct task *task; /* woken when it is the app's turn */
    const char *name;  /* of the app */
    bool destitute;    /* it has no worker at all */
};

void fleet_init(struct fleet *fleet, int64_t limit);

/* Nobody may be in it any more. */
void fleet_close(struct fleet *fleet);

/* Whether the app may start a process now. If not it stands in the queue, and somebody is asked to make room;
 * its task is woken when it is its turn. seat->destitute says how much it needs one. */
bool fleet_admit(struct fleet *fleet, struct fleet_seat *seat);

/* The app needs no worker any more; may be called for one that does not stand in the queue. */
void fleet_withdraw(struct fleet *fleet, struct fleet_seat *seat);

/* A process was started, a process is gone. A successor joins without being admitted. */
void fleet_join(struct fleet *fleet, struct worker *w);
void fleet_leave(struct fleet *fleet, struct worker *w);

/* Another limit, from a reload; who starves looks again. */
void fleet_set_limit(struct fleet *fleet, int64_t limit);

/* Whether there is no place for a worker that nobody waits for. Apps that starve come first, and need one
 * that is free now; where there is none it may be that of a worker that was told to go. */
bool fleet_full(const struct fleet *fleet);

/* Whether a worker has anything to do. */
bool fleet_busy(const struct fleet *fleet);

/* Whether a worker has nothing to do; to be told whenever that may have changed. */
void fleet_set_idle(struct fleet *fleet, struct worker *w, bool idle);

#endif
