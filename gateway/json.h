/* json.h - writing JSON strings of bytes that may be anything. Pure. */
#ifndef LEANGATE_JSON_H
#define LEANGATE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/* Appends a string with its quotes: quotes, backslashes and control bytes are escaped, valid UTF-8 is kept,
 * every other byte becomes U+FFFD. False: no room. */
bool json_string(struct buf *out, const char *text, size_t len);

/* The length of the UTF-8 character that text begins with, 1 to 4; 0: it is none (RFC 3629: no surrogates, no
 * overlong forms, nothing cut). */
size_t json_utf8(const char *text, size_t len);

#endif
