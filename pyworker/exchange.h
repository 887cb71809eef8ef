/* exchange.h - one request with its answer, and the worker that serves it: what the files that
 * serve requests share. */
#ifndef PYWORKER_EXCHANGE_H
#define PYWORKER_EXCHANGE_H

#include "pyapi.h"

#include <stdbool.h>
#include <time.h>

#include "buffer.h"
#include "core.h"
#include "names.h"
#include "preset.h"
#include "threads.h"

struct asgi;
struct worker;

enum { EXCHANGE_PENDING_MAX = 1 << 20 }; /* bytes; a longer head of an answer is a mistake */

/* All of it is guarded by the GIL, but for `request` while core_next() fills it in. */
struct exchange {
    struct worker *worker;
    struct preset request;
    bool busy;   /* a thread works on the connection without the GIL */
    bool broken; /* the peer is gone: nothing can be written any more */
    bool torn;   /* it is broken since a signal handler has raised in the middle of a write */

    /* the body */
    long long length; /* CONTENT_LENGTH, or -1 */
    long long taken;  /* bytes of it that the app has read */

    /* the answer */
    struct buffer pending; /* the head without its empty line; once `committed` what waits to be written */
    unsigned status;       /* 0: start_response was not called */
    long long declared;    /* Content-Length, or -1 */
    long long produced;    /* bytes of body */
    bool head_only;        /* HEAD: the body is dropped */
    bool committed;        /* the head is complete */
    bool on_wire;          /* some of it was written: it cannot be taken back */
    bool ended;            /* the empty STDOUT record was written */
};

/* Whether an answer with this status never has a body. */
static inline bool exchange_is_bodyless(unsigned status)
{
    return status == 204 || status == 304;
}

/* The per-module state. */
struct worker {
    struct core core;
    struct threads threads;
    struct names names;
    struct asgi *asgi; /* NULL: serves another kind */
    /* one request. False: KeyboardInterrupt is set, the worker has to end */
    bool (*serve)(struct exchange *x);
    PyObject *app;          /* what `serve` serves it with */
    PyObject *base_environ; /* what every environ begins with */
    PyObject *input_type;
    PyObject *responder_type;
    PyObject *file_wrapper_type;
    PyObject *buffered_reader_type; /* io's own, to know a plain file by */
    PyObject *raw_file_type;
    /* Interned once and kept: interned anew by each request they would make CPython's table of them grow. */
    PyObject *close_name;
    PyObject *input_name;
    PyObject *errors_name;
    PyObject *sources;                       /* --reload: a Sources object of reload.py, or NULL */
    bool (*serve_fresh)(struct exchange *x); /* as `serve`, which looks at the sources first */
    time_t looked;                           /* at them, on the monotonic clock */
    bool stale;                              /* they have changed */
    bool started;                            /* a request was served: the start is over */
    bool debug;                              /* tracebacks go to the client too */
};

/* A new exchange with no request; NULL when out of memory. Needs no GIL. */
struct exchange *exchange_new(struct worker *w);
void exchange_free(struct exchange *x); /* NULL is allowed */

/* A part that works on the connection without the GIL. `x` is NULL for a handle whose request is over. False:
 * an exception is set. */
bool exchange_enter(struct exchange *x);
void exchange_leave(struct exchange *x);

/* Enters as soon as a thread of the app that is inside has left: the request must not go away under it. */
void exchange_claim(struct exchange *x);

/* Ends a request that has not got to the app, by FCGI_OVERLOADED: it can be sent elsewhere. Needs no GIL. */
void exchange_refuse(struct exchange *x);

/* Whether the connection can have another request after this one, whose body is `drained` or not. If not, its
 * direction to us is shut now, before the peer can believe that it may go on: what that sends then fails, and
 * is not lost. Needs no GIL. */
bool exchange_keep_or_shut(const struct exchange *x, bool drained);

/* In a child that the app forked and that came back from it: ends as a worker does, with the exception that
 * is set unless `done`; the request is its parent's to answer. Elsewhere does nothing. */
void exchange_end_child(bool done);

/* Whether the exception that is set only says that the client is gone, or came of that. */
bool exchange_was_left(const struct exchange *x);

/* Writes the exception to sys.stderr, with what was asked for, through sys.excepthook; none is set
 * afterwards. If `text` is not NULL it gets the traceback as bytes (a new reference) or NULL. */
void exchange_log(struct exchange *x, PyObject **text);

/* Writes "pyworker: GET '/path': text" to sys.stderr. */
void exchange_note(const struct exchange *x, const char *text);

#endif
