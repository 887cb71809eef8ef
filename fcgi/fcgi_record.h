/* fcgi_record.h - writing FastCGI records (FastCGI specification 1.0, section 3.3): bytes out, nothing else.
 */
#ifndef LEANGATE_FCGI_RECORD_H
#define LEANGATE_FCGI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FCGI_RECORD_HEADER = 8,
    FCGI_RECORD_BEGIN = 16,   /* a whole BEGIN_REQUEST record */
    FCGI_CONTENT_MAX = 65535, /* content of one record */
    FCGI_PAIR_LENGTHS_MAX = 8 /* bytes before the name of a name-value pair, at most */
};

/* Writes a record header: `type` as in <fastcgi.h>, request id, content length (<= FCGI_CONTENT_MAX), padding
 * 0. */
void fcgi_put_header(uint8_t out[FCGI_RECORD_HEADER], uint8_t type, uint16_t id, size_t content);

/* Writes a whole BEGIN_REQUEST record for the role RESPONDER. */
void fcgi_put_begin(uint8_t out[FCGI_RECORD_BEGIN], uint16_t id, bool keep_conn);

/* Writes the two lengths of a name-value pair (section 3.4); returns how many bytes, 2 to 8. Lengths below
 * 2^31. */
size_t fcgi_put_lengths(uint8_t out[FCGI_PAIR_LENGTHS_MAX], size_t name, size_t value);

#endif
