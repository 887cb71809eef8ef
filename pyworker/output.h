/* output.h - the answer on the wire: STDOUT records of up to 64 KB and the closing records, gathered into as
 * few writes as possible. No call here needs the GIL. */
#ifndef PYWORKER_OUTPUT_H
#define PYWORKER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "record.h"

enum {
    OUTPUT_RECORDS = 8,                    /* per write: 512 KB, more than a socket buffer */
    OUTPUT_PARTS = 2 * OUTPUT_RECORDS + 3, /* a header and its content each, one more where the two segments
                                              meet, the closing records */
    OUTPUT_CLOSING = RECORD_HEADER + RECORD_END
};

/* One piece of an answer under way: two segments of content (what was gathered before, and new data), then
 * closing. */
struct output {
    int fd;
    int flags; /* of send(): 0, and output_run() waits for room; or MSG_DONTWAIT */
    uint16_t id;
    const char *segment[2];
    size_t left[2];
    uint8_t closing[OUTPUT_CLOSING];
    size_t closing_len;
    struct iovec parts[OUTPUT_PARTS]; /* of the write under way */
    size_t next;                      /* part */
    size_t count;
    uint8_t headers[OUTPUT_RECORDS][RECORD_HEADER];
};

/* Makes ready for one piece of the answer to request `id`; then what it consists of; all of it stays the
 * caller's until output_run() has written it. */
void output_begin(struct output *o, int fd, uint16_t id);
void output_add(struct output *o, const void *data, size_t len); /* at most twice */
void output_close_stream(struct output *o);                      /* the empty STDOUT record */
void output_close_request(struct output *o, uint32_t app_status);

/* Whether the peer has closed its sending side: it wants nothing more. */
bool output_peer_left(const struct output *o);

/* Writes it all. Returns 0; EINTR: a signal came, call again to go on; EAGAIN with MSG_DONTWAIT: likewise,
 * when there is room; another errno: the connection is of no use. */
int output_run(struct output *o);

#endif
