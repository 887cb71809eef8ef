/* waiter.h - what it takes to wait in an asyncio task for something to happen to a connection. */
#ifndef PYWORKER_WAITER_H
#define PYWORKER_WAITER_H

#include "pyapi.h"

#include <stdbool.h>

struct call;

struct waiter {
    struct waiter *next; /* in call->waiters */
    struct call *call;   /* NULL: does not wait */
    PyObject *future;
    PyObject *steps; /* the future's own iterator */
    bool for_room;
};

/* Begins to wait, for room to write or else for input and news. Returns what the coroutine has to yield; NULL
 * with an exception. */
PyObject *waiter_begin(struct waiter *w, struct call *c, bool for_room);

/* Goes on where waiter_begin() has yielded: 1: the wait is over; 0: `yielded` is to be yielded again; -1: an
 * exception is set. */
int waiter_resume(struct waiter *w, PyObject **yielded);

/* Does not wait any more; allowed if it does not. */
void waiter_end(struct waiter *w);

/* Ends the waits of a call. */
void waiter_wake_room(struct call *c);
void waiter_wake_news(struct call *c);

#endif
