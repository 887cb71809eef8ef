/* selector.c - what asyncio's own loop waits with while it serves. The core's epoll set watches that of the
 * loop's selector:
 *
 *   select(timeout) ─ core_wait ─┬─ requests, and news of them ────▶ asgi_poll: new tasks run in this turn
 *                                └─ the selector's set is readable ─▶ its own select(0) tells
 *
 * With add_reader() a request would take two turns of the loop, one that calls the reader and one that runs
 * the task it has made, each with Python's select() in it. A loop runs in the same turn what was scheduled
 * while it waited. */
#define _GNU_SOURCE
#include "asgi.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/socket.h>

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

PyObject *asgi_select(struct worker *w, PyObject *timeout)
{
    struct asgi *a = w->asgi;
    int error = 0;

    exchange_end_child(true);
    int ms = milliseconds(timeout);
    if (ms == -2 || asgi_raise(a))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    error = core_wait(&w->core, ms) ? 0 : errno;
    Py_END_ALLOW_THREADS
    if (error == EINTR)
        return PyErr_CheckSignals() == -1 ? NULL : PyList_New(0);
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    a->foreign = false;
    PyObject *done = asgi_poll(w);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    return a->foreign ? PyObject_CallFunction(a->select, "i", 0) : PyList_New(0);
}

/* Puts one in the place of a descriptor that is shared. */
static bool replace(int fresh, int fd)
{
    bool done = fresh != -1 && dup3(fresh, fd, O_CLOEXEC) != -1;
    if (fresh != -1)
        (void)close(fresh);
    return done;
}

bool asgi_renew(int set, int receiver, int sender)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = receiver};
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == -1)
        return false;
    bool done = replace(ends[0], receiver);
    done = replace(ends[1], sender) && done;
    return done && replace(epoll_create1(EPOLL_CLOEXEC), set) &&
           epoll_ctl(set, EPOLL_CTL_ADD, receiver, &event) == 0;
}
