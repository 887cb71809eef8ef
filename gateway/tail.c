/* tail.c - see tail.h. */
#include "tail.h"

#include <string.h>

void tail_init(struct tail *t)
{
    buf_init(&t->kept, TAIL_MAX);
}

void tail_free(struct tail *t)
{
    buf_free(&t->kept);
}

/* Drops the oldest half, whole lines: so that the bytes of a flood are moved once, not with every line. */
static void drop_old(struct buf *kept)
{
    const char *end = memchr(kept->data + kept->len / 2, '\n', kept->len - kept->len / 2);
    buf_consume(kept, end != NULL ? (uint32_t)(end + 1 - kept->data) : kept->len);
}

void tail_add(struct tail *t, const char *line, size_t len)
{
    if (len > TAIL_LINE_MAX - 1)
        len = TAIL_LINE_MAX - 1;
    while (t->kept.len > 0 && buf_full(&t->kept, len + 1))
        drop_old(&t->kept);
    if (buf_reserve(&t->kept, len + 1)) {
        (void)buf_put(&t->kept, line, len);
        (void)buf_putc(&t->kept, '\n');
    }
}
