/* upstream_state.h - what a slot is, and what whoever works for it may do to it; for the files upstream*.c,
 * which divide its work, and for its owner, who looks.
 *
 *   upstream.c --- what has come on the connection ---> upstream_answer.c */
#ifndef LEANGATE_UPSTREAM_STATE_H
#define LEANGATE_UPSTREAM_STATE_H

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

enum {
    STACKS_MS = 100 /* what a process that is to be killed has to write its stacks */
};

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
    UPSTREAM_TAIL,   /* the client has its answer; the worker works on until END_REQUEST, without a timeout */
    UPSTREAM_ORPHAN, /* the client left; what comes is discarded until the worker is done */
    UPSTREAM_DOOMED  /* a COPY or TASK that was given up: only its end is waited for */
};

enum upstream_result {
    UPSTREAM_NOTHING,    /* nothing to look at */
    UPSTREAM_DONE,       /* the slot is free again */
    UPSTREAM_OVERLOADED, /* the worker did not begin: `request` is to be sent elsewhere */
    UPSTREAM_UNREACHED,  /* likewise, for no byte of it could be sent: `error` */
    UPSTREAM_DIED,       /* the connection ended before the answer; `request` is set unless the client left */
    UPSTREAM_BROKEN,     /* the worker does not speak FastCGI: likewise */
    UPSTREAM_TIMEOUT,    /* request_timeout or stream_timeout: likewise */
    UPSTREAM_DUE,        /* a COPY that was given up at a TIMEOUT has had STACKS_MS: it is to be killed */
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
    bool hung_up;          /* by us: its end is there to be read, though nothing may tell of it */
    bool paused;           /* not read from: the client is slower */
    bool spared;           /* DOOMED, and UPSTREAM_DUE is yet to be told */
};

/* The slot and its request know nothing of each other any more; nothing to do where there is none. */
static inline void upstream_detach(struct upstream *up)
{
    if (up->request != NULL)
        up->request->up = NULL;
    up->request = NULL;
}

/* Whether the connection goes on after a request. */
bool upstream_goes_on(const struct upstream *up);

/* Whether something is to be written. */
bool upstream_sending(const struct upstream *up);

/* What was not written yet never is: the connection ends with its request. */
void upstream_send_no_more(struct upstream *up);

/* The one place that arms and disarms its watcher: derived from the state alone. */
void upstream_update(struct upstream *up);

/* (Re)starts the clock that fits the state. */
void upstream_watch_clock(struct upstream *up);

/* Whether a request without a head is said to be slow before its time is over: after `slow`, and at twice
 * that. */
bool upstream_will_be_slow(const struct upstream *up);

/* Empties a buffer; a large one, and any while memory is short, is given back. */
void upstream_empty(const struct upstream *up, struct buf *b);

/* Has the owner look at a result. */
void upstream_tell(struct upstream *up, enum upstream_result result);

/* The connection's current request is over in one way or another; `next` is CLOSED, FREE or DOOMED. */
void upstream_settle(struct upstream *up, enum upstream_state next, enum upstream_result result);

/* It did not do what it should. The owner kills a COPY and cancels a TASK by the number of its slot, so that
 * is free only when it has ended. */
void upstream_give_up(struct upstream *up, enum upstream_result result);

/* The request has its whole answer, or an error page: the slot goes on without it. */
void upstream_release(struct upstream *up, enum upstream_state next);

/* The client left: BUSY becomes ORPHAN, `request` is dropped. */
void upstream_orphan(struct upstream *up);

#endif
