/* fcgi_client.h - what a FastCGI application sends back, decoded as it comes (FastCGI specification 1.0).
 *
 * Pure: bytes in, facts out; no sockets, no allocation, nothing is copied. One decoder per connection; one
 * request at a time. */
#ifndef LEANGATE_FCGI_CLIENT_H
#define LEANGATE_FCGI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi_record.h"

enum fcgi_event_type {
    FCGI_EVENT_MORE,       /* nothing left in the data: call again with more */
    FCGI_EVENT_STDOUT,     /* `data`: a piece of the answer */
    FCGI_EVENT_STDOUT_END, /* the empty STDOUT record: the answer is complete */
    FCGI_EVENT_STDERR,     /* `data`: a piece for the log */
    FCGI_EVENT_END,        /* END_REQUEST: `app_status`, `protocol_status` */
    FCGI_EVENT_BAD         /* not FastCGI as we asked for: `reason`; the connection cannot be used further */
};

struct fcgi_event {
    enum fcgi_event_type type;
    const uint8_t *data; /* a slice of what was handed in */
    size_t len;
    uint32_t app_status;
    uint8_t protocol_status; /* FCGI_REQUEST_COMPLETE, _CANT_MPX_CONN, _OVERLOADED, _UNKNOWN_ROLE */
    const char *reason;      /* static text */
};

struct fcgi_client {
    uint16_t id; /* the request that is awaited; 0: none, any request record is an error */
    uint8_t header[FCGI_RECORD_HEADER]; /* of the current record, or END_REQUEST's body */
    uint8_t have;                       /* bytes of `header` that are there */
    uint8_t state;
    uint8_t type;
    bool stdout_ended;
    uint32_t content; /* bytes of the current record still to come; 32 bits: 65535 + 255 overflows 16 */
    uint32_t padding;
};

/* For a connection on which nothing has come yet. */
void fcgi_client_init(struct fcgi_client *c);

/* Expect the answer to request `id` (1 to 65535) from now on. Only between requests. */
void fcgi_client_begin(struct fcgi_client *c, uint16_t id);

/* Takes bytes from data[0..len) until there is one event; returns how many were taken. Call in a loop until
 * FCGI_EVENT_MORE (then all were taken), END or BAD. Management records and unknown types with id 0 are
 * skipped; a record of another id, another version, STDOUT data after its end, or one after END_REQUEST is
 * BAD. END comes when the record's padding was taken too, so that whatever is left in data is the start of
 * another record. */
size_t fcgi_client_next(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event);

#endif
