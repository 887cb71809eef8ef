/* test_backoff.c - the pause after a start that failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backoff.h"
#include "timeq.h"

enum { TENTH = 100000 }; /* microseconds: floats are compared as these */

static long microseconds(double seconds)
{
    return (long)(seconds * 1e6 + 0.5);
}

static void test_each_pause_is_twice_as_long(void **state)
{
    (void)state;
    struct backoff b = {0};

    for (int i = 0; i < 8; i++) {
        double before = timeq_clock();
        backoff_begin(&b, 30, 500, "why");
        assert_int_equal(microseconds(b.pause), (long)TENTH << i);
        assert_true(b.until >= before + b.pause);
        assert_true(backoff_active(&b));
    }
    assert_int_equal(b.status, 500);
    assert_string_equal(b.failure, "why");
    backoff_clear(&b);
    assert_false(backoff_active(&b));
    assert_null(b.failure);
}

static void test_none_is_longer_than_the_limit(void **state)
{
    (void)state;
    static const double limits[] = {1, 30};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct backoff b = {0};
        for (int n = 0; n < 20; n++)
            backoff_begin(&b, limits[i], 500, "why");
        assert_int_equal(microseconds(b.pause), microseconds(limits[i]));
        backoff_clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_pause_is_twice_as_long),
        cmocka_unit_test(test_none_is_longer_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
