/* body.h - bytes in memory, then in an unlinked file: a request's body, or an answer that waits for its
 * client.
 *
 * One sequence with a read position. A request's body is read and rewound, an answer is a queue: once
 * everything was read, body_reuse starts over and the file is truncated. */
#ifndef LEANGATE_BODY_H
#define LEANGATE_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"

struct body {
    struct buf mem;    /* the first bytes, up to its ceiling */
    int fd;            /* the file with the rest; -1: none */
    uint64_t file_len; /* bytes in the file */
    uint64_t file_max; /* ceiling of file_len */
    uint64_t pos;      /* read position in the whole sequence */
    struct {
        int fd; /* owned while len > 0 */
        uint64_t offset;
        uint64_t len;
    } attached;     /* bytes of somebody else's file, behind all others */
    bool to_file;   /* the memory does not grow: what does not fit what it has goes to the file */
    bool no_file;   /* there can be none: it goes on in memory */
    uint32_t spare; /* what the memory may have beyond its ceiling then; 0: body_put fails instead */
};

/* Where the files are made. */
const char *body_directory(void);

/* At most `memory` bytes stay in memory and `file` bytes more in a file; allocates nothing. */
void body_init(struct body *b, uint32_t memory, uint64_t file);

/* Gives memory and file back; the body is empty and usable again. */
void body_free(struct body *b);

/* Appends; false with errno: EFBIG past the ceiling, ENOMEM, or what the file system said (ENOSPC). After a
 * false the content up to here is intact. */
bool body_put(struct body *b, const void *data, size_t len);

/* Ends the sequence with len > 0 bytes of a file from `offset` on; nothing can be put behind them. Takes the
 * descriptor over. Once only. */
void body_attach(struct body *b, int fd, uint64_t offset, uint64_t len);

/* All bytes put in. */
uint64_t body_len(const struct body *b);

/* Bytes not read yet. */
uint64_t body_left(const struct body *b);

/* From now on, until it is drained or freed, its memory does not grow: memory is short. */
void body_to_file(struct body *b);

/* Bytes that the files of all bodies of the process hold now. */
uint64_t body_spooled(void);

/* Room left before body_put fails with EFBIG. */
uint64_t body_room(const struct body *b);

/* The next bytes: a pointer into memory, or read from the file into scratch[0..size). 0 at the end, -1 with
 * errno when the file cannot be read. The pointer is valid until the next call on this body. Does not move
 * the position. */
long body_peek(struct body *b, char *scratch, size_t size, const char **data);

/* How many of the next bytes stand in a row in a file, for sendfile(): its descriptor, which stays the
 * body's, and where they begin. 0: they are in memory, or there are none. */
uint64_t body_file(const struct body *b, int *fd, off_t *offset);

/* Moves the read position by n bytes (n <= body_left). */
void body_skip(struct body *b, size_t n);

/* Back to the first byte. */
void body_rewind(struct body *b);

/* For a queue: drops what was read, when that is cheap: all of it was; or, with nothing in the file, more
 * than half of what is in memory. */
void body_reuse(struct body *b);

#endif
