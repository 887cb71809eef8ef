/* call.c - one request as the coroutine of a task:
 *
 *   scope ─▶ app(scope, receive, send) ─▶ its steps, as they come ─▶ outcome ─▶ END_REQUEST ─▶ over
 *                 exception: log; before the first byte a 500, after it a cut answer ─┘
 *
 * The task runs this object instead of the app's own coroutine: the end of the app is seen without a callback
 * and a further turn of the loop, and no Python of ours runs for a request. */
#include "call.h"

#include <string.h>
#include <sys/epoll.h>

#include "answer.h"
#include "asgi.h"
#include "awaitable.h"
#include "handles.h"
#include "release.h"
#include "reply.h"
#include "scope.h"
#include "zygote.h"

enum {
    PENDING_KEEP = 2048, /* bytes, of an unused call */
    UNUSED_MAX = 32      /* calls */
};

struct call *call_new(struct asgi *a)
{
    struct call *c = a->unused;
    struct buffer pending;

    if (c != NULL) {
        a->unused = c->next;
        a->unused_count--;
        pending = c->x.pending;
        (void)PyObject_Init((PyObject *)c, (PyTypeObject *)a->call_type);
    } else {
        c = PyObject_New(struct call, (PyTypeObject *)a->call_type);
        buffer_init(&pending, EXCHANGE_PENDING_MAX);
    }
    if (c == NULL)
        return NULL;
    memset((char *)c + sizeof(PyObject), 0, sizeof(*c) - sizeof(PyObject));
    c->x.pending = pending;
    c->asgi = a;
    c->x.worker = a->worker;
    c->x.request.fd = -1;
    c->x.declared = -1;
    c->over = true;
    return c;
}

/* --- from begin to end --- */

static void leave(struct call *c, bool keep)
{
    struct asgi *a = c->asgi;

    core_end(&a->worker->core, &c->x.request, keep);
    c->over = true;
    c->writing = false;
    *(c->previous != NULL ? &c->previous->next : &a->calls) = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    c->next = c->previous = NULL;
    buffer_clear(&c->x.pending, PENDING_KEEP);
    Py_CLEAR(c->body);
    waiter_wake_news(c);
    waiter_wake_room(c);
    Py_CLEAR(c->task);
    if (a->worker->core.single) {
        a->draining = true;
        zygote_limit_end();
    } else if (!a->worker->started) {
        a->worker->started = true;
        release_text();
    }
    asgi_rest(a);
}

void call_abandon(struct call *c)
{
    if (c->over)
        return;
    c->x.broken = true;
    c->returned = c->returned || c->steps == NULL; /* its task may live: what has not begun does not begin */
    leave(c, false);
}

void call_begin(struct call *c)
{
    struct asgi *a = c->asgi;

    c->over = false;
    c->next = a->calls;
    if (a->calls != NULL)
        a->calls->previous = c;
    a->calls = c;
    core_own(&a->worker->core, c->x.request.fd, c);
    core_tell_slot(&a->worker->core, c->x.request.id);
    PyObject *task = asgi_task(a, (PyObject *)c);
    if (task == NULL && !asgi_interrupted(a))
        exchange_log(&c->x, NULL);
    if (c->over) { /* one that begins at once, as eager ones do, may be done; Ctrl-C goes through it */
        Py_XDECREF(task);
        return;
    }
    c->task = task;
    if (task == NULL)
        call_abandon(c);
}

void call_event(struct call *c, uint32_t events)
{
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 || ((events & EPOLLRDHUP) != 0 && !c->closing))
        c->x.broken = true; /* with `closing` it was us who shut that direction down */
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 || c->x.broken)
        reply_resume(c);
    waiter_wake_news(c);
}

/* --- the app --- */

static PyObject *call_app(struct call *c)
{
    PyObject *scope = scope_make(c);
    PyObject *receive = scope == NULL ? NULL : receive_new(c);
    PyObject *send = receive == NULL ? NULL : send_new(c);
    PyObject *coroutine =
        send == NULL ? NULL : PyObject_CallFunctionObjArgs(c->asgi->app, scope, receive, send, NULL);
    Py_XDECREF(scope);
    Py_XDECREF(receive);
    Py_XDECREF(send);
    return coroutine;
}

