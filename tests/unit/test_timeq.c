#include "timeq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

/* The monotonic clock, which goes on by a millisecond whenever somebody looks at it. */
static int64_t clock_ms = 1000000;
static int until_stop; /* readings after which the process is stopped for STOP_MS; 0: it is not */

enum { STOP_MS = 5000 };

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    if (clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, t);
    clock_ms++;
    t->tv_sec = clock_ms / 1000;
    t->tv_nsec = clock_ms % 1000 * 1000000;
    if (until_stop > 0 && --until_stop == 0)
        clock_ms += STOP_MS;
    return 0;
}

static void test_one_queue_for_a_length(void **state)
{
    (void)state;
    struct timeq *second = timeq_get(1000);
    assert_non_null(second);
    assert_ptr_equal(timeq_get(1000), second);
    assert_ptr_not_equal(timeq_get(2000), second);
    assert_null(timeq_get(-1));
}

/* A deadline that there is no memory for is not left out: nobody would end what hangs. */
static void test_late_is_better_than_never(void **state)
{
    (void)state;
    struct timeq *minute = timeq_get(60000), *second = timeq_get(1000);
    no_memory = true;
    assert_ptr_equal(timeq_get(500), second);
    assert_ptr_equal(timeq_get(5000), minute);
    assert_ptr_equal(timeq_get(1000), second);
    assert_null(timeq_get(90000));
    assert_null(timeq_get(-1));
    no_memory = false;
}

static void turn_loop(void)
{
    timeq_sync();
    ev_run(EV_DEFAULT_UC_ EVRUN_NOWAIT);
}

/* A turn in which the process was stopped takes no time. */
static void test_a_turn_has_one_time(void **state)
{
    (void)state;
    turn_loop();
    double turn = timeq_turn(), now = timeq_now();
    assert_true(turn <= now && timeq_turn() == turn && timeq_now() > now);
    turn_loop();
    assert_true(timeq_turn() > now);
}

/* What came in time for a deadline that passes while another one is put off may be unread, too. */
static void test_each_is_put_off(void **state)
{
    (void)state;
    struct timeq *minute = timeq_get(60000);
    struct task task = {0};
    struct timeq_entry early = {0}, later = {0};
    timeq_start(minute, &early, &task);
    timeq_start(minute, &later, &task);
    early.at = timeq_now();
    turn_loop();
    later.at = timeq_now();
    for (int i = 0; i < 2; i++) {
        assert_false(early.expired);
        turn_loop();
    }
    assert_true(early.expired);
    for (int i = 0; i < 3; i++) {
        assert_false(later.expired);
        turn_loop();
    }
    assert_true(later.expired);
    task_cancel(&task);
}

/* Wherever the process is stopped, between any two readings of the clock, by libev or by us: all deadlines
 * move by that time, and not one expires. */
static void test_a_stop_anywhere(void **state)
{
    (void)state;
    struct timeq *minute = timeq_get(60000), *second = timeq_get(1000);
    struct task task = {0};
    bool stopped = true;
    for (int where = 1; stopped; where++) {
        struct timeq_entry near = {0}, far = {0};
        timeq_start(second, &near, &task);
        timeq_start(minute, &far, &task);
        turn_loop();
        double began = timeq_now();
        until_stop = where;
        for (int i = 0; i < 6; i++)
            turn_loop();
        stopped = until_stop == 0;
        until_stop = 0;
        turn_loop();
        turn_loop();
        assert_false(near.expired);
        assert_false(far.expired);
        double passed = timeq_now() - began; /* without the stop: some 30 readings */
        assert_true(passed < 0.2 && passed > -0.2);
        timeq_stop(&near);
        timeq_stop(&far);
        timeq_sync();
    }
}

/* A standstill in the poll moves the earliest deadline to this very moment, and the others behind it. Those
 * that were being put off are put off as long as ever: what came in time may be read in this turn only. */
static void test_a_stop_while_two_are_put_off(void **state)
{
    (void)state;
    struct timeq *minute = timeq_get(60000), *second = timeq_get(1000);
    struct task task = {0};
    struct timeq_entry early = {0}, later = {0};
    timeq_start(minute, &early, &task);
    timeq_start(second, &later, &task);
    early.at = timeq_now();
    later.at = early.at + 0.001;
    turn_loop();
    timeq_sync();
    clock_ms += STOP_MS;
    ev_run(EV_DEFAULT_UC_ EVRUN_NOWAIT);
    assert_false(early.expired || later.expired);
    for (int i = 0; i < 6; i++)
        turn_loop();
    assert_true(early.expired && later.expired);
    task_cancel(&task);
}

static int begin(void **state)
{
    (void)state;
    timeq_init(ev_default_loop(EVFLAG_AUTO));
    return 0;
}

static int end(void **state)
{
    (void)state;
    timeq_free();
    ev_loop_destroy(EV_DEFAULT_UC);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_queue_for_a_length, begin, end),
        cmocka_unit_test_setup_teardown(test_late_is_better_than_never, begin, end),
        cmocka_unit_test_setup_teardown(test_a_turn_has_one_time, begin, end),
        cmocka_unit_test_setup_teardown(test_each_is_put_off, begin, end),
        cmocka_unit_test_setup_teardown(test_a_stop_anywhere, begin, end),
        cmocka_unit_test_setup_teardown(test_a_stop_while_two_are_put_off, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
