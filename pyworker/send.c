/* send.c - send() of an ASGI app. It is over when its message is on its way: who sends faster than the client
 * reads is slowed down to that. */
#include "asgi.h"
#include "awaitable.h"
#include "reply.h"

/* Does what can be done now. 1: it is over; 0: it has to wait for room; -1: an exception is set. */
static int go_on(struct awaitable *a)
{
    struct call *c = a->call;

    if (c->over || c->returned) {
        PyErr_SetString(PyExc_RuntimeError, "send(): the request is over");
        return -1;
    }
    if (c->x.broken) {
        PyErr_SetString(PyExc_BrokenPipeError, "the client is gone");
        return -1;
    }
    if (!a->sent && !c->writing) {
        if (!reply_take(c, a->message))
            return -1;
        a->sent = true;
        if (c->x.broken)
            return go_on(a);
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