static bool start(struct call *c)
{
    c->coroutine = call_app(c);
    if (c->coroutine != NULL)
        c->steps = PyObject_CallMethodObjArgs(c->coroutine, c->asgi->key[KEY_AWAIT], NULL);
    if (c->steps != NULL && !PyIter_Check(c->steps)) { /* PyIter_Next() would jump to NULL */
        PyErr_Format(PyExc_TypeError, "__await__() returned %R, which is no iterator",
                     (PyObject *)Py_TYPE(c->steps));
        Py_CLEAR(c->steps);
    }
    return c->steps != NULL;
}

/* Logs the exception and prepares the answer that is left to give; returns the appStatus to end with. */
static unsigned fail(struct call *c)
{
    PyObject *traceback = NULL;

    if (c->told && exchange_was_left(&c->x))
        PyErr_Clear();
    else
        exchange_log(&c->x, c->asgi->worker->debug ? &traceback : NULL);
    if (!c->complete && !c->over) /* else it was after its answer, or there is nobody to have one */
        c->complete = answer_failure(&c->x, traceback);
    Py_XDECREF(traceback);
    return c->complete ? 0 : 1;
}

/* The app has returned, or has raised; returns the appStatus to end with. */
static unsigned outcome(struct call *c)
{
    bool raised = PyErr_Occurred() != NULL;
    bool to_cancel = c->cancelled || c->x.broken; /* else nobody asked for it */

    if (!raised && (c->complete || c->x.broken || c->body_broken)) /* as it was told: http.disconnect */
        return c->complete ? 0 : 1;
    if (!raised) {
        PyErr_SetString(PyExc_RuntimeError, c->x.status == 0
                                                ? "the app returned without an answer"
                                                : "the app returned without completing its answer");
    } else if ((to_cancel && PyErr_ExceptionMatches(c->asgi->cancelled)) ||
               PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Fetch(&c->error[0], &c->error[1], &c->error[2]);
        return c->complete ? 0 : 1;
    }
    return fail(c);
}

/* --- the steps --- */

/* Ends the request. Returns what to yield while the answer waits for room; else NULL, with the exception that
 * the task is to have, if any. */
static PyObject *finish(struct call *c)
{
    PyObject *yielded = NULL;

    if (c->waiter.call != NULL) {
        int resumed = waiter_resume(&c->waiter, &yielded);
        if (resumed == 0)
            return yielded;
        if (resumed == -1)
            PyErr_Clear(); /* that was for the app, which has returned */
    }
    while (!c->over && !c->x.broken && !(c->closing && !c->writing)) {
        if (c->writing && (yielded = waiter_begin(&c->waiter, c, true)) != NULL)
            return yielded;
        if (c->writing) { /* no future to wait with */
            if (!asgi_interrupted(c->asgi))
                PyErr_Clear();
            break;
        }
        reply_close(c, c->app_status);
    }
    if (!c->over)
        leave(c, c->closing && !c->writing && !c->x.broken && c->keep);
    PyErr_Restore(c->error[0], c->error[1], c->error[2]);
    c->error[0] = c->error[1] = c->error[2] = NULL;
    return NULL;
}

/* What follows a step of the app's. */
static PyObject *after(struct call *c, PyObject *yielded)
{
    if (yielded != NULL) {
        reply_release(c);
        return yielded;
    }
    exchange_end_child(PyErr_Occurred() == NULL);
    c->returned = true;
    c->app_status = outcome(c);
    Py_CLEAR(c->steps);
    Py_CLEAR(c->coroutine);
    return finish(c);
}

/* As Python's own coroutines: the code that runs may get at this object, and must not take it away meanwhile.
 * True: an exception is set. */
static bool refuse_running(const struct call *c)
{
    if (c->running)
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    return c->running;
}

