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
#include <sys/epoll.h>
#include <sys/types.h>

#include "preset.h"

enum { CORE_BATCH = 64 }; /* events at a time; more are taken at the next turn of the loop */

struct conn {
    /* counts the connections that had this descriptor: an old event is not the new one's */
    uint32_t generation;
    bool open;
    bool busy;   /* a request has it: what happens to it now is looked at when that request ends */
    bool missed; /* something has happened */
    bool waits;  /* something has come, but core_poll() may not begin a request more */
    void *owner; /* of the request, who is told what happens meanwhile; or NULL */
};

struct core {
    int epoll;
    int listener;      /* -1 until core_open() */
    int control;       /* the control channel, or -1 */
    int wake;          /* eventfd that the SIGTERM handler writes */
    int foreign;       /* of core_watch(), or -1 */
    unsigned requests; /* at a time, as FCGI_MAX_REQS tells */
    bool guarded;      /* there is a gateway: a unix peer must be trusted */
    bool single;       /* a copy of a zygote: one connection, then the end */
    bool told_ready;   /* what goes wrong from now on is no failed start */
    bool awaited;      /* a copy that has READY to tell when it has started, itself and to its zygote */
    int gateway;       /* of such a copy: the channel to the gateway, or -1 */
    uint8_t *peek;     /* CONN_PEEK_MAX bytes, of the thread in core_next(); in the end of who has the lock */
    bool polled;       /* core_poll() is used, not core_next() */
    bool draining;     /* core_drain() was called */
    struct epoll_event ready[CORE_BATCH]; /* of core_poll(), what is still to be looked at */
    int ready_next, ready_count;
    size_t turn; /* the descriptor that was let in last: let_one_in() searches on behind it */

    /* Guarded by the lock from core_open() on. */
    pthread_mutex_t lock;
    bool stopping;
    bool listening; /* the listener is in the epoll set: not while descriptors or `conns` are used up */
    bool is_unix;
    uid_t gateway_uid;  /* who may connect, besides root and ourselves */
    struct conn *conns; /* by descriptor */
    size_t conns_size;
    unsigned open;    /* connections */
    unsigned limit;   /* of them */
    unsigned serving; /* of them with a request */
    unsigned waiting; /* of them with one that may not begin */
};

enum core_event {
    CORE_NOTHING, /* core_poll() has no more now */
    CORE_REQUEST, /* `request` has begun */
    CORE_PEER,    /* `events` of the connection of `owner` */
    CORE_CANCEL,  /* the gateway wants the request of `slot` to end */
    CORE_STACK,   /* the gateway wants to know where the request of `slot` is */
    CORE_FOREIGN, /* what core_watch() was given is readable */
    CORE_STOP,    /* the gateway said so, or is gone, or SIGTERM */
    CORE_SIGNAL,  /* a handler of Python's may be due */
    CORE_ERROR    /* errno */
};

struct core_news {
    void *owner;
    uint32_t events; /* epoll's */
    uint16_t slot;
};

void core_init(struct core *core);

/* The two steps of inherit.h. core_take_listener: false: errno. */
void core_take_control(struct core *core);
bool core_take_listener(struct core *core, int listener);

/* In a copy of a zygote. `control` is the channel to it; it hears ACCEPTED when the connection is made. */
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

/* --- for one thread with a loop of its own, which watches `epoll` or waits in core_wait() (then: call
 * core_poll() until there is nothing). Bodies are read by upload.h, and further requests wait while as many
 * as core_open() was told are under way. */

/* The next event, without waiting; CORE_NOTHING: let the loop go on, even if more is there by now. */
enum core_event core_poll(struct core *core, struct preset *request, struct core_news *news);

/* core_wait() shall end, and CORE_FOREIGN be told, whenever this descriptor is readable. False: errno. */
bool core_watch(struct core *core, int fd);

/* Waits until core_poll() has something, so many milliseconds at most, -1: without limit. False: errno. */
bool core_wait(struct core *core, int ms);

/* From now on `told`, as news->owner, is told what happens to this connection, until core_end(). */
void core_own(struct core *core, int fd, void *told);

/* The owner is told, by EPOLLOUT, as soon as the connection takes more. False: errno. */
bool core_want_room(struct core *core, int fd);

/* Tries to listen again if descriptors were used up. Returns after how many milliseconds to try once more, or
 * -1. */
int core_pause(struct core *core);

/* Begins nothing any more, and refuses what comes, while core_poll() goes on for what is under way. */
void core_drain(struct core *core);

/* --- for both */

/* In a copy: tells the zygote the id of its request, by which it may be told to KILL it. Elsewhere does
 * nothing. */
void core_tell_slot(const struct core *core, uint16_t id);

/* Ends a request; the connection stays in the set or is closed. */
void core_end(struct core *core, struct preset *request, bool keep);

/* Refuses what has arrived but was not begun, so that the gateway can send it elsewhere, and what comes to a
 * connection with a request before that ends. Nobody may be in core_next(), now or later. */
void core_refuse(struct core *core);

/* Does the same and closes everything but the control channel. No request may be under way. */
void core_close(struct core *core);

#endif
