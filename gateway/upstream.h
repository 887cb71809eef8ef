/* upstream.h - one FastCGI connection to a worker: a slot, which serves one request at a time.
 *
 * It sets its own state and result, links itself into its owner's list of finished ones and wakes the owner's
 * task, which looks. It never calls upwards. */
#ifndef LEANGATE_UPSTREAM_H
#define LEANGATE_UPSTREAM_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "config.h"
#include "fcgi_client.h"
#include "list.h"
#include "net.h"
#include "request.h"
#include "task.h"
#include "timeq.h"

/* What a connection is to its server. */
enum upstream_link {
    UPSTREAM_KEPT,   /* goes on after a request */
    UPSTREAM_TASK,   /* likewise, and a request can be cancelled alone */
    UPSTREAM_SINGLE, /* one request each, over with END_REQUEST */
    UPSTREAM_COPY    /* one request each, to a process of its own, whose end is the connection's */
};

enum upstream_state {
    UPSTREAM_CLOSED, /* not connected */
    UPSTREAM_FREE,   /* connected and kept, nothing under way */
    UPSTREAM_BUSY,   /* serves `request` */
    UPSTREAM_TAIL, /* the client has its answer; the worker still works until END_REQUEST, and no timeout runs
                    */
    UPSTREAM_ORPHAN /* the client left; what comes is discarded until the worker is done */
};

enum upstream_result {
    UPSTREAM_NOTHING,    /* nothing to look at */
    UPSTREAM_DONE,       /* the slot is free again */
    UPSTREAM_OVERLOADED, /* the worker did not begin: `request` is to be sent elsewhere */
    UPSTREAM_UNREACHED,  /* likewise, for no byte of it could be sent: `error` */
    UPSTREAM_DIED,       /* the connection ended before the answer; `request` is set unless the client left */
    UPSTREAM_BROKEN,     /* the worker does not speak FastCGI: likewise */
    UPSTREAM_TIMEOUT,    /* request_timeout or stream_timeout: likewise */
    UPSTREAM_HUNG,       /* a COPY or TASK that was given up did not end within stop_timeout */
    UPSTREAM_SLOW        /* `request` goes on: it has had no head for `slow`, `slow_told` times */
};

/* What an upstream needs to know of its owner. */
struct upstream_owner {
    struct ev_loop *loop;
    const struct conf *conf;
    const struct conf_app *app;
    const struct net_address *address;
    struct list *done; /* results are linked here */
    struct task *task; /* and this is woken */
};

struct upstream {
    struct list node; /* the worker's list of slots */
    struct list done; /* linked while `result` waits to be looked at */
    struct upstream_owner owner;
    enum upstream_state state;
    enum upstream_result result;
    enum upstream_link link;
    const char *reason; /* BROKEN: static text */
    int error;          /* UNREACHED: an errno */
    struct request *request;
    uint16_t id;
    uint8_t slow_told; /* how often SLOW was said of the request */
    bool ignored;      /* the request does not keep the worker awake */

    /* private */
    int fd;
    ev_io io;
    int armed; /* events that `io` waits for */
    struct task task;
    struct timeq_entry deadline;
    struct fcgi_client decoder;
    struct buf send;       /* records to write */
    uint32_t sent;         /* bytes of `send` that went out */
    uint32_t stderr_bytes; /* logged for this request */
    uint32_t discarded;    /* bytes of an orphan's answer */
    struct buf head;       /* the answer's first bytes, while its header block is incomplete */
    bool body_sent;        /* the empty STDIN record is in `send` or out */
    bool delivered;        /* a byte of the request went out: the worker may have begun it */
    bool cut;              /* not all of the body was sent: the connection cannot be kept */
    bool ready;            /* the worker is READY: the request's clock runs */
    bool readable;         /* a read may bring something */
    bool doomed;           /* a COPY that was given up: only its end is waited for */
    bool paused;           /* not read from: the client is slower */
};

/* A closed slot with request id `id`; NULL when out of memory. */
struct upstream *upstream_new(const struct upstream_owner *owner, uint16_t id, enum upstream_link link);

/* Closes and frees it. It has no request any more. */
void upstream_free(struct upstream *up);

/* Gives the request to this slot (CLOSED or FREE) and writes as much as goes. 0, or -1 with errno: EAGAIN
 * when the worker's backlog is full, else the worker cannot be reached or there is no memory; the request is
 * untouched then. */
int upstream_start(struct upstream *up, struct request *r, bool ready);

/* The worker became READY and told what its connections are: request_timeout counts from now. */
void upstream_set_ready(struct upstream *up, enum upstream_link link);

/* The client has taken what there was: go on reading. */
void upstream_resume(struct upstream *up);

/* The client left: BUSY becomes ORPHAN, `request` is dropped. */
void upstream_orphan(struct upstream *up);

/* The worker's process has ended: reads what is left, then the connection counts as ended whoever may hold
 * it. */
void upstream_drain(struct upstream *up);

/* Takes the result, which is NOTHING afterwards. */
enum upstream_result upstream_take_result(struct upstream *up);

#endif
