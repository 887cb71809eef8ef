/* script_head.h - the CGI header block that a script writes (RFC 3875, section 6), judged and written anew.
 * Pure: bytes in, bytes or a sentence out. */
#ifndef PYWORKER_SCRIPT_HEAD_H
#define PYWORKER_SCRIPT_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

enum script_head_state {
    SCRIPT_HEAD_MORE, /* its empty line is still to come */
    SCRIPT_HEAD_DONE,
    SCRIPT_HEAD_BAD /* `error` says why */
};

struct script_head {
    struct buffer out;  /* "Status: ...", the fields, the empty line; the owner frees it */
    size_t size;        /* bytes that the block takes in the input */
    unsigned status;    /* 200 to 599 */
    long long declared; /* Content-Length, or -1 */
    const char *error;  /* static */
};

/* Judges the beginning of a script's output. Lines may end in LF or CRLF. */
enum script_head_state script_head_parse(struct script_head *head, const char *data, size_t len);

#endif
