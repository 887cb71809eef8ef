/* task.c - see task.h. */
#include "task.h"

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

void task_run_all(void)
{
    while (!list_empty(&queue)) {
        struct task *task = LIST_OBJECT(queue.next, struct task, node);
        list_remove(&task->node);
        task->run(task);
    }
}
