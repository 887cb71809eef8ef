/* access.h - what is written down and counted of a finished exchange. Pure: facts in, bytes out. */
#ifndef LEANGATE_ACCESS_H
#define LEANGATE_ACCESS_H

#include <stdbool.h>
#include <time.h>

#include "buf.h"
#include "request.h"

/* Appends the line for a finished exchange, with its newline. `ended` is monotonic, `now` the wall clock; a
 * client that left before any answer is status 499. False: no room. */
bool access_line(struct buf *out, int format, const struct request *r, double ended, time_t now);

/* Counts a finished exchange: for its app, or for the gateway when it belongs to none. */
void access_count(const struct request *r, double ended);

#endif