static PyObject *step(PyObject *self)
{
    struct call *c = (struct call *)self;

    if (refuse_running(c))
        return NULL;
    if (c->returned)
        return finish(c);
    c->running = true;
    PyObject *yielded = c->steps != NULL || start(c) ? PyIter_Next(c->steps) : NULL;
    c->running = false;
    return after(c, yielded);
}

static PyObject *call_send(PyObject *self, PyObject *value)
{
    (void)value; /* asyncio sends nothing but None */
    return awaitable_result(step(self));
}

static PyObject *call_throw(PyObject *self, PyObject *args)
{
    struct call *c = (struct call *)self;
    PyObject *yielded = NULL;

    if (refuse_running(c))
        return NULL;
    if (c->returned) { /* no more patience with a client that does not read */
        waiter_end(&c->waiter);
        call_abandon(c);
        awaitable_raise(args);
        return NULL;
    }
    PyObject *method = c->steps == NULL ? NULL : PyObject_GetAttr(c->steps, c->asgi->key[KEY_THROW]);
    if (method != NULL) {
        c->running = true;
        yielded = PyObject_CallObject(method, args);
        c->running = false;
        Py_DECREF(method);
        if (yielded == NULL && PyErr_ExceptionMatches(PyExc_StopIteration))
            PyErr_Clear();
    } else if (c->steps == NULL) {
        awaitable_raise(args);
    }
    return awaitable_result(after(c, yielded));
}

static PyObject *call_close(PyObject *self, PyObject *unused)
{
    struct call *c = (struct call *)self;
    PyObject *steps = c->steps;

    (void)unused;
    if (refuse_running(c))
        return NULL;
    c->steps = NULL;
    c->returned = true;
    waiter_end(&c->waiter);
    c->running = true;
    PyObject *done =
        steps == NULL ? PyLong_FromLong(0) : PyObject_CallMethodObjArgs(steps, c->asgi->key[KEY_CLOSE], NULL);
    c->running = false;
    Py_XDECREF(steps);
    call_abandon(c);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    Py_RETURN_NONE;
}

/* --- the type --- */

static void call_dealloc(PyObject *self)
{
    struct call *c = (struct call *)self;
    PyTypeObject *type = Py_TYPE(self);

    waiter_end(&c->waiter);
    call_abandon(c);
    Py_XDECREF(c->steps);
    Py_XDECREF(c->coroutine);
    for (size_t i = 0; i < 3; i++)
        Py_XDECREF(c->error[i]);
    if (c->asgi->unused_count < UNUSED_MAX) {
        c->next = c->asgi->unused;
        c->asgi->unused = c;
        c->asgi->unused_count++;
    } else {
        buffer_free(&c->x.pending);
        PyObject_Free(self);
    }
    Py_DECREF(type); /* an instance of a heap type owns a reference to it */
}

/* What is asked of a task's coroutine (cr_frame, cr_await, __name__) is the app's. */
static PyObject *call_getattr(PyObject *self, PyObject *name)
{
    const struct call *c = (const struct call *)self;
    PyObject *value = PyObject_GenericGetAttr(self, name);

    if (value != NULL || c->coroutine == NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr(c->coroutine, name);
}

PyObject *call_type(void)
{
    static PyMethodDef methods[] = {
        {"send",  call_send,  METH_O,       "Goes on."                     },
        {"throw", call_throw, METH_VARARGS, "Raises it in the app."        },
        {"close", call_close, METH_NOARGS,  "Ends the app and the request."},
        {NULL,    NULL,       0,            NULL                           },
    };
    static PyType_Slot slots[] = {
        {Py_tp_new,      (void *)handle_refuse_new},
        {Py_tp_dealloc,  (void *)call_dealloc     },
        {Py_tp_getattro, (void *)call_getattr     },
        {Py_tp_iter,     (void *)PyObject_SelfIter},
        {Py_am_await,    (void *)PyObject_SelfIter},
        {Py_tp_iternext, (void *)step             },
        {Py_tp_methods,  (void *)methods          },
        {0,              NULL                     },
    };
    static PyType_Spec spec = {"pyworker.request", sizeof(struct call), 0, Py_TPFLAGS_DEFAULT, slots};
    return PyType_FromSpec(&spec);
}
