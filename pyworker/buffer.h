/* buffer.h - a growing run of bytes with a ceiling. Knows nothing of Python or FastCGI. */
#ifndef PYWORKER_BUFFER_H
#define PYWORKER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* malloc'd, NULL while nothing was ever stored */
    size_t len;
    size_t capacity;
    size_t ceiling; /* never holds more than this */
};

void buffer_init(struct buffer *b, size_t ceiling);

/* Appends; false, and nothing is changed, past the ceiling or when memory is short. */
bool buffer_append(struct buffer *b, const void *data, size_t len);

/* Forgets the content; gives memory beyond `keep` bytes back. */
void buffer_clear(struct buffer *b, size_t keep);

void buffer_free(struct buffer *b);

#endif
