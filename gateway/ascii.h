/* ascii.h - classes of bytes that several parsers ask for: no locale, no table. */
#ifndef LEANGATE_ASCII_H
#define LEANGATE_ASCII_H

#include <stdbool.h>

/* OWS of RFC 9110 5.6.3 */
static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

#endif
