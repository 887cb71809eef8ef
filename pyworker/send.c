/* send.c - send() of an ASGI app. It is over when its message is on its way: who sends faster than the client
 * reads is slowed down to that.
 *
 * To a client that has left it does nothing, as with other servers: what comes behind an answer (the commit
 * of a transaction, a task in the background) is to be done, and not to become an error. Each such message
 * takes a turn of the loop, in which others may hear of http.disconnect and end the stream. A stream that has
 * nobody who does that gets an OSError after a while, or it might never end. */
#include <time.h>

#include "asgi.h"
#include "awaitable.h"
#include "reply.h"

enum { UNHEARD_S = 1 };

/* The client has left. As go_on(). */
static int drop(struct awaitable *a)
{
    struct call *c = a->call;
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    if (c->unheard_since == 0)
        c->unheard_since = now.tv_sec;
    if (now.tv_sec - c->unheard_since > UNHEARD_S) {
        c->told = true;
        PyErr_SetString(PyExc_BrokenPipeError, "the client is gone");
        return -1;
    }
    return 1;
}

/* Does what can be done now. 1: it is over; 0: it has to wait for room; -1: an exception is set. */
static int go_on(struct awaitable *a)
{
    struct call *c = a->call;

    if (c->over || c->returned) {
        PyErr_SetString(PyExc_RuntimeError, "send(): the request is over");
        return -1;
    }
    if (c->x.broken)
        return drop(a);
    if (!a->sent && !c->writing) {
        if (!reply_take(c, a->message))
            return -1;
        a->sent = true;
        if (c->x.broken)
            return drop(a);
    }
    return c->writing ? 0 : 1;
}

static PyObject *step(PyObject *self)
{
    struct awaitable *a = (struct awaitable *)self;
    PyObject *yielded = NULL;

    if (a->waiter.call != NULL) {
        int resumed = waiter_resume(&a->waiter, &yielded);
        if (resumed != 1)
            return yielded;
    }
    if (a->call->x.broken && !a->sent) {
        a->sent = true;
        Py_RETURN_NONE; /* a turn of the loop, to asyncio */
    }
    return go_on(a) == 0 ? waiter_begin(&a->waiter, a->call, true) : NULL;
}

static PyObject *send(PyObject *self, PyObject *message)
{
    struct call *c = (struct call *)self;
    return awaitable_new(c->asgi->send_type, c, message);
}

PyObject *send_type(void)
{
    return awaitable_type("pyworker.send", step);
}

PyObject *send_new(struct call *c)
{
    static PyMethodDef method = {"send", send, METH_O,
                                 "send(message): sends a message of this request's answer."};
    return PyCFunction_NewEx(&method, (PyObject *)c, NULL);
}
