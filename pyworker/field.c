/* field.c - see field.h. No locale is asked: an app may have set one in which I is not the capital of i. */
#include "field.h"

#include <string.h>

enum { LENGTH_DIGITS = 18 }; /* fit into a long long */

bool field_is_token(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
        if (!plain && (c == '\0' || strchr("!#$%&'*+.^_`|~", c) == NULL))
            return false;
    }
    return len > 0;
}

bool field_is_value(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool field_is_named(const char *p, size_t len, const char *lower)
{
    if (len != strlen(lower))
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
        if (c != lower[i])
            return false;
    }
    return true;
}

bool field_is(const char *p, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(p, name, len) == 0;
}

long long field_length(const char *p, size_t len)
{
    long long n = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9' || i == LENGTH_DIGITS)
            return -1;
        n = n * 10 + (p[i] - '0');
    }
    return len > 0 ? n : -1;
}
