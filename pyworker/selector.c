/* selector.c - what asyncio's own loop waits with while it serves:
 *
 *   select(timeout) ─ epoll_wait ─┬─ only the core's set is readable ─▶ asgi_poll, [] ─▶ the new tasks run at
 * once └─ anything else ─▶ the selector's own select(0) tells
 *
 * Through add_reader() a request would take two turns of the loop, one that calls the reader and one that
 * runs the task it has made, each with Python's select() in it. A loop runs what was scheduled while it
 * waited in the same turn; so a request takes one. */
#include "asgi.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>

/* Seconds, or None for no limit, as milliseconds of epoll_wait(), never too few. -2: an exception. */
static int milliseconds(PyObject *timeout)
{
    if (timeout == Py_None)
        return -1;
    double ms = PyFloat_AsDouble(timeout) * 1000;
    if (PyErr_Occurred() != NULL)
        return -2;
    if (ms <= 0 || ms >= INT_MAX)
        return ms <= 0 ? 0 : INT_MAX;
    return (int)ms + ((int)ms < ms);
}

static PyObject *serve(struct worker *w)
{
    PyObject *done = asgi_poll(w);
    if (done == NULL)
        PyErr_Print(); /* an exception here would end the loop */
    else
        Py_DECREF(done);
    return PyList_New(0);
}

PyObject *asgi_select(struct worker *w, PyObject *timeout)
{
    struct asgi *a = w->asgi;
    struct epoll_event events[2] = {{0}}; /* a second one says that it is not only the core's */
    int error = 0;

    int ms = milliseconds(timeout);
    if (ms == -2)
        return NULL;
    Py_BEGIN_ALLOW_THREADS int n = epoll_wait(a->selector, events, 2, ms);
    error = n == -1 ? errno : 0;
    Py_END_ALLOW_THREADS if (error == EINTR) return PyErr_CheckSignals() == -1 ? NULL : PyList_New(0);
    if (error == 0 && events[0].data.fd == w->core.epoll && events[1].events == 0)
        return serve(w);
    if (error == 0 && events[0].events == 0)
        return PyList_New(0);
    return PyObject_CallFunction(a->select, "i", 0);
}
