/* units.c - one table of units for times and one for sizes; reading, guessing and printing come from them. */
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
    int64_t print_from; /* smallest value that is printed with this unit */
};

/* Longest first where one name begins another. A minute is printed as 60s, as the reference writes it. */
static const struct unit time_units[] = {
    {"h",  3600000, 3600000},
    {"ms", 1,       1      },
    {"m",  60000,   120000 },
    {"s",  1000,    0      },
};

static const struct unit size_units[] = {
    {"g", 1LL << 30, 1LL << 30},
    {"m", 1LL << 20, 1LL << 20},
    {"k", 1LL << 10, 1LL << 10},
    {"",  1,         0        },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Enough for any sensible value, and 10^15 times the largest factor of 2^30 is checked for overflow. */
#define MAX_DIGITS 15

/* The number in base `base` at the front of text; its digits' count, 0: none or too many. */
static size_t leading_number(const char *text, int base, int64_t *value)
{
    int64_t number = 0;
    size_t n = 0;
    while (text[n] >= '0' && text[n] < '0' + base) {
        if (n == MAX_DIGITS)
            return 0;
        number = number * base + (text[n] - '0');
        n++;
    }
    *value = number;
    return n;
}

static bool scaled(const char *text, const struct unit *units, size_t count, int64_t *value)
{
    int64_t number;
    size_t digits = leading_number(text, 10, &number);
    if (digits == 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (number > INT64_MAX / units[i].factor)
            return false;
        *value = number * units[i].factor;
        return true;
    }
    return false;
}

bool units_time(const char *text, int64_t *ms)
{
    return scaled(text, time_units, COUNT(time_units), ms);
}

bool units_size(const char *text, int64_t *bytes)
{
    return scaled(text, size_units, COUNT(size_units), bytes);
}

static bool whole_number(const char *text, int base, int64_t *value)
{
    int64_t number;
    size_t digits = leading_number(text, base, &number);
    if (digits == 0 || text[digits] != '\0')
        return false;
    *value = number;
    return true;
}

bool units_number(const char *text, int64_t *value)
{
    return whole_number(text, 10, value);
}

bool units_octal(const char *text, int64_t *value)
{
    return whole_number(text, 8, value);
}

bool units_bool(const char *text, bool *value)
{
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < COUNT(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* digits + the first unit that `rest` begins with in any case; digits + fallback where nothing follows them.
 * Another unit is not guessed at: 1d is not 1s. */
static bool guess_unit(const char *text, const struct unit *units, size_t count, const char *fallback,
                       char guess[UNITS_TEXT])
{
    int64_t number;
    size_t digits = leading_number(text, 10, &number);
    if (digits == 0)
        return false;
    const char *rest = text + digits;
    while (*rest == ' ')
        rest++;
    const char *unit = *rest == '\0' ? fallback : NULL;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(units[i].name);
        size_t same = 0;
        while (same < len && lower(rest[same]) == units[i].name[same])
            same++;
        if (len > 0 && same == len) {
            unit = units[i].name;
            break;
        }
    }
    if (unit != NULL)
        (void)snprintf(guess, UNITS_TEXT, "%" PRId64 "%s", number, unit);
    return unit != NULL;
}

bool units_time_guess(const char *text, char guess[UNITS_TEXT])
{
    return guess_unit(text, time_units, COUNT(time_units), "s", guess);
}

bool units_size_guess(const char *text, char guess[UNITS_TEXT])
{
    return guess_unit(text, size_units, COUNT(size_units), "k", guess);
}

static void print_scaled(int64_t value, const struct unit *units, size_t count, char text[UNITS_TEXT])
{
    const struct unit *best = NULL;
    for (size_t i = 0; i < count; i++) {
        bool exact = value % units[i].factor == 0 && value >= units[i].print_from;
        if (exact && (best == NULL || units[i].factor > best->factor))
            best = &units[i];
    }
    if (best == NULL)
        best = &units[count - 1];
    (void)snprintf(text, UNITS_TEXT, "%" PRId64 "%s", value / best->factor, best->name);
}

void units_time_text(int64_t ms, char text[UNITS_TEXT])
{
    print_scaled(ms, time_units, COUNT(time_units), text);
}

void units_size_text(int64_t bytes, char text[UNITS_TEXT])
{
    print_scaled(bytes, size_units, COUNT(size_units), text);
}

void units_octal_text(int64_t value, char text[UNITS_TEXT])
{
    (void)snprintf(text, UNITS_TEXT, "%04" PRIo64, (uint64_t)value);
}
