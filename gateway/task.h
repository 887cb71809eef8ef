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

/* Runs tasks in the order of their waking until none is left. */
void task_run_all(void);

#endif
