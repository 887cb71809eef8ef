/* threads.h - the threads of a WSGI worker: which one waits for the next request, which ones serve.
 *
 * One of them, the leader, waits in core_next(). Requests that do not overlap are all served by the thread
 * that imported the app; others begin to help when it stays inside the app for longer than a moment. */
#ifndef PYWORKER_THREADS_H
#define PYWORKER_THREADS_H

#include <pthread.h>
#include <stdbool.h>

#include "core.h"

struct exchange;
struct worker;

struct threads {
    struct worker *worker;
    unsigned limit;          /* that may be inside the app at once */
    struct exchange *own;    /* the importing thread's; its alone */
    int wake;                /* eventfd on which it waits while another one leads */
    int error;               /* errno of CORE_ERROR */
    pthread_mutex_t lock;    /* of all below */
    pthread_cond_t parked;   /* where helpers wait until one is needed */
    pthread_cond_t finished; /* a thread has left the app or core_next() */
    unsigned helpers;        /* threads besides the importing one */
    unsigned waiting;        /* of them on `parked` */
    unsigned serving;        /* threads inside the app */
    unsigned long begun;     /* requests, ever */
    bool leading;            /* a thread is in core_next() */
    bool guarding;           /* a helper watches, see threads.c */
    bool guard_wanted;       /* one of the parked ones is to watch */
    bool inside;             /* the importing thread is inside the app */
    unsigned long turn;      /* its requests, ever */
    struct exchange *handed; /* a request that another thread took for it, or NULL */
    bool ended;              /* `end` says why nothing more is taken */
    enum core_event end;
    bool interrupted; /* a helper's request ended with KeyboardInterrupt */
};

/* Makes ready for `limit` requests at a time. False: errno. */
bool threads_open(struct threads *t, struct worker *w, unsigned limit);

/* For the importing thread, without the GIL: its next event. CORE_REQUEST: in `own`. CORE_ERROR: errno. */
enum core_event threads_next(struct threads *t);

/* The app is done with this exchange, and END_REQUEST comes next: whoever sends a request after that finds
 * the importing thread free. */
void threads_done(struct threads *t, const struct exchange *x);

/* Begins nothing more, refuses what has come and what the importing thread has not taken, and waits for the
 * helpers to leave the app; without the GIL. */
void threads_finish(struct threads *t);

#endif
