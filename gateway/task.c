/* task.c - see task.h. */
#include "task.h"

enum { ROUNDS = 4 };

static struct list queue = {&queue, &queue};

void task_init(struct task *task, void (*run)(struct task *task))
{
    *task = (struct task){.run = run};
}

void task_wake(struct task *task)
{
    if (!list_linked(&task->node))
        list_append(&queue, &task->node);
}

void task_cancel(struct task *task)
{
    list_remove(&task->node);
}

bool task_run(void)
{
    static struct task last; /* marks the end of a round; a local's address would stand in the queue */

    for (int round = 0; round < ROUNDS && !list_empty(&queue); round++) {
        task_init(&last, NULL);
        task_wake(&last);
        for (;;) {
            struct task *task = LIST_OBJECT(queue.next, struct task, node);
            list_remove(&task->node);
            if (task == &last)
                break;
            task->run(task);
        }
    }
    return !list_empty(&queue);
}
