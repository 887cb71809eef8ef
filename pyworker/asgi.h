/* asgi.h - an ASGI worker: one thread, one asyncio loop that watches the core's epoll set, a task per
 * request. What the ASGI files share: all is guarded by the GIL, and used by the loop's thread alone. */
#ifndef PYWORKER_ASGI_H
#define PYWORKER_ASGI_H

#include "pyapi.h"

#include <stdbool.h>
#include <stdint.h>

#include "exchange.h"
#include "names.h"

struct call;

/* Keys of scopes and messages, names of methods: made once. */
enum asgi_key {
    KEY_TYPE,
    KEY_ASGI,
    KEY_HTTP_VERSION,
    KEY_METHOD,
    KEY_SCHEME,
    KEY_PATH,
    KEY_ROOT_PATH,
    KEY_RAW_PATH,
    KEY_QUERY_STRING,
    KEY_HEADERS,
    KEY_CLIENT,
    KEY_SERVER,
    KEY_STATE,
    KEY_STATUS,
    KEY_BODY,
    KEY_MORE_BODY,
    KEY_AWAIT,
    KEY_THROW,
    KEY_CLOSE,
    KEY_DONE,
    KEY_SET_RESULT,
    KEY_CANCEL,
    KEYS
};

struct asgi {
    struct worker *worker;
    PyObject *app;
    PyObject *state;        /* of the lifespan; every scope gets a shallow copy */
    PyObject *task_type;    /* asyncio.Task, where create_task() would do no more than call it; or NULL */
    PyObject *task_options; /* its keyword arguments */
    PyObject *create_task;  /* methods of the loop */
    PyObject *create_future;
    PyObject *call_soon;
    PyObject *stop;      /* NULL when the worker serves no more: the loop is run for other things then */
    PyObject *show;      /* asgi.py's: writes the stack of a task */
    PyObject *pause;     /* asgi.py's: asgi_resume() after so many milliseconds */
    PyObject *select;    /* the method of the loop's own selector whose place asgi_select() has; or NULL */
    PyObject *cancelled; /* asyncio.CancelledError */
    PyObject *call_type;
    PyObject *receive_type;
    PyObject *send_type;
    PyObject *base_scope; /* what every scope begins with */
    PyObject *no_body;    /* the message about a body that is over */
    PyObject *key[KEYS];
    struct names headers; /* parameters to names of headers */
    struct call *calls;   /* under way; NULL: none */
    struct call *spare;   /* for the next request */
    struct call *unused;  /* memory of calls that are over, by `next` */
    unsigned unused_count;
    uint8_t *scratch;       /* SCRATCH bytes, for bodies */
    unsigned eager;         /* answers that leave at once, see reply.c */
    bool draining;          /* no request is begun any more */
    bool foreign;           /* the loop's own selector has something, as select() has to tell */
    bool pausing;           /* descriptors were used up: asgi_resume() is due */
    PyObject *interrupt[3]; /* what is to end the worker, and has still to get to the loop; or NULL */
};

/* open(app, loop, state, ready, debug, concurrency, show, pause, cancelled, task): begins to listen, sends
 * `ready`; returns the descriptor that the loop has to watch. */
PyObject *asgi_open(struct worker *w, PyObject *args);

/* What the loop calls when that descriptor is readable. Stops the loop when the worker is to stop and nothing
 * is under way. */
PyObject *asgi_poll(struct worker *w);

PyObject *asgi_resume(struct worker *w);

/* wait(select, selector): from now on asgi_select() has the place of this method of the loop's selector,
 * whose epoll set has this descriptor; the loop does not watch the core's then. */
PyObject *asgi_wait(struct worker *w, PyObject *args);

/* As the select() of a selector; requests that have come are tasks when it returns. */
PyObject *asgi_select(struct worker *w, PyObject *timeout);

/* In a copy of a process that has made an asyncio loop: new descriptors in the place of those that it shares
 * with it, which are the loop's epoll set and both ends of the socket pair that wakes it. False: errno. */
bool asgi_renew(int set, int receiver, int sender);

/* left(error): the loop has ended by this exception; a child that the app has forked ends by it, too. What is
 * under way may be run on, and does not stop the loop any more. */
PyObject *asgi_left(struct worker *w, PyObject *error);

/* Closes all connections and the listening socket. */
PyObject *asgi_close(struct worker *w);

/* The task of a coroutine; NULL with an exception. */
PyObject *asgi_task(struct asgi *a, PyObject *coroutine);

/* The last request may be over: stops the loop then. */
void asgi_rest(struct asgi *a);

/* An exception is set, of Python code that we call, where a signal handler of the app may raise. If it is one
 * that is to end the worker it is kept, to go through the loop when that waits next; else false. */
bool asgi_interrupted(struct asgi *a);

/* Sets the exception that was kept; false: there is none. */
bool asgi_raise(struct asgi *a);

#endif
