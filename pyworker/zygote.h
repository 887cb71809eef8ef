/* zygote.h - the process that has imported the app and is copied for every request (mode fork). It never
 * calls the app and accepts nothing: its copies do, and exactly one of them waits for a connection.
 *
 * Each copy has a channel to it, as it has one to the gateway; zygote.c says what goes over it. */
#ifndef PYWORKER_ZYGOTE_H
#define PYWORKER_ZYGOTE_H

#include <signal.h>
#include <stdbool.h>

#include "core.h"

enum zygote_event {
    ZYGOTE_FORK,   /* a copy is wanted: zygote_fork() */
    ZYGOTE_STOP,   /* told to stop, and all copies have ended */
    ZYGOTE_SIGNAL, /* a handler of Python's may be due */
    ZYGOTE_ERROR   /* errno */
};

/* Seconds that a copy has for its threads and exit functions, after its request. */
enum { ZYGOTE_PATIENCE = 30 };

struct copy;

struct zygote {
    struct core *core;
    struct copy *copies; /* `limit` of them */
    unsigned limit;      /* copies at a time */
    unsigned live;
    int epoll;
    int signals;     /* signalfd: SIGCHLD and SIGTERM */
    sigset_t before; /* the signal mask, for the copies; and what they do at a signal */
    struct sigaction child, term;
    bool paused;  /* forking failed, or a copy ended before it had accepted: not again at once */
    bool without; /* forking has failed since the last copy was made */
    bool awaited; /* the first copy is to tell READY: that its startup went well */
    bool stopping;
    bool failed; /* stopping, since a copy could not start */
};

/* `awaited`: copies have a startup that can fail, so READY is theirs to tell. False: errno. */
bool zygote_open(struct zygote *z, struct core *core, unsigned limit, bool awaited);

/* Waits for what is to be done next; without the GIL. */
enum zygote_event zygote_next(struct zygote *z);

/* Between PyOS_BeforeFork() and PyOS_AfterFork_*(). As fork(); in the copy the core is the copy's own. A
 * failure is tried again by the next ZYGOTE_FORK. */
pid_t zygote_fork(struct zygote *z);

/* Closes what zygote_open() has opened, as far as it came; not the channels of copies. */
void zygote_close(struct zygote *z);

/* In a copy whose request is over: it must end soon, for its place is another's. */
void zygote_limit_end(void);

#endif
