/* conn.h - one connection, from what it holds to a request that has begun or is refused. Knows of no other
 * connection. */
#ifndef PYWORKER_CONN_H
#define PYWORKER_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "preset.h"

enum {
    CONN_MAX = 1024,      /* open at a time; what FCGI_MAX_CONNS tells */
    CONN_PEEK_MAX = 16384 /* bytes of a head that are waited for before it is taken as it comes.
                             Not more: poll() lets a peer write to a unix socket only while less than about 23
                             small writes are unread */
};

enum conn_state {
    CONN_WAITS,   /* not enough is there; more will be an event */
    CONN_BEGUN,   /* a request has begun */
    CONN_USELESS, /* to be closed */
    CONN_CLOSED   /* it is closed already */
};

/* Answers management records and begins a request. A head that is incomplete is waited for without reading
 * it, up to CONN_PEEK_MAX bytes; then it is read, waiting for each piece at most as long as peer.c says.
 * `peek`: that many bytes of scratch. `requests`: what FCGI_MAX_REQS tells. `waits`: reads of a body that is
 * not all here will wait for it. */
enum conn_state conn_begin(int fd, uint8_t *peek, unsigned requests, bool waits, struct preset *request);

/* Lets nothing more in and refuses a request that is there, so that it can be sent elsewhere. The caller
 * closes. */
void conn_refuse(int fd, uint8_t *peek);

#endif
