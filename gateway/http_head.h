/* http_head.h - strict HTTP/1 request line and header fields to offsets and framing (RFC 9110, RFC 9112).
 *
 * Pure: bytes in, facts out, no allocation. One pass: called again with more bytes it goes on at the first
 * line that was not complete. What is not exactly right is refused with a status, never repaired. */
#ifndef LEANGATE_HTTP_HEAD_H
#define LEANGATE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_parse.h"
#include "slice.h"

struct http_head_limits {
    uint32_t request_line; /* bytes without CRLF: 414 beyond */
    uint32_t size;         /* bytes of the whole head with its empty line: 431 beyond */
    uint32_t field_count;  /* header lines: 431 beyond */
};

struct http_head {
    struct slice method; /* a token of 1 to 32 bytes */
    struct slice target; /* as it came */
    struct slice path;   /* raw path of the target: "/..." without query; for "*" the one byte */
    struct slice query;  /* raw bytes behind the first '?'; len 0 when none */
    /* host[:port]: of an absolute-form target, else of Host; len 0 in 1.0 without Host */
    struct slice authority;
    struct slice fields; /* all header lines, each with its CRLF; see http_head_next_field */
    uint32_t size;       /* bytes of the head with the empty line; 0 until HTTP_DONE */
    uint32_t field_count;
    uint64_t content_length; /* valid with has_length */
    uint8_t minor;           /* HTTP/1.minor: 0 or 1 */
    bool has_length;
    bool chunked;
    bool keep_alive;      /* what version and Connection ask for */
    bool expect_continue; /* Expect: 100-continue in HTTP/1.1 */
    bool websocket;       /* Connection: upgrade with Upgrade: websocket */

    uint16_t status;    /* HTTP_BAD: 400 405 414 417 431 501 505 */
    const char *reason; /* HTTP_BAD: static text, one short sentence without full stop */

    uint32_t line;    /* private: start of the first line not parsed yet */
    uint32_t scanned; /* private: bytes behind `line` known to hold no line end */
    uint8_t seen;     /* private: what earlier lines have said, SEEN_* of http_head.c */
};

struct http_field {
    struct slice name;
    struct slice value; /* without surrounding blanks */
};

/* Makes `h` ready for a new head. */
void http_head_init(struct http_head *h);

/* Parses data[0..len), which must begin with the same bytes at each call for one head (it may have moved).
 * HTTP_DONE: h->size bytes were the head, the rest of data belongs to what follows. HTTP_MORE: call again
 * with more. HTTP_BAD: h->status and h->reason; h must not be used further. One empty line (CRLF) before the
 * request line is skipped (RFC 9112 2.2). */
enum http_parse http_head_parse(struct http_head *h, const char *data, size_t len,
                                const struct http_head_limits *limits);

/* Whether a body follows a finished head: one of no bytes is none. */
static inline bool http_head_has_body(const struct http_head *h)
{
    return h->chunked || (h->has_length && h->content_length > 0);
}

/* Walks the header lines of a finished head: *cursor starts at 0; false after the last one. */
bool http_head_next_field(const struct http_head *h, const char *data, uint32_t *cursor,
                          struct http_field *field);

/* The same, but for lines of that name alone (any case), of which there is the value. */
bool http_head_next_named(const struct http_head *h, const char *data, const char *name, uint32_t *cursor,
                          struct slice *value);

/* Whether the method, of which case counts, is this one. */
bool http_head_method_is(const struct http_head *h, const char *data, const char *method);

/* Whether text[0..n) is host[:port] as Host may hold it; an empty one is not. */
bool http_head_valid_authority(const char *text, size_t n);

/* How many bytes at the start of text[0..n) are a token (RFC 9110 5.6.2). */
size_t http_token(const char *text, size_t n);

/* Whether text[0..n) may be the value of a field (RFC 9110 5.5): no control bytes but HTAB, obs-text as it
 * is. */
bool http_valid_value(const char *text, size_t n);

/* Whether the comma-separated list `value` holds `token`, ignoring case (Connection, Upgrade, ...). */
bool http_list_has(const char *value, size_t len, const char *token);

#endif
