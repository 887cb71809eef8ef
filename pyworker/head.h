/* head.h - status and headers of an app as a CGI header block. */
#ifndef PYWORKER_HEAD_H
#define PYWORKER_HEAD_H

#include "pyapi.h"

#include <stdbool.h>

#include "buffer.h"

/* Appends; false with ValueError past the buffer's ceiling. */
bool head_append(struct buffer *b, const char *data, size_t len);

/* Appends a number in decimal. */
bool head_number(struct buffer *b, unsigned long long n);

/* Appends "Status: CODE reason". */
bool head_status(struct buffer *b, unsigned code);

/* Checks a header and appends its line; sets `declared` if it is Content-Length. False: ValueError. */
bool head_line(struct buffer *b, PyObject *name, PyObject *value, long long *declared);

/* Checks both and appends "Status: ..." and the header lines, without the empty line. Returns the status
 * code, 200 to 999, and sets `declared` if there is a Content-Length; 0: an exception is set. */
unsigned head_write(struct buffer *b, PyObject *status, PyObject *headers, long long *declared);

#endif
