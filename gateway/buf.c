/* buf.c - see buf.h. Capacities grow by doubling from 512 bytes, so that a small request stays in one small
 * allocation and a large one costs few moves. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_CAPACITY = 512,
    SHRINK_FROM = 8 * 1024 /* bytes to spare that are worth a move */
};

static size_t allocated;

size_t buf_allocated(void)
{
    return allocated;
}

void buf_init(struct buf *b, uint32_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    allocated -= b->cap;
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

bool buf_full(const struct buf *b, size_t n)
{
    return n > b->max - b->len;
}

bool buf_reserve(struct buf *b, size_t n)
{
    if (n <= b->cap - b->len)
        return true;
    if (buf_full(b, n))
        return false;
    uint64_t want = b->cap ? b->cap : FIRST_CAPACITY;
    while (want < (uint64_t)b->len + n)
        want *= 2;
    if (want > b->max)
        want = b->max;
    char *data = realloc(b->data, want);
    if (data == NULL)
        return false;
    allocated += want - b->cap;
    b->data = data;
    b->cap = (uint32_t)want;
    return true;
}

bool buf_put(struct buf *b, const void *data, size_t n)
{
    if (n == 0)
        return true;
    if (!buf_reserve(b, n))
        return false;
    memcpy(b->data + b->len, data, n);
    b->len += (uint32_t)n;
    return true;
}

bool buf_puts(struct buf *b, const char *text)
{
    return buf_put(b, text, strlen(text));
}

bool buf_putc(struct buf *b, char c)
{
    return buf_put(b, &c, 1);
}

bool buf_put_uint(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return buf_put(b, digits + i, sizeof(digits) - i);
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int need = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (need < 0 || !buf_reserve(b, (size_t)need + 1))
        return false;
    va_start(ap, format);
    vsnprintf(b->data + b->len, (size_t)need + 1, format, ap);
    va_end(ap);
    b->len += (uint32_t)need;
    return true;
}

void buf_consume(struct buf *b, uint32_t n)
{
    if (n == 0)
        return;
    b->len -= n;
    if (b->len > 0)
        memmove(b->data, b->data + n, b->len);
}

void buf_shrink(struct buf *b)
{
    uint32_t want = b->len > FIRST_CAPACITY ? b->len : FIRST_CAPACITY;
    if (b->cap < want || b->cap - want < SHRINK_FROM)
        return;
    char *data = realloc(b->data, want);
    if (data == NULL)
        return;
    allocated -= b->cap - want;
    b->data = data;
    b->cap = want;
}
