/* upload.h - the body of a request, read from its connection: STDIN records, taken apart here and not by
 * libfcgi, whose reads block, and which does not survive all that may stand in their place. Knows nothing of
 * Python. */
#ifndef PYWORKER_UPLOAD_H
#define PYWORKER_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct upload {
    int fd;
    uint16_t id;
    bool waits;     /* reads wait for the peer */
    bool ended;     /* the empty STDIN has come: this was all of it */
    bool failed;    /* the peer is gone, or sent something else */
    bool last;      /* the record under way is the empty one */
    size_t content; /* bytes of the record under way that are still to come */
    size_t padding;
    uint8_t header[RECORD_HEADER]; /* of the next record */
    size_t have;                   /* bytes of it */
};

/* What comes next on `fd` is the first STDIN record of request `id`. */
void upload_begin(struct upload *u, int fd, uint16_t id, bool waits);

/* Takes up to `len` (not 0) bytes of what is there; returns how many. 0: it has ended, or failed, or, unless
 * it waits, nothing is there now. */
size_t upload_read(struct upload *u, void *out, size_t len);

#endif
