/* encode.h - a request as FastCGI records, in a buffer. */
#ifndef LEANGATE_ENCODE_H
#define LEANGATE_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "body.h"
#include "buf.h"
#include "request.h"

enum { ENCODE_PIECE = 32 * 1024 }; /* body bytes of one STDIN record */

/* BEGIN_REQUEST and all PARAMS into an empty buffer. keep: the connection is to go on after the request.
 * False: no room or no memory. */
bool encode_head(struct buf *out, const struct request *r, uint16_t id, bool keep);

/* Appends the next STDIN record; behind the last one also the empty one, and *last is set. False: the body
 * cannot be read back, or no memory. */
bool encode_body(struct buf *out, struct body *body, uint16_t id, bool *last);

#endif
