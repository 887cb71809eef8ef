/* ascii.h - what several parsers ask of bytes: their classes, without locale or table, and what stands
 * between blanks and separators. Pure. */
#ifndef LEANGATE_ASCII_H
#define LEANGATE_ASCII_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "slice.h"

/* OWS of RFC 9110 5.6.3 */
static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_alnum(char c)
{
    char lower = (char)(c | 0x20);
    return is_digit(c) || (lower >= 'a' && lower <= 'z');
}

/* from..to without the blanks at its ends, as a slice of `base`. */
static inline struct slice trim(const char *base, const char *from, const char *to)
{
    while (from < to && is_blank(*from))
        from++;
    while (to > from && is_blank(to[-1]))
        to--;
    return (struct slice){(uint32_t)(from - base), (uint32_t)(to - from)};
}

/* Steps through a list: *at, at first where it begins, is NULL behind the last element. Elements come without
 * the blanks around them and may be empty. */
static inline bool next_element(const char **at, const char *end, char separator, const char **element,
                                size_t *n)
{
    const char *from = *at;
    if (from == NULL)
        return false;
    const char *to = memchr(from, separator, (size_t)(end - from));
    *at = to != NULL ? to + 1 : NULL;
    struct slice piece = trim(from, from, to != NULL ? to : end);
    *element = from + piece.off;
    *n = piece.len;
    return true;
}

#endif
