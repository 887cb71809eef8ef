#include "timeq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
