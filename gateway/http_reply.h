/* http_reply.h - the head of an answer: framing choice, hop-by-hop filter, Date, and the bodies of errors.
 *
 * Pure: facts in, bytes out; the time is an argument. */
#ifndef LEANGATE_HTTP_REPLY_H
#define LEANGATE_HTTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "buf.h"

/* How the end of the body is told to the client. */
enum http_framing {
    HTTP_FRAMING_NONE,    /* no body: HEAD, 204, 304 */
    HTTP_FRAMING_LENGTH,  /* Content-Length */
    HTTP_FRAMING_CHUNKED, /* HTTP/1.1 of unknown length */
    HTTP_FRAMING_CLOSE    /* HTTP/1.0 of unknown length */
};

struct http_reply {
    uint16_t status;    /* 200 to 599 */
    const char *reason; /* phrase from the worker, validated, not terminated; NULL: the standard one */
    size_t reason_len;
    const char *fields; /* validated header lines, each with CRLF, without framing and hop-by-hop fields */
    size_t fields_len;
    int64_t content_length; /* -1: unknown */
    bool has_date;          /* `fields` holds a Date already */
    bool has_server;        /* `fields` holds a Server already */
    bool head_request;      /* the request was HEAD */
    uint8_t minor;          /* the request's HTTP/1.minor */
    bool keep_alive;        /* the connection may go on, if the framing allows it */
    const char *server;     /* text for Server, or NULL */
    const char *id_name;    /* name of the request-id field, or NULL; not repeated if `fields` holds it */
    const char *id;
    const char *timing; /* value for Server-Timing, or NULL */
    time_t now;
};

/* Appends status line, fields, Date, framing, Connection and the empty line to `out`. *framing: how the body
 * that follows must be sent. *keep_alive: whether the connection goes on after it. False: no room in `out`.
 */
bool http_reply_head(struct buf *out, const struct http_reply *reply, enum http_framing *framing,
                     bool *keep_alive);

/* Whether a field (name without colon, any case) may not be passed on: hop-by-hop ones (RFC 9110 7.6.1) and
 * those that the gateway itself writes (Content-Length, Transfer-Encoding). */
bool http_reply_drops(const char *name, size_t len);

/* The standard phrase of a status; "Unknown" for one that has none. */
const char *http_reason(unsigned status);

/* The body of an error answer, one line: "404 Not Found: no app at /x (id 5f..)"; detail and id may be NULL.
 * HTML where `html`. Everything is escaped as needed. False: no room. */
bool http_reply_error_body(struct buf *out, unsigned status, const char *detail, const char *id, bool html);

/* Whether Accept prefers HTML over plain text. */
bool http_accept_prefers_html(const char *value, size_t len);

/* The weight in thousandths that a list with weights (Accept-Encoding, RFC 9110 12.5.3) gives to `name`,
 * ignoring case; -1: it is not named. */
int http_accept_weight(const char *value, size_t len, const char *name);

#endif
