/* spool.h - the body of a request as a file that a script can have as its standard input. Needs no GIL. */
#ifndef PYWORKER_SPOOL_H
#define PYWORKER_SPOOL_H

#include "preset.h"

/* Reads the whole body. Returns a descriptor that stands at its beginning (/dev/null if there is none) and
 * sets `size`; -1: errno, EPIPE if the connection broke in the middle. */
int spool_body(struct preset *request, long long *size);

#endif
