/* test_suggest.c - the nearest word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "suggest.h"

static void test_distance(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        unsigned distance;
    } rows[] = {
        {"",            "",             0},
        {"a",           "",             1},
        {"",            "abc",          3},
        {"workers",     "workers",      0},
        {"idle_timout", "idle_timeout", 1},
        {"modlue",      "module",       1}, /* a swap is one mistake */
        {"kitten",      "sitting",      3},
        {"ca",          "abc",          3}, /* optimal string alignment, not Damerau: no edit inside a swap */
        {"flaw",        "lawn",         2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(suggest_distance(rows[i].a, rows[i].b), rows[i].distance);
        assert_int_equal(suggest_distance(rows[i].b, rows[i].a), rows[i].distance);
    }
}

static void test_too_long(void **state)
{
    (void)state;
    char longest[SUGGEST_WORD];
    char longer[SUGGEST_WORD + 1];
    memset(longest, 'x', sizeof(longest));
    memset(longer, 'x', sizeof(longer));
    longest[SUGGEST_WORD - 1] = '\0';
    longer[SUGGEST_WORD] = '\0';
    assert_int_equal(suggest_distance(longest, longest), 0);
    assert_int_equal(suggest_distance(longest, ""), SUGGEST_WORD - 1);
    assert_int_equal(suggest_distance(longer, longest), SUGGEST_WORD);
    assert_int_equal(suggest_distance("", longer), SUGGEST_WORD);
    struct suggest s;
    suggest_init(&s, longer);
    assert_false(suggest_offer(&s, longest));
    assert_null(s.best);
}

static void test_best(void **state)
{
    (void)state;
    struct suggest s;
    suggest_init(&s, "idle_timout");
    assert_false(suggest_offer(&s, "module"));
    assert_null(s.best);
    assert_true(suggest_offer(&s, "idle_time"));
    assert_true(suggest_offer(&s, "idle_timeout"));
    assert_false(suggest_offer(&s, "idle_timeouts"));
    assert_string_equal(s.best, "idle_timeout");
    assert_int_equal(s.distance, 1);
}

static void test_first_of_equals(void **state)
{
    (void)state;
    struct suggest s;
    suggest_init(&s, "bodi");
    assert_true(suggest_offer(&s, "body"));
    assert_false(suggest_offer(&s, "bode"));
    assert_string_equal(s.best, "body");
}

static void test_none_near(void **state)
{
    (void)state;
    static const char *const words[] = {"module", "directory", "python", "env", "path"};
    struct suggest s;
    suggest_init(&s, "wibble");
    for (size_t i = 0; i < 5; i++) {
        assert_false(suggest_offer(&s, words[i]));
    }
    assert_null(s.best);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),        cmocka_unit_test(test_too_long),  cmocka_unit_test(test_best),
        cmocka_unit_test(test_first_of_equals), cmocka_unit_test(test_none_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
