/* task.h - the run queue: event callbacks note what happened and wake a task, the work runs from here.
 *
 * The queue is drained before the event loop sleeps. No callback therefore ever frees its caller's object. */
#ifndef LEANGATE_TASK_H
#define LEANGATE_TASK_H

#include "list.h"

struct task {
    struct list node; /* linked while waiting for its turn */
    void (*run)(struct task *task);
};

void task_init(struct task *task, void (*run)(struct task *task));

/* Queues the task; nothing happens when it is queued already. A running task may wake itself. */
void task_wake(struct task *task);

/* Takes the task out of the queue; to be called before its owner is freed. */
void task_cancel(struct task *task);

/* Runs the tasks that wait, in the order of their waking, then those that these have woken, a few times over:
 * enough for a piece of work to pass from one object to the next. What is still awake then, mostly because it
 * wakes itself while it has more to do, waits for the next call, so that others can be heard in between.
 * Whether tasks are left. */
bool task_run(void);

#endif
