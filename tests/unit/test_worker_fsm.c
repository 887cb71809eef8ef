/* test_worker_fsm.c - walks every cell of the worker's table: properties that hold for all, and the ways of a
 * life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "worker_fsm.h"

#define EVERY_CELL(state, event)                                                                             \
    for (enum worker_state state = 0; state < WORKER_STATES; state++)                                        \
        for (enum worker_event event = 0; event < WORKER_EVENTS; event++)

static void test_cells_are_in_range(void **unused)
{
    (void)unused;
    EVERY_CELL (state, event) {
        struct worker_step step = worker_fsm(state, event);
        assert_true(step.next < WORKER_STATES);
        assert_true(step.actions < WORKER_DO_FORGET * 2);
        assert_non_null(worker_state_name(state));
        assert_true(strlen(worker_event_name(event)) > 0);
    }
}

/* Nothing is forgotten before it is reaped, and everything that is reaped is forgotten. */
static void test_exit_alone_forgets(void **unused)
{
    (void)unused;
    EVERY_CELL (state, event) {
        struct worker_step step = worker_fsm(state, event);
        assert_int_equal((step.actions & WORKER_DO_FORGET) != 0, event == WORKER_ON_EXIT);
        if (event == WORKER_ON_EXIT)
            assert_int_equal(step.next, state);
    }
}

/* A life only goes forward: no state is left for an earlier one. */
static void test_never_backwards(void **unused)
{
    (void)unused;
    EVERY_CELL (state, event)
        assert_true(worker_fsm(state, event).next >= (unsigned)state);
}

/* What is known to be lost takes no request any more: nobody else looks whether it is (worker_lost). */
static void test_who_is_lost_does_not_stay(void **unused)
{
    (void)unused;
    assert_true(worker_fsm(WORKER_STARTING, WORKER_ON_BROKEN).next > WORKER_READY);
    for (int state = WORKER_READY; state < WORKER_STATES; state++)
        assert_true(worker_fsm((enum worker_state)state, WORKER_ON_RETIRE).next > WORKER_READY);
}

/* Whoever enters KILL was sent SIGKILL, once; nobody else is. */
static void test_kill_is_sent_on_entry(void **unused)
{
    (void)unused;
    EVERY_CELL (state, event) {
        struct worker_step step = worker_fsm(state, event);
        int enters = step.next == WORKER_KILL && state != WORKER_KILL;
        assert_int_equal((step.actions & WORKER_DO_SIGKILL) != 0, enters);
    }
}

/* A worker that was asked to stop, or fails by itself, has a deadline for it; one that is killed needs none.
 */
static void test_stopping_has_a_deadline(void **unused)
{
    (void)unused;
    EVERY_CELL (state, event) {
        struct worker_step step = worker_fsm(state, event);
        if (step.next == WORKER_TERM && state != WORKER_TERM)
            assert_true(step.actions & WORKER_DO_START_TIMER);
        if (step.actions & WORKER_DO_ASK_STOP)
            assert_true(step.actions & WORKER_DO_START_TIMER);
        if (step.next == WORKER_KILL)
            assert_false(step.actions & WORKER_DO_START_TIMER);
    }
}

static void test_ready_and_failed_are_told_once(void **unused)
{
    (void)unused;
    EVERY_CELL (state, event) {
        unsigned actions = worker_fsm(state, event).actions;
        assert_int_equal((actions & WORKER_DO_TELL_READY) != 0,
                         state == WORKER_STARTING && event == WORKER_ON_READY);
        assert_int_equal((actions & WORKER_DO_TELL_FAILED) != 0,
                         state == WORKER_STARTING &&
                             (event == WORKER_ON_FAILED || event == WORKER_ON_START_TIMEOUT));
    }
}

struct leg {
    enum worker_event event;
    enum worker_state then;
    unsigned with; /* actions that must be among those asked for */
};

static void walk(const struct leg *legs, size_t n)
{
    enum worker_state state = WORKER_STARTING;
    for (size_t i = 0; i < n; i++) {
        struct worker_step step = worker_fsm(state, legs[i].event);
        assert_int_equal(step.next, legs[i].then);
        assert_int_equal(step.actions & legs[i].with, legs[i].with);
        state = (enum worker_state)step.next;
    }
}

#define WALK(...)                                                                                            \
    do {                                                                                                     \
        const struct leg legs[] = {__VA_ARGS__};                                                             \
        walk(legs, sizeof(legs) / sizeof(legs[0]));                                                          \
    } while (0)

static void test_lives(void **unused)
{
    (void)unused;
    /* serve, go idle, stop */
    WALK({WORKER_ON_READY, WORKER_READY, WORKER_DO_CLEAR_TIMER}, {WORKER_ON_EMPTY, WORKER_READY, 0},
         {WORKER_ON_IDLE, WORKER_TERM, WORKER_DO_ASK_STOP}, {WORKER_ON_EXIT, WORKER_TERM, WORKER_DO_FORGET});
    /* a stop that is not heard */
    WALK({WORKER_ON_READY, WORKER_READY, 0}, {WORKER_ON_STOP, WORKER_TERM, WORKER_DO_ASK_STOP},
         {WORKER_ON_STOP_TIMEOUT, WORKER_KILL, WORKER_DO_SIGKILL},
         {WORKER_ON_EXIT, WORKER_KILL, WORKER_DO_FORGET});
    /* a start that takes too long */
    WALK({WORKER_ON_START_TIMEOUT, WORKER_KILL, WORKER_DO_SIGKILL});
    /* an app that cannot be imported, and lingers */
    WALK({WORKER_ON_FAILED, WORKER_TERM, WORKER_DO_START_TIMER}, {WORKER_ON_STOP_TIMEOUT, WORKER_KILL, 0});
    /* one request takes too long: the others have stop_timeout */
    WALK({WORKER_ON_READY, WORKER_READY, 0},
         {WORKER_ON_REQUEST_TIMEOUT, WORKER_DRAINING, WORKER_DO_START_TIMER},
         {WORKER_ON_EMPTY, WORKER_TERM, WORKER_DO_ASK_STOP});
    WALK({WORKER_ON_READY, WORKER_READY, 0}, {WORKER_ON_REQUEST_TIMEOUT, WORKER_DRAINING, 0},
         {WORKER_ON_STOP_TIMEOUT, WORKER_KILL, WORKER_DO_SIGKILL});
    /* a successor takes over */
    WALK({WORKER_ON_READY, WORKER_READY, 0}, {WORKER_ON_RETIRE, WORKER_DRAINING, 0},
         {WORKER_ON_EMPTY, WORKER_TERM, WORKER_DO_ASK_STOP});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_are_in_range),
        cmocka_unit_test(test_exit_alone_forgets),
        cmocka_unit_test(test_never_backwards),
        cmocka_unit_test(test_who_is_lost_does_not_stay),
        cmocka_unit_test(test_kill_is_sent_on_entry),
        cmocka_unit_test(test_stopping_has_a_deadline),
        cmocka_unit_test(test_ready_and_failed_are_told_once),
        cmocka_unit_test(test_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
