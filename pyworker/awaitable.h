/* awaitable.h - what receive() and send() return: an object that is awaited once, and does its work then.
 * Each is a coroutine to asyncio, so that it can also be made a task. */
#ifndef PYWORKER_AWAITABLE_H
#define PYWORKER_AWAITABLE_H

#include "call.h"

struct awaitable {
    PyObject_HEAD
    struct call *call;
    PyObject *message; /* of send(), else NULL */
    struct waiter waiter;
    bool sent; /* the message was taken */
};

/* A new one, or NULL with an exception. */
PyObject *awaitable_new(PyObject *type, struct call *c, PyObject *message);

/* A type whose objects do `step`: what to yield, or NULL: done, or an exception is set (StopIteration has the
 * result). */
PyObject *awaitable_type(const char *name, iternextfunc step);

/* The arguments of a coroutine's throw() as the current exception. */
void awaitable_raise(PyObject *args);

/* What a coroutine's send() returns for what its step gave. */
PyObject *awaitable_result(PyObject *step);

/* receive.c, send.c: the types, and the functions for the app; NULL with an exception. */
PyObject *receive_type(void);
PyObject *receive_new(struct call *c);
PyObject *send_type(void);
PyObject *send_new(struct call *c);

#endif
