#include "timeq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static bool no_memory;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
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
    usleep(1000); /* the timer is surely late */
    ev_run(EV_DEFAULT_UC_ EVRUN_NOWAIT);
}

/* A turn in which the process was stopped takes no time. */
static void test_a_turn_has_one_time(void **state)
{
    (void)state;
    turn_loop();
    double turn = timeq_turn(), now = timeq_now();
    usleep(2000);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
