/* conn_pool.h - what all connections share. */
#ifndef LEANGATE_CONN_POOL_H
#define LEANGATE_CONN_POOL_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "app.h"
#include "config.h"
#include "forwarded.h"
#include "list.h"
#include "net.h"
#include "router.h"
#include "status.h"
#include "task.h"

struct conn_pool {
    struct ev_loop *loop;
    struct conf *conf; /* a reference; these four change together */
    struct router *router;
    struct forwarded *forwarded; /* whom and what to believe about clients */
    struct app **apps;           /* one a configured app; NULL until its first request */
    struct app_shared *app_shared;
    const struct status_facts *facts; /* what the gateway can tell about itself */
    struct list idle;                 /* connections between requests, the longest idle one first */
    struct list waiting;              /* connections with a new head, while [limits] buffers is used up */
    struct list lingering;            /* connections that have their answer, and still send */
    struct list active;               /* all others */
    uint64_t requests;                /* exchanges that are over */
    uint32_t count;
    uint32_t made;       /* connections so far; may wrap */
    uint32_t limit;      /* of count */
    bool inside;         /* the status listener's: it tells about the gateway, and no app is reached here */
    bool ending;         /* no connection outlives its exchange: a signal or idle_exit has begun the end */
    bool draining;       /* nor waits for one */
    struct task *closed; /* woken when a connection is gone */
};

/* The app, which is made when it is first asked for; NULL: no memory for it. */
static inline struct app *conn_pool_app(struct conn_pool *pool, uint32_t index)
{
    if (pool->apps[index] == NULL)
        pool->apps[index] = app_new(pool->app_shared, pool->conf, &pool->conf->apps[index], NULL);
    return pool->apps[index];
}

/* Where connections came in: the listener's, and of each of its connections, which may outlive it. */
struct conn_origin {
    uint32_t refs;
    char address[NET_ADDRESS_MAX];
    char port[8];
};

#endif
