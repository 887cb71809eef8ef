/* test_http_date.c - the three forms of a date, back and forth, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guard.h"
#include "http_date.h"

static const time_t NOW = 1700000000; /* 14 Nov 2023 */

/* The seconds, or -1: no date. The text ends at a guard page. */
static long long parse(const char *text)
{
    size_t len = strlen(text);
    char *copy = guard_copy(text, len);
    time_t when = -2;
    bool good = http_date_parse(copy, len, NOW, &when);
    guard_free(copy, len);
    return good ? (long long)when : -1;
}

static void test_forms(void **unused)
{
    (void)unused;
    assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    assert_int_equal(parse("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
    assert_int_equal(parse("Sun Nov  6 08:49:37 1994"), 784111777);
    assert_int_equal(parse("Wed Nov 16 08:49:37 1994"), 784975777);
    assert_int_equal(parse("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    assert_int_equal(parse("Wed, 31 Dec 1969 23:59:58 GMT"), -2);
    assert_int_equal(parse("Thu, 29 Feb 2024 12:00:00 GMT"), 1709208000);
    assert_int_equal(parse("Tue, 29 Feb 2000 00:00:00 GMT"), 951782400);
    assert_int_equal(parse("Tue, 19 Jan 2038 03:14:08 GMT"), 2147483648);
    assert_int_equal(parse("Fri, 31 Dec 9999 23:59:59 GMT"), 253402300799);
    assert_int_equal(parse("Sat, 31 Dec 2016 23:59:60 GMT"), 1483228800);
}

/* Two digits: at most 50 years ahead of 2023. */
static void test_short_years(void **unused)
{
    (void)unused;
    assert_int_equal(parse("Sunday, 01-Jan-73 00:00:00 GMT"), 3250454400);
    assert_int_equal(parse("Tuesday, 01-Jan-74 00:00:00 GMT"), 126230400);
    assert_int_equal(parse("Saturday, 01-Jan-00 00:00:00 GMT"), 946684800);
}

static void test_wrong(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Thu, 29 Feb 2023 12:00:00 GMT",
        "Thu, 29 Feb 1900 12:00:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "784111777",
        "Sun Nov 6 08:49:37 1994",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(parse(wrong[i]), -1);
}

/* Every second of a wide sample reads back as itself, against the C library's calendar. */
static void test_against_libc(void **unused)
{
    (void)unused;
    for (time_t when = 0; when < (time_t)250000000000; when += 86400 * 97 + 12345) {
        char text[64];
        struct tm tm;
        assert_non_null(gmtime_r(&when, &tm));
        assert_int_equal(strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm), 29);
        assert_int_equal(parse(text), when);
        assert_int_not_equal(strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm), 0);
        assert_int_equal(parse(text), when);
    }
}

/* Each day of 500 years, at some time of it. */
static void test_written(void **unused)
{
    (void)unused;
    char out[30], text[64];
    struct tm tm;
    http_date(0, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_date(253402300799, out);
    assert_string_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT");
    for (time_t day = 0; day < 366 * 500; day++) {
        time_t when = day * 86400 + day * 7919 % 86400;
        assert_non_null(gmtime_r(&when, &tm));
        assert_int_equal(strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm), 29);
        http_date(when, out);
        assert_string_equal(out, text);
    }
}

static void test_every_prefix(void **unused)
{
    (void)unused;
    static const char text[] = "Sunday, 06-Nov-94 08:49:37 GMT";
    char part[sizeof(text)];
    for (size_t n = 0; n + 1 < sizeof(text); n++) {
        memcpy(part, text, n);
        part[n] = '\0';
        assert_int_equal(parse(part), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),        cmocka_unit_test(test_short_years),
        cmocka_unit_test(test_wrong),        cmocka_unit_test(test_against_libc),
        cmocka_unit_test(test_every_prefix), cmocka_unit_test(test_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
