/* head.h - status and headers of a WSGI app as a CGI header block. */
#ifndef PYWORKER_HEAD_H
#define PYWORKER_HEAD_H

#include "pyapi.h"

#include <stdbool.h>

#include "buffer.h"

/* Appends; false with ValueError past the buffer's ceiling. */
bool head_append(struct buffer *b, const char *data, size_t len);

/* Checks both and appends "Status: ..." and the header lines, without the empty line. Returns the status
 * code, 200 to 999, and sets `declared` if there is a Content-Length; 0: an exception is set. */
unsigned head_write(struct buffer *b, PyObject *status, PyObject *headers, long long *declared);

#endif
