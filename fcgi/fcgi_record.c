/* fcgi_record.c - see fcgi_record.h. The layouts are those of FastCGI specification 1.0,
 * sections 3.3, 3.4, 5.1. */
#include "fcgi_record.h"

#include <fastcgi.h>
#include <string.h>

_Static_assert(FCGI_RECORD_HEADER == sizeof(FCGI_Header), "a header is 8 bytes on the wire");
_Static_assert(FCGI_RECORD_BEGIN == sizeof(FCGI_BeginRequestRecord), "BEGIN_REQUEST is 16 bytes on the wire");
_Static_assert(FCGI_CONTENT_MAX == FCGI_MAX_LENGTH, "contentLength has 16 bits");

enum { SHORT_LENGTH_MAX = 127 }; /* longer ones take four bytes, the first with its high bit set */

void fcgi_put_header(uint8_t out[FCGI_RECORD_HEADER], uint8_t type, uint16_t id, size_t content)
{
    FCGI_Header header = {
        .version = FCGI_VERSION_1,
        .type = type,
        .requestIdB1 = (uint8_t)(id >> 8),
        .requestIdB0 = (uint8_t)id,
        .contentLengthB1 = (uint8_t)(content >> 8),
        .contentLengthB0 = (uint8_t)content,
    };
    memcpy(out, &header, sizeof(header));
}

void fcgi_put_begin(uint8_t out[FCGI_RECORD_BEGIN], uint16_t id, bool keep_conn)
{
    FCGI_BeginRequestBody body = {.roleB0 = FCGI_RESPONDER, .flags = keep_conn ? FCGI_KEEP_CONN : 0};
    fcgi_put_header(out, FCGI_BEGIN_REQUEST, id, sizeof(body));
    memcpy(out + FCGI_RECORD_HEADER, &body, sizeof(body));
}

static size_t put_length(uint8_t *out, size_t length)
{
    if (length <= SHORT_LENGTH_MAX) {
        out[0] = (uint8_t)length;
        return 1;
    }
    out[0] = (uint8_t)(length >> 24 | 0x80);
    out[1] = (uint8_t)(length >> 16);
    out[2] = (uint8_t)(length >> 8);
    out[3] = (uint8_t)length;
    return 4;
}

size_t fcgi_put_lengths(uint8_t out[FCGI_PAIR_LENGTHS_MAX], size_t name, size_t value)
{
    size_t n = put_length(out, name);
    return n + put_length(out + n, value);
}
