/* buf.h - a growable byte buffer that is born with its ceiling.
 *
 * A buffer never holds more than its `max` bytes: that ceiling is where 413, 431 and 502 come from.
 * All functions that may allocate say so by their result; none of them ends the process. */
#ifndef LEANGATE_BUF_H
#define LEANGATE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;   /* owned; NULL while nothing was ever put in */
    uint32_t len; /* bytes in use */
    uint32_t cap; /* bytes allocated */
    uint32_t max; /* ceiling in bytes; set while it is empty */
};

/* An empty buffer of at most `max` bytes; allocates nothing. */
void buf_init(struct buf *b, uint32_t max);

/* Gives the memory back; the buffer is empty and usable again. */
void buf_free(struct buf *b);

/* Room for `n` more bytes behind len. False: past the ceiling or out of memory (see buf_full). */
bool buf_reserve(struct buf *b, size_t n);

/* Whether `n` more bytes would pass the ceiling: tells "too large" from "out of memory" after a false. */
bool buf_full(const struct buf *b, size_t n);

/* Append; false and unchanged when there is no room (see buf_reserve). */
bool buf_put(struct buf *b, const void *data, size_t n);
bool buf_puts(struct buf *b, const char *text);
bool buf_putc(struct buf *b, char c);
bool buf_put_uint(struct buf *b, uint64_t value);

/* Appends formatted text; for cold paths. False as in buf_put. */
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `n` bytes (n <= len) and moves the rest to the front. */
void buf_consume(struct buf *b, uint32_t n);

/* Gives back what a large buffer has to spare. */
void buf_shrink(struct buf *b);

/* Bytes that all buffers of the process have allocated now. */
size_t buf_allocated(void);

#endif
