/* call.h - one request of an ASGI app: the coroutine that its task runs, and what receive() and send() share.
 *
 * It is a Python object, since an app may keep receive and send; after the end of the request they only find
 * `over`. */
#ifndef PYWORKER_CALL_H
#define PYWORKER_CALL_H

#include "pyapi.h"

#include <stdbool.h>
#include <time.h>

#include "exchange.h"
#include "output.h"
#include "waiter.h"

struct asgi;

struct call {
    PyObject_HEAD
    struct asgi *asgi;
    struct exchange x; /* broken: the peer is gone */
    struct call *next; /* in asgi->calls */
    struct call *previous;
    PyObject *task;
    PyObject *coroutine; /* what the app returned */
    PyObject *steps;     /* its iterator */
    PyObject *error[3];  /* to be raised when the request has ended */
    struct waiter waiter;
    struct waiter *waiters; /* all who wait for this connection */
    bool cancelled;         /* by the gateway */
    bool running;           /* code of the app's, by the call's own task */
    bool returned;          /* the app has, or has raised */
    unsigned app_status;    /* to end with, then */
    bool over;              /* the connection is not ours any more */

    /* the body */
    bool body_over;   /* nothing more will come */
    bool body_broken; /* nor was it whole */

    /* the answer, see reply.c */
    bool complete; /* the app has sent all of it */
    bool held;     /* so far it waits for the app to return */
    bool timed;    /* `completed` says since when the app goes on behind its answer */
    struct timespec completed;
    time_t unheard_since; /* of the first message after the client had left, CLOCK_MONOTONIC; or 0 */
    bool told;            /* by an OSError that the client has left */
    bool writing;         /* `output` waits for room */
    bool closing;         /* END_REQUEST is in it */
    bool keep;            /* the connection may have another request */
    struct output output;
    PyObject *body; /* of which `output` has a part */
};

/* A call without a request; NULL with an exception. */
struct call *call_new(struct asgi *a);

/* The request has begun: makes its task. */
void call_begin(struct call *c);

/* Events (epoll's) of its connection. */
void call_event(struct call *c, uint32_t events);

/* Closes the connection, whatever state the answer is in. */
void call_abandon(struct call *c);

/* The type, for asgi_open(); NULL with an exception. */
PyObject *call_type(void);

#endif
