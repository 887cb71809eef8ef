/* test_task.c - the run queue: order, waking again, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "task.h"

struct job {
    struct task task;
    char name;
    int again;         /* wakes itself so many times */
    struct job *wakes; /* wakes that one */
    struct job *cancels;
};

static char trace[64];

static void run(struct task *task)
{
    struct job *job = LIST_OBJECT(task, struct job, task);
    size_t n = strlen(trace);
    trace[n] = job->name;
    trace[n + 1] = '\0';
    if (job->again-- > 0)
        task_wake(&job->task);
    if (job->wakes != NULL)
        task_wake(&job->wakes->task);
    if (job->cancels != NULL)
        task_cancel(&job->cancels->task);
}

static struct job make(char name)
{
    struct job job = {.name = name};
    task_init(&job.task, run);
    trace[0] = '\0';
    return job;
}

static void test_order_and_once(void **unused)
{
    (void)unused;
    struct job a = make('a'), b = make('b'), c = make('c');
    task_wake(&b.task);
    task_wake(&a.task);
    task_wake(&b.task);
    task_wake(&c.task);
    assert_false(task_run());
    assert_string_equal(trace, "bac");
    assert_false(task_run());
    assert_string_equal(trace, "bac");
}

static void test_wakes_behind_the_others(void **unused)
{
    (void)unused;
    struct job a = make('a'), b = make('b'), c = make('c');
    a.again = 2;
    b.wakes = &c;
    task_wake(&a.task);
    task_wake(&b.task);
    assert_false(task_run());
    assert_string_equal(trace, "abaca");
}

static void test_cancelled_never_runs(void **unused)
{
    (void)unused;
    struct job a = make('a'), b = make('b');
    a.cancels = &b;
    task_wake(&a.task);
    task_wake(&b.task);
    task_cancel(&b.task);
    task_cancel(&b.task);
    task_wake(&b.task);
    assert_false(task_run());
    assert_string_equal(trace, "a");
}

/* One that always has more to do does not keep the others from being heard. */
static void test_returns_although_one_goes_on(void **unused)
{
    (void)unused;
    struct job a = make('a'), b = make('b');
    a.again = 6;
    task_wake(&a.task);
    assert_true(task_run());
    assert_string_equal(trace, "aaaa");
    task_wake(&b.task);
    assert_false(task_run());
    assert_string_equal(trace, "aaaaabaa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_once),
        cmocka_unit_test(test_wakes_behind_the_others),
        cmocka_unit_test(test_cancelled_never_runs),
        cmocka_unit_test(test_returns_although_one_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
