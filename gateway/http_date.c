/* http_date.c - see http_date.h. Neither strptime() nor timegm() nor gmtime_r(): the first depends on the
 * locale, the others read the time zone files into memory. */
#include "http_date.h"

#include <stdint.h>
#include <string.h>

#include "ascii.h"

enum { DAY = 24 * 3600, YEAR_SECONDS = 31556952, YEARS_AHEAD = 50 };

static const char weekdays[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* ---- reading ---- */

/* A date while it is read. */
struct reading {
    const char *at;
    const char *end;
    int64_t year;
    int64_t month; /* 0 to 11 */
    int64_t day;   /* 1 to 31 */
    int64_t second;
};

/* %a weekday, %A the same in full, %d day, %e day with a blank for its first digit, %b month, %Y year,
 * %y the last two digits of it, %T time of day; all else stands for itself. */
static const char *const forms[] = {
    "%a, %d %b %Y %T GMT",
    "%A, %d-%b-%y %T GMT",
    "%a %b %e %T %Y",
};

static bool take_digits(struct reading *r, size_t n, int64_t *value)
{
    *value = 0;
    if ((size_t)(r->end - r->at) < n)
        return false;
    for (; n > 0; n--, r->at++) {
        if (!is_digit(*r->at))
            return false;
        *value = *value * 10 + (*r->at - '0');
    }
    return true;
}

static bool take_text(struct reading *r, const char *text, size_t len)
{
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0)
        return false;
    r->at += len;
    return true;
}

/* One of `count` names of three letters that stand one behind the other. */
static bool take_short(struct reading *r, const char *names, int64_t count, int64_t *index)
{
    for (*index = 0; *index < count; ++*index)
        if (take_text(r, names + *index * 3, 3))
            return true;
    return false;
}

static bool take_weekday(struct reading *r)
{
    static const char names[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
    for (size_t i = 0; i < 7; i++)
        if (take_text(r, names[i], strlen(names[i])))
            return true;
    return false;
}

/* Two digits are the year that is not more than 50 years ahead (RFC 9110 5.6.7). */
static bool take_short_year(struct reading *r, time_t now)
{
    int64_t this_year = 1970 + (int64_t)now / YEAR_SECONDS;
    if (!take_digits(r, 2, &r->year))
        return false;
    r->year += this_year - this_year % 100;
    if (r->year > this_year + YEARS_AHEAD)
        r->year -= 100;
    return true;
}

static bool take_clock(struct reading *r)
{
    int64_t hour, minute, second;
    bool good = take_digits(r, 2, &hour) && take_text(r, ":", 1) && take_digits(r, 2, &minute) &&
                take_text(r, ":", 1) && take_digits(r, 2, &second);
    r->second = good ? (hour * 60 + minute) * 60 + second : 0;
    return good && hour < 24 && minute < 60 && second <= 60; /* a leap second is the next minute's first */
}

static bool take(struct reading *r, char what, time_t now)
{
    int64_t unused;
    switch (what) {
    case 'a':
        return take_short(r, weekdays, 7, &unused);
    case 'A':
        return take_weekday(r);
    case 'b':
        return take_short(r, months, 12, &r->month);
    case 'd':
        return take_digits(r, 2, &r->day);
    case 'e':
        return take_text(r, " ", 1) ? take_digits(r, 1, &r->day) : take_digits(r, 2, &r->day);
    case 'Y':
        return take_digits(r, 4, &r->year);
    case 'y':
        return take_short_year(r, now);
    default:
        return take_clock(r);
    }
}

static bool follows(struct reading *r, const char *form, time_t now)
{
    for (; *form != '\0'; form++) {
        bool good = *form == '%' ? take(r, *++form, now) : take_text(r, form, 1);
        if (!good)
            return false;
    }
    return r->at == r->end;
}

/* Leap days from the year 1 to the end of `year`. */
static int64_t leap_days(int64_t year)
{
    return year / 4 - year / 100 + year / 400;
}

static bool to_seconds(const struct reading *r, time_t *when)
{
    static const int16_t before[13] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    bool leap = (r->year % 4 == 0 && r->year % 100 != 0) || r->year % 400 == 0;
    int64_t length = before[r->month + 1] - before[r->month] + (leap && r->month == 1);
    if (r->year < 1 || r->day < 1 || r->day > length)
        return false;
    int64_t days = (r->year - 1970) * 365 + leap_days(r->year - 1) - leap_days(1969) + before[r->month] +
                   (leap && r->month > 1) + r->day - 1;
    *when = days * DAY + r->second;
    return true;
}

bool http_date_parse(const char *text, size_t len, time_t now, time_t *when)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct reading r = {.at = text, .end = text + len};
        if (follows(&r, forms[i], now))
            return to_seconds(&r, when);
    }
    return false;
}

/* ---- writing ---- */

static void put_two(char *out, unsigned value)
{
    out[0] = (char)('0' + value / 10 % 10);
    out[1] = (char)('0' + value % 10);
}

/* The Gregorian calendar repeats every 400 years = 146,097 days; counted from 1 March, the leap day is a
 * year's last day and the months' lengths follow a line. */
void http_date(time_t now, char out[30])
{
    uint64_t days = (uint64_t)now / DAY, second = (uint64_t)now % DAY;
    uint64_t since = days + 719468; /* from 1 March of the year 0 to 1 January 1970 */
    uint64_t day = since % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    uint64_t march_month = (5 * day + 2) / 153;
    uint64_t month = (march_month + 2) % 12;
    year += since / 146097 * 400 + (month < 2);

    memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", 30);
    memcpy(out, weekdays + (days + 4) % 7 * 3, 3);
    put_two(out + 5, (unsigned)(day - (153 * march_month + 2) / 5 + 1));
    memcpy(out + 8, months + month * 3, 3);
    put_two(out + 12, (unsigned)(year / 100));
    put_two(out + 14, (unsigned)(year % 100));
    put_two(out + 17, (unsigned)(second / 3600));
    put_two(out + 20, (unsigned)(second / 60 % 60));
    put_two(out + 23, (unsigned)(second % 60));
}
