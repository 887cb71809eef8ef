/* The global limit of workers: who is admitted, who makes room, who is next. What a worker does with an event
 * is not of interest here: worker_end is a stub that keeps it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fleet.h"
#include "tell.h"

static struct fleet fleet;
static struct worker *ended;
static enum worker_event ended_by;

void worker_end(struct worker *w, enum worker_event event, unsigned why)
{
    (void)why;
    ended = w;
    ended_by = event;
    w->state = event == WORKER_ON_RETIRE ? WORKER_DRAINING : WORKER_TERM;
}

void tell_room(const struct worker *w, const char *other, int64_t limit)
{
    (void)w;
    (void)other;
    (void)limit;
}

static int woken[3];

static void wake(struct task *task);

static struct task tasks[3] = {{.run = wake}, {.run = wake}, {.run = wake}};
static struct fleet_seat seats[3] = {
    {.task = &tasks[0], .name = "a", .destitute = true},
    {.task = &tasks[1], .name = "b", .destitute = true},
    {.task = &tasks[2], .name = "c", .destitute = true}
};

static void wake(struct task *task)
{
    woken[task - tasks]++;
}

static struct worker *join(struct worker *w, double ready)
{
    *w = (struct worker){.state = WORKER_READY, .ready = ready, .owner.task = &tasks[0]};
    fleet_join(&fleet, w);
    return w;
}

static int setup(void **state)
{
    (void)state;
    timeq_init(ev_default_loop(0));
    fleet_init(&fleet, 2);
    ended = NULL;
    for (int i = 0; i < 3; i++)
        woken[i] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        fleet_withdraw(&fleet, &seats[i]);
    (void)task_run();
    fleet_close(&fleet);
    timeq_free();
    return 0;
}

static void test_the_longest_idle_one_makes_room(void **state)
{
    struct worker one, two;
    (void)state;
    assert_true(fleet_admit(&fleet, &seats[0]));
    join(&one, 1);
    assert_true(fleet_admit(&fleet, &seats[1]));
    join(&two, 2);
    fleet_set_idle(&fleet, &two, true);
    fleet_set_idle(&fleet, &one, true);
    assert_false(fleet_busy(&fleet));
    assert_false(fleet_admit(&fleet, &seats[2]));
    assert_ptr_equal(ended, &two);
    assert_int_equal(ended_by, WORKER_ON_IDLE);
    ended = NULL;
    assert_false(fleet_admit(&fleet, &seats[2])); /* one goes already: nobody else has to */
    assert_null(ended);
    fleet_leave(&fleet, &two);
    (void)task_run();
    assert_int_equal(woken[2], 1);
    assert_true(fleet_admit(&fleet, &seats[2]));
    fleet_leave(&fleet, &one);
}

static void test_first_come_first_served(void **state)
{
    struct worker one, two;
    (void)state;
    join(&one, 1);
    join(&two, 2);
    assert_false(fleet_admit(&fleet, &seats[1]));
    assert_false(fleet_admit(&fleet, &seats[0]));
    fleet_leave(&fleet, &one);
    assert_false(fleet_admit(&fleet, &seats[0])); /* there is a place, but not its own */
    assert_true(fleet_admit(&fleet, &seats[1]));
    (void)task_run();
    assert_int_equal(woken[0], 1); /* to look whether there is another */
    fleet_leave(&fleet, &two);
}

static void test_who_withdraws_lets_the_next_one_in(void **state)
{
    struct worker one, two;
    (void)state;
    join(&one, 1);
    join(&two, 2);
    assert_false(fleet_admit(&fleet, &seats[0]));
    assert_false(fleet_admit(&fleet, &seats[1]));
    fleet_withdraw(&fleet, &seats[0]);
    (void)task_run();
    assert_int_equal(woken[1], 1);
    fleet_leave(&fleet, &one);
    assert_true(fleet_admit(&fleet, &seats[1]));
    fleet_leave(&fleet, &two);
}

static void test_a_new_limit_wakes_the_first(void **state)
{
    struct worker one, two;
    (void)state;
    join(&one, 1);
    join(&two, 2);
    assert_false(fleet_admit(&fleet, &seats[0]));
    assert_true(fleet_full(&fleet));
    fleet_set_limit(&fleet, 3);
    (void)task_run();
    assert_int_equal(woken[0], 1);
    assert_true(fleet_admit(&fleet, &seats[0]));
    assert_false(fleet_full(&fleet));
    fleet_set_limit(&fleet, 2);
    one.state = WORKER_TERM; /* it counts no more when it is gone */
    assert_false(fleet_full(&fleet));
    fleet_leave(&fleet, &one);
    fleet_leave(&fleet, &two);
}

/* Who starves needs a place that is free; one that nobody waits for may be that of a worker on its way out.
 */
static void test_who_starves_comes_first(void **state)
{
    struct worker one, two;
    (void)state;
    join(&one, 1);
    join(&two, 2);
    assert_false(fleet_admit(&fleet, &seats[0]));
    one.state = WORKER_DRAINING;
    assert_true(fleet_full(&fleet));
    fleet_leave(&fleet, &two);
    assert_true(fleet_full(&fleet));
    fleet_set_limit(&fleet, 3);
    assert_false(fleet_full(&fleet));
    assert_true(fleet_admit(&fleet, &seats[0]));
    fleet_leave(&fleet, &one);
}

/* Nobody is idle: the one that has served longest goes, but only for an app that has nothing at all. */
static void test_patience(void **state)
{
    struct worker one, two;
    (void)state;
    join(&one, 5);
    join(&two, 3);
    assert_false(fleet_admit(&fleet, &seats[2]));
    assert_null(ended);
    assert_true(timeq_waiting(&fleet.patience));
    seats[2].destitute = false;
    task_wake(&fleet.task);
    (void)task_run();
    assert_null(ended);
    seats[2].destitute = true;
    task_wake(&fleet.task);
    (void)task_run();
    assert_ptr_equal(ended, &two);
    assert_int_equal(ended_by, WORKER_ON_RETIRE);
    fleet_leave(&fleet, &one);
    fleet_leave(&fleet, &two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_longest_idle_one_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_come_first_served, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_withdraws_lets_the_next_one_in, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_limit_wakes_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_starves_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patience, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
