/* test_stats.c - the rows are whole, histograms count where they should, medians, and what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "stats.h"

static void check_rows(const struct stats_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_non_null(rows[i].group);
        assert_non_null(rows[i].metric);
        assert_true((rows[i].label != NULL) <= (rows[i].key != NULL));
        bool first = i == 0 || strcmp(rows[i].metric, rows[i - 1].metric) != 0;
        assert_int_equal(rows[i].help != NULL, first);
        for (size_t k = 0; first && k + 1 < i; k++) /* rows of one metric stand together */
            assert_string_not_equal(rows[i].metric, rows[k].metric);
    }
}

static void test_rows(void **state)
{
    (void)state;
    check_rows(stats_rows, STATS_COUNTERS);
    check_rows(stats_global_rows, STATS_GLOBALS);
    check_rows(stats_histogram_rows, STATS_HISTOGRAMS);
    for (int i = 1; i < STATS_BUCKETS; i++)
        assert_true(stats_bounds[i] > stats_bounds[i - 1]);
}

static void test_histogram(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    stats_observe(s, STATS_DURATION, 0);
    stats_observe(s, STATS_DURATION, stats_bounds[0]); /* a bound belongs to its bucket */
    stats_observe(s, STATS_DURATION, stats_bounds[0] * 1.001);
    stats_observe(s, STATS_DURATION, stats_bounds[STATS_BUCKETS - 1]);
    stats_observe(s, STATS_DURATION, 1e9);
    assert_int_equal(s->histograms[STATS_DURATION].buckets[0], 2);
    assert_int_equal(s->histograms[STATS_DURATION].buckets[1], 1);
    assert_int_equal(s->histograms[STATS_DURATION].buckets[STATS_BUCKETS - 1], 1);
    assert_int_equal(s->histograms[STATS_DURATION].buckets[STATS_BUCKETS], 1);
    assert_true(s->histograms[STATS_DURATION].sum > 1e9);
    stats_unref(s);
}

static void check_near(double value, double expected)
{
    assert_true(value > expected - 1e-4 && value < expected + 1e-4);
}

static void test_cold_start(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    assert_true(stats_cold_last(s, STATS_COLD_SPAWN) < 0);
    assert_true(stats_cold_median(s, STATS_COLD_SPAWN) < 0);
    stats_cold_start(s, 100, 0.001, 0.02, 0.3);
    check_near(stats_cold_last(s, STATS_COLD_IMPORT), 0.3);
    assert_true(stats_cold_last(s, STATS_COLD_ANSWER) < 0);
    stats_cold_answer(s, 100, 99.5, 0.004);
    stats_cold_answer(s, 100, 99.9, 7); /* the second answer says nothing of the start */
    stats_cold_answer(s, 90, 80, 7);    /* nor does one of another worker */
    check_near(stats_cold_last(s, STATS_COLD_QUEUE), 0.5);
    check_near(stats_cold_last(s, STATS_COLD_ANSWER), 0.004);
    assert_int_equal(s->histograms[STATS_START].buckets[6], 1); /* 0.321 s */
    stats_cold_answer(s, 200, 199, 0.5);                        /* told before the start that it belongs to */
    stats_cold_answer(s, 200, 198, 0.7);
    check_near(stats_cold_last(s, STATS_COLD_ANSWER), 0.004);
    stats_cold_start(s, 200, 0.001, 0.02, 0);
    check_near(stats_cold_last(s, STATS_COLD_ANSWER), 0.5);
    check_near(stats_cold_last(s, STATS_COLD_QUEUE), 1);
    stats_cold_start(s, 300, 0.001, 0.02, 0);
    assert_true(stats_cold_last(s, STATS_COLD_ANSWER) < 0);
    stats_unref(s);
}

static void test_medians(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    for (int i = 0; i < 4; i++)
        stats_cold_start(s, 1 + i, i, 0, 0);
    check_near(stats_cold_median(s, STATS_COLD_SPAWN), 1.5);
    stats_cold_answer(s, 4, 4, 3);
    check_near(stats_cold_median(s, STATS_COLD_ANSWER), 3); /* of those that are known */
    for (int i = 0; i < 10 * STATS_COLD_KEPT; i++)
        stats_cold_start(s, 5 + i, i % STATS_COLD_KEPT, 0, 0);
    check_near(stats_cold_median(s, STATS_COLD_SPAWN), STATS_COLD_KEPT / 2);
    assert_int_equal(s->cold_count, 10 * STATS_COLD_KEPT + 4);
    assert_true(stats_cold_median(s, STATS_COLD_ANSWER) < 0);
    stats_unref(s);
}

static void test_what_is_remembered(void **state)
{
    (void)state;
    struct stats *s = stats_ref(stats_new());
    struct tail output;
    stats_unref(s);
    tail_init(&output);
    tail_add(&output, "its last words", 14);
    stats_error(s, 7, "No module named 'x'");
    stats_output(s, &output);
    assert_int_equal(output.kept.len, 0);
    assert_string_equal(s->error.text, "No module named 'x'");
    assert_memory_equal(s->error.output.kept.data, "its last words\n", 15);
    stats_error(s, 8, "again");
    assert_int_equal(s->error.output.kept.len, 0);
    stats_exit(s, 9, 123, STATS_EXIT_IDLE, "exited with status 0");
    assert_int_equal(s->counts[STATS_EXIT_IDLE], 1);
    assert_int_equal(s->exit.pid, 123);
    tail_add(&output, "more", 4);
    stats_output(s, &output);
    stats_unref(s);
    assert_null(stats_ref(NULL));
    stats_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest stats[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_medians),
        cmocka_unit_test(test_cold_start),
        cmocka_unit_test(test_what_is_remembered),
    };
    return cmocka_run_group_tests(stats, NULL, NULL);
}
