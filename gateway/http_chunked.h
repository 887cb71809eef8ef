/* http_chunked.h - the chunked transfer coding (RFC 9112 7.1), decoded in place and bounded.
 *
 * Pure: bytes in, facts out, no allocation. Strict: 1 to 15 hex digits, no blanks, CRLF only; chunk
 * extensions are validated, counted and ignored; trailers are validated, bounded and dropped, and refused
 * when they name framing or routing fields. */
#ifndef LEANGATE_HTTP_CHUNKED_H
#define LEANGATE_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "http_parse.h"

enum {
    HTTP_CHUNKED_EXTENSIONS_MAX = 4096, /* bytes of chunk extensions in one body */
    HTTP_CHUNKED_TRAILERS_MAX = 8192    /* bytes of the trailer section */
};

struct http_chunked {
    uint64_t left;       /* bytes of the current chunk still to come */
    uint32_t extensions; /* bytes of extensions met so far */
    uint32_t trailers;   /* bytes of trailers met so far */
    uint8_t state;
    uint8_t digits;
    char name[32]; /* the current trailer's name, lower case, as far as it matters */
    uint8_t name_len;
    const char *reason; /* HTTP_BAD: static text */
};

/* Makes ready for the first byte of a body. */
void http_chunked_init(struct http_chunked *c);

/* Decodes data[0..len): the body bytes found are moved to data[0..*produced), *consumed raw bytes were taken.
 * HTTP_DONE: the coding ended; bytes behind *consumed belong to what follows and are untouched.
 * HTTP_MORE: everything was consumed. HTTP_BAD: c->reason; always a 400 and the end of the connection. */
enum http_parse http_chunked_decode(struct http_chunked *c, char *data, size_t len, size_t *consumed,
                                    size_t *produced);

#endif
