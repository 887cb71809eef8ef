/* fuzz_http_date.c - any bytes as a date: what is accepted libc reads as the same time, in the same form, and
 * of a year of two digits nothing depends on the clock but the century. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http_date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Which form it has to the end; libc is less strict. */
static int form_of(const char *text, struct tm *tm)
{
    static const char *const forms[] = {"%a, %d %b %Y %T GMT", "%A, %d-%b-%y %T GMT", "%a %b %e %T %Y"};
    for (int i = 0; i < 3; i++) {
        *tm = (struct tm){0};
        const char *end = strptime(text, forms[i], tm);
        if (end != NULL && *end == '\0')
            return i;
    }
    return -1;
}

static void check_date(const char *text, time_t now, time_t when)
{
    struct tm tm, year;
    int form = form_of(text, &tm);
    time_t minute = when - (tm.tm_sec == 60); /* a leap second is the next minute's first */
    check(form >= 0 && gmtime_r(&minute, &year) != NULL);
    if (form == 1) {
        struct tm today;
        check(gmtime_r(&now, &today) != NULL && year.tm_year % 100 == tm.tm_year % 100);
        check(year.tm_year <= today.tm_year + 50 && year.tm_year > today.tm_year - 100);
        tm.tm_year = year.tm_year;
    }
    check(year.tm_year == tm.tm_year && year.tm_mon == tm.tm_mon && year.tm_mday == tm.tm_mday);
    check(timegm(&tm) == when);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const time_t clocks[] = {1215000000, 1783000000,
                                    3900000000}; /* in the middle of 2008, 2026, 2093 */
    char *exact = malloc(size + (size == 0)), *text = calloc(1, size + 1);
    bool good = false;
    check(exact != NULL && text != NULL);
    if (size > 0) {
        memcpy(exact, data, size);
        memcpy(text, data, size);
    }
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        time_t when = 0;
        bool now_good = http_date_parse(exact, size, clocks[i], &when);
        check(i == 0 || now_good == good ||
              form_of(text, &(struct tm){0}) == 1); /* 29 Feb of which century */
        good = now_good;
        if (good) {
            check(strlen(text) == size);
            check_date(text, clocks[i], when);
        }
    }
    free(exact);
    free(text);
    return 0;
}
