/* test_tail.c - the last lines of an endless text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tail.h"

static void test_nothing_costs_nothing(void **state)
{
    (void)state;
    struct tail t;
    size_t before = buf_allocated();
    tail_init(&t);
    assert_int_equal(buf_allocated(), before);
    tail_free(&t);
}

static void test_few_lines_are_all_there(void **state)
{
    (void)state;
    struct tail t;
    tail_init(&t);
    tail_add(&t, "one", 3);
    tail_add(&t, "", 0);
    tail_add(&t, "two", 3);
    assert_int_equal(t.kept.len, 9);
    assert_memory_equal(t.kept.data, "one\n\ntwo\n", 9);
    tail_free(&t);
}

/* Whole lines, the last ones, never more than the ceiling, never less than a quarter of it. */
static void test_flood(void **state)
{
    (void)state;
    struct tail t;
    char line[64];
    tail_init(&t);
    for (int i = 0; i < 100000; i++) {
        int n = snprintf(line, sizeof(line), "line %d", i);
        tail_add(&t, line, (size_t)n);
        assert_true(t.kept.len <= TAIL_MAX);
    }
    assert_true(t.kept.len > TAIL_MAX / 4);
    assert_memory_equal(t.kept.data + t.kept.len - 11, "line 99999\n", 11);
    assert_memory_equal(t.kept.data, "line ", 5);
    tail_free(&t);
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    struct tail t;
    char line[3 * TAIL_MAX];
    memset(line, 'x', sizeof(line));
    tail_init(&t);
    for (int i = 0; i < 20; i++) {
        tail_add(&t, line, sizeof(line));
        assert_true(t.kept.len <= TAIL_MAX && t.kept.len % TAIL_LINE_MAX == 0);
    }
    tail_add(&t, "the last", 8);
    assert_memory_equal(t.kept.data + t.kept.len - 9, "the last\n", 9);
    tail_free(&t);
}

int main(void)
{
    const struct CMUnitTest tail[] = {
        cmocka_unit_test(test_nothing_costs_nothing),
        cmocka_unit_test(test_few_lines_are_all_there),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_long_lines_are_cut),
    };
    return cmocka_run_group_tests(tail, NULL, NULL);
}
