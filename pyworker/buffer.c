/* buffer.c - a growing run of bytes with a ceiling: the head of an answer, a line of a body. */
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

enum { BUFFER_FIRST = 1024 };

void buffer_init(struct buffer *b, size_t ceiling)
{
    *b = (struct buffer){.ceiling = ceiling};
}

static bool buffer_grow(struct buffer *b, size_t need)
{
    size_t capacity = b->capacity > 0 ? b->capacity : BUFFER_FIRST;
    while (capacity < need)
        capacity = capacity > b->ceiling / 2 ? b->ceiling : capacity * 2;
    char *data = realloc(b->data, capacity);
    if (data == NULL)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

bool buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (len > b->ceiling - b->len)
        return false;
    if (len == 0)
        return true;
    if (b->len + len > b->capacity && !buffer_grow(b, b->len + len))
        return false;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return true;
}

void buffer_clear(struct buffer *b, size_t keep)
{
    b->len = 0;
    if (b->capacity > keep)
        buffer_free(b);
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    b->data = NULL;
    b->len = 0;
    b->capacity = 0;
}
