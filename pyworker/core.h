/* core.h - what a worker waits for: one epoll set over the listening socket, the control channel, SIGTERM and
 * every connection. Plain C, nothing here needs the GIL.
 *
 * One thread at a time may be in core_next(); any thread that has a request may be in core_end(). */
#ifndef PYWORKER_CORE_H
#define PYWORKER_CORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "preset.h"

struct conn {
    uint32_t
        generation; /* counts the connections that had this descriptor: an old event is not the new one's */
    bool open;
    bool busy;   /* a request has it: what happens to it now is looked at when that request ends */
    bool missed; /* something has happened */
};

struct core {
    int epoll;
    int listener;      /* -1 until core_open() */
    int control;       /* the control channel, or -1 */
    int wake;          /* eventfd that the SIGTERM handler writes */
    unsigned requests; /* at a time, as FCGI_MAX_REQS tells */
    bool guarded;      /* there is a gateway: a unix peer must be trusted */
    bool single;       /* a copy of a zygote: one connection, then the end */
    uint8_t *peek;     /* CONN_PEEK_MAX bytes, of the thread in core_next() */

    /* Guarded by the lock from core_open() on. */
    pthread_mutex_t lock;
    bool stopping;
    bool listening; /* the listener is in the epoll set: not while descriptors or `conns` are used up */
    bool is_unix;
    uid_t gateway_uid;  /* who may connect, besides root and ourselves */
    struct conn *conns; /* by descriptor */
    size_t conns_size;
    unsigned open;  /* connections */
    unsigned limit; /* of them */
};

enum core_event {
    CORE_REQUEST, /* `request` has begun */
    CORE_STOP,    /* the gateway said so, or is gone, or SIGTERM */
    CORE_SIGNAL,  /* a handler of Python's may be due */
    CORE_ERROR    /* errno */
};

void core_init(struct core *core);

/* The two steps of inherit.h. core_take_listener: false: errno. */
void core_take_control(struct core *core);
bool core_take_listener(struct core *core, int listener);

/* In a copy of a zygote: `control` is the channel to it, which hears ACCEPTED when the one connection is
 * made.
 */
void core_become_copy(struct core *core, int control);

/* Makes SIGTERM a request to stop, unless the app has its own handler, and begins to listen, for `requests`
 * at a time. False: errno. */
bool core_open(struct core *core, unsigned requests);

/* Waits for the next event. */
enum core_event core_next(struct core *core, struct preset *request);

/* Makes core_next() return CORE_STOP in the thread that waits there. */
void core_wake(const struct core *core);

/* Whether this process is a child that the app has forked, to which nothing of the core belongs. */
bool core_is_child(void);

/* Ends a request; the connection stays in the set or is closed. */
void core_end(struct core *core, struct preset *request, bool keep);

/* Refuses what has arrived but was not begun, so that the gateway can send it elsewhere, and closes
 * everything but the control channel. No request may be under way. */
void core_close(struct core *core);

#endif
