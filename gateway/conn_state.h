/* conn_state.h - what a connection is, and what any of its states may do to it; for the conn_*.c files only.
 *
 * conn.c holds the picture of the states. conn_proxy, conn_head, conn_body read what comes, conn_answer
 * writes what goes; each of their steps returns whether the connection is to go on at once (true) or to wait
 * for an event. A step changes the state through conn_state_move alone; watcher and deadline follow from it.
 */
#ifndef LEANGATE_CONN_STATE_H
#define LEANGATE_CONN_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "conn_pool.h"
#include "list.h"
#include "request.h"
#include "task.h"
#include "timeq.h"

enum conn_state {
    CONN_IDLE,
    CONN_PROXY,
    CONN_WAIT,
    CONN_HEAD,
    CONN_BODY,
    CONN_EXCHANGE,
    CONN_FLUSH,
    CONN_LINGER,
    CONN_CLOSED
};

enum { CONN_READ = 16 * 1024 }; /* one read that may bring bytes of a following request */

/* LINGER: unread input is discarded until none has come for LINGER_MS, for LINGER_MAX at most; for
 * LINGER_HURRY at most where somebody waits for it. Milliseconds. */
enum { LINGER_MS = 5000, LINGER_MAX = 30000, LINGER_HURRY = 2000 };

struct conn {
    ev_io io;
    struct task task;
    struct timeq_entry deadline;
    struct list node; /* in one of the pool's lists */
    struct conn_pool *pool;
    struct request *request;    /* NULL in IDLE, WAIT and LINGER; in PROXY only its `in` is used */
    struct conn_origin *origin; /* a reference */
    double linger_began;        /* LINGER: on timeq_now's clock */
    int armed;                  /* events that `io` waits for */
    uint8_t state;
    double waits;  /* since when its first bytes wait for memory, on timeq_clock's clock; 0: they do not */
    bool readable; /* a read may bring something */
    bool deaf;     /* the kernel does not watch it: nothing would tell of more */
    bool touched;  /* bytes moved since the deadline was set */
    bool unread;   /* input is left that nobody will read */
    bool moved;    /* the state was entered since the deadline was set */
    union client_peer peer;
};

/* Enters a state, and the list of the pool that goes with it. */
void conn_state_move(struct conn *c, enum conn_state state);

/* Reads what there is. 1: *got bytes, 0: nothing now, -1: the client is gone. */
int conn_state_receive(struct conn *c, char *data, size_t size, size_t *got);

/* conn_state_receive() has brought nothing, as `got` says: closes it where the client is gone, or where it is
 * between requests and no more are waited for. Whether to go on at once. */
bool conn_state_nothing(struct conn *c, int got);

/* How much may be read behind a request while it is answered. */
size_t conn_state_spare(const struct conn *c);

/* Its first byte has come: makes the request. False: no memory, the connection is given up. */
bool conn_state_open(struct conn *c);

/* Between two requests nothing is kept: frees the request and waits for a byte. */
void conn_state_rest(struct conn *c);

/* Whether somebody waits until it has lingered: the end of the gateway, or a client that has no place. */
bool conn_state_hurries(const struct conn *c);

/* The request is complete as far as its handler needs it: hands it over. */
void conn_state_dispatch(struct conn *c, const struct handler *handler);

/* Answers with an error. The connection goes on only where the request was whole and nothing was wrong with
 * its form; else what the client still sends is not looked at. `detail` may be NULL. */
void conn_state_refuse(struct conn *c, unsigned status, const char *detail);

/* An exchange is over: its access line, and it counts. */
void conn_state_log(const struct conn *c);

/* The client is gone, or must not be served any longer: its exchange ends without it. */
void conn_state_abandon(struct conn *c);

/* The same where the client is still there: it must see that its answer is not whole, also where only the end
 * of the connection ends it. */
void conn_state_reset(struct conn *c);

/* close() will send a reset: the end of the connection must not look like the end of the answer. On a unix
 * socket, which knows none, it does (HTTP/1.0, no Content-Length). */
void conn_state_close_by_reset(const struct conn *c);

#endif
