/* cgi.h - a request as CGI variables (RFC 3875 4.1), and a CGI answer's header block as an HTTP head (RFC
 * 3875 6).
 *
 * Pure: facts in, bytes out and back. Each variable is a row of one table. */
#ifndef LEANGATE_CGI_H
#define LEANGATE_CGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "cgi_request.h"
#include "http_parse.h"
#include "slice.h"

/* Appends all variables as FastCGI name-value pairs (without record headers) to `out`. Field names with an
 * underscore, Proxy (httpoxy), hop-by-hop fields and those that Connection names are left out; repeated
 * fields are joined with ", " (Cookie: "; "). *underscored: the last of those names with an underscore, or
 * len 0, so that the caller can warn. False: no room or no memory. */
bool cgi_put_params(struct buf *out, const struct cgi_request *request, struct slice *underscored);

enum { CGI_REASON_MAX = 128 };

/* The header block of an answer. Bytes are those of the block handed in; `fields` are collected in `out`. */
struct cgi_reply {
    uint16_t status;        /* 200 unless Status or Location say otherwise */
    struct slice reason;    /* phrase of Status, a slice of the block; len 0: none */
    int64_t content_length; /* -1: none */
    uint32_t size;          /* bytes of the block with its empty line */
    bool has_date;
    bool has_server;
    const char *error; /* HTTP_BAD: static text */
};

/* Parses data[0..len), the first bytes of an answer's STDOUT, whole each time (it is small). HTTP_DONE:
 * *reply, and the fields that may be passed on (names and values validated; Status, hop-by-hop and
 * Content-Length dropped) are appended to `out` as "Name: value\r\n" lines. Line ends may be CRLF or LF (RFC
 * 3875 6.2). HTTP_MORE: the empty line has not come. HTTP_BAD: reply->error. */
enum http_parse cgi_reply_parse(struct cgi_reply *reply, const char *data, size_t len, struct buf *out);

#endif
