/* conn.h - one client socket, one state machine: read, parse, dispatch, pump, next or close. */
#ifndef LEANGATE_CONN_H
#define LEANGATE_CONN_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "app.h"
#include "config.h"
#include "forwarded.h"
#include "list.h"
#include "net.h"
#include "router.h"
#include "task.h"

/* What all connections share. */
struct conn_pool {
    struct ev_loop *loop;
    const struct conf *conf;
    const struct router *router;
    const struct forwarded *forwarded; /* whom and what to believe about clients */
    struct app **apps;                 /* one a configured app; NULL until its first request */
    struct app_shared *app_shared;
    struct list idle;    /* connections between requests, the longest idle one first */
    struct list waiting; /* connections with a new head, while [limits] buffers is used up */
    struct list active;  /* all others */
    uint32_t count;
    bool draining;       /* no connection outlives its exchange */
    struct task *closed; /* woken when a connection is gone */
};

/* Where a connection came in. */
struct conn_origin {
    char address[NET_ADDRESS_MAX];
    char port[8];
};

/* Takes over an accepted, non-blocking socket. `origin` outlives the connection. False: out of memory, the
 * socket is closed. */
bool conn_accept(struct conn_pool *pool, int fd, const struct sockaddr *peer, socklen_t peer_len,
                 const struct conn_origin *origin);

/* Closes the connection that has been idle longest. False: none is idle. */
bool conn_close_idle(struct conn_pool *pool);

/* With pool->draining set: has what is idle closed, unless its next request has come already; with `now`
 * closes everything, whatever it is doing. */
void conn_close_all(struct conn_pool *pool, bool now);

#endif
