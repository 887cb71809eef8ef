/* conn.h - one client socket, one state machine: read, parse, dispatch, pump, next or close. */
#ifndef LEANGATE_CONN_H
#define LEANGATE_CONN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "conn_pool.h"

/* Takes over an accepted, non-blocking socket. Keeps a reference to `origin`. False: out of memory, the
 * socket is closed. */
bool conn_accept(struct conn_pool *pool, int fd, const struct sockaddr *peer, socklen_t peer_len,
                 struct conn_origin *origin);

/* Frees it at the last. */
void conn_origin_unref(struct conn_origin *origin);

/* Closes the connection that has been idle longest. False: none is idle. */
bool conn_close_idle(struct conn_pool *pool);

/* From now on each connection ends with its exchange, those that are still to come, too. */
void conn_end_all(struct conn_pool *pool);

/* With pool->draining set: has what is idle closed, unless its next request has come already; with `now`
 * closes everything, whatever it is doing. */
void conn_close_all(struct conn_pool *pool, bool now);

#endif
