/* record.h - FastCGI records: writing them, and judging what a peer has sent before libfcgi sees it.
 * Pure: bytes in, facts or bytes out. Types and codes are those of <fastcgi.h>. */
#ifndef PYWORKER_RECORD_H
#define PYWORKER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORD_HEADER = 8,
    RECORD_END = 16,            /* a whole END_REQUEST record */
    RECORD_CONTENT_MAX = 65535, /* content of one record */
    RECORD_REPLY_MAX = 72       /* the longest answer to a management record */
};

/* Write a record's header, with no padding, and a whole END_REQUEST. */
void record_put_header(uint8_t out[RECORD_HEADER], uint8_t type, uint16_t id, size_t content);
void record_put_end(uint8_t out[RECORD_END], uint16_t id, uint32_t app_status, uint8_t protocol_status);

/* How many bytes follow a header; *last: whether it ends the parameters. */
size_t record_rest(const uint8_t header[RECORD_HEADER], bool *last);

enum message_kind {
    MESSAGE_MORE,       /* the head (BEGIN to the empty PARAMS), or a management record, is not all there */
    MESSAGE_REQUEST,    /* a head is there */
    MESSAGE_MANAGEMENT, /* a management record is there */
    MESSAGE_BAD         /* not FastCGI 1, or out of order: close the connection */
};

struct message {
    uint16_t id; /* id and role: as soon as BEGIN is there, else id is 0 */
    uint16_t role;
    bool whole;  /* REQUEST: everything to the empty STDIN is there */
    size_t head; /* REQUEST: of BEGIN to the empty PARAMS, in bytes */
    size_t len;  /* MANAGEMENT: of the record; REQUEST and whole: of the request; in bytes */
};

/* Judges the bytes at the start of a message. */
enum message_kind message_inspect(const uint8_t *data, size_t len, struct message *m);

/* The answer to one whole management record; returns its length. `conns`, `requests`: at most 99999. */
size_t message_reply(const uint8_t *record, size_t len, unsigned conns, unsigned requests,
                     uint8_t out[RECORD_REPLY_MAX]);

#endif
