/* asgi.c - see asgi.h.
 *
 *   loop ─ the epoll set is readable ─▶ poll ─┬─ a request has begun ── a call, which makes its task
 *                                             ├─ a connection of one ── its call is told
 *                                             ├─ CANCEL, STACK ──────── to the task
 *                                             └─ STOP ───────────────── drain; stop the loop when all is over
 */
#include "asgi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "awaitable.h"
#include "call.h"
#include "control.h"
#include "reload.h"
#include "reply.h"
#include "scope.h"
#include "zygote.h"

static const char *const key_names[KEYS] = {
    [KEY_TYPE] = "type",           [KEY_ASGI] = "asgi",         [KEY_HTTP_VERSION] = "http_version",
    [KEY_METHOD] = "method",       [KEY_SCHEME] = "scheme",     [KEY_PATH] = "path",
    [KEY_ROOT_PATH] = "root_path", [KEY_RAW_PATH] = "raw_path", [KEY_QUERY_STRING] = "query_string",
    [KEY_HEADERS] = "headers",     [KEY_CLIENT] = "client",     [KEY_SERVER] = "server",
    [KEY_STATE] = "state",         [KEY_STATUS] = "status",     [KEY_BODY] = "body",
    [KEY_MORE_BODY] = "more_body", [KEY_AWAIT] = "__await__",   [KEY_THROW] = "throw",
    [KEY_CLOSE] = "close",         [KEY_DONE] = "done",         [KEY_SET_RESULT] = "set_result",
    [KEY_CANCEL] = "cancel",
};

/* --- start and end --- */

static bool make_types(struct asgi *a)
{
    a->call_type = call_type();
    a->receive_type = receive_type();
    a->send_type = send_type();
    return a->call_type != NULL && a->receive_type != NULL && a->send_type != NULL;
}

static bool make_objects(struct asgi *a)
{
    for (size_t i = 0; i < KEYS; i++) {
        a->key[i] = PyUnicode_InternFromString(key_names[i]);
        if (a->key[i] == NULL)
            return false;
    }
    a->headers.make = scope_header_name;
    a->base_scope = scope_base();
    a->no_body = Py_BuildValue("{s:s,s:y,s:O}", "type", "http.request", "body", "", "more_body", Py_False);
    return a->base_scope != NULL && a->no_body != NULL && make_types(a);
}

static bool take_loop(struct asgi *a, PyObject *loop)
{
    a->create_task = PyObject_GetAttrString(loop, "create_task");
    a->create_future = PyObject_GetAttrString(loop, "create_future");
    a->call_soon = PyObject_GetAttrString(loop, "call_soon");
    a->stop = PyObject_GetAttrString(loop, "stop");
    a->task_options = Py_BuildValue("{s:O}", "loop", loop);
    return a->task_options != NULL && a->create_task != NULL && a->create_future != NULL &&
           a->call_soon != NULL && a->stop != NULL;
}

static void keep(PyObject **place, PyObject *object)
{
    Py_INCREF(object);
    *place = object;
}

/* A copy tells the gateway itself: a word that its zygote had still to pass on could come behind the end of
 * the copy and of the request that it has begun, which then would be begun again. */
static void tell_ready(struct core *core, const char *ready, size_t len)
{
    core->told_ready = true;
    if (!core->single)
        (void)control_send(core->control, ready, len); /* as START in module.c */
    if (!core->awaited)
        return;
    (void)control_send(core->gateway, ready, len);
    if (core->gateway != -1)
        (void)close(core->gateway);
    core->gateway = -1;
    (void)control_say(core->control, "READY"); /* a zygote that is gone kills us */
}

PyObject *asgi_open(struct worker *w, PyObject *args)
{
    PyObject *app, *loop, *state, *show, *pause, *cancelled, *task_type;
    const char *ready;
    Py_ssize_t len;
    int debug;
    unsigned concurrency;

    if (!PyArg_ParseTuple(args, "OOO!y#pIOOOO:asgi_open", &app, &loop, &PyDict_Type, &state, &ready, &len,
                          &debug, &concurrency, &show, &pause, &cancelled, &task_type))
        return NULL;
    struct asgi *a = w->asgi = calloc(1, sizeof(*a));
    if (a == NULL)
        return PyErr_NoMemory();
    a->worker = w;
    a->eager = REPLY_TRIAL;
    w->debug = debug != 0;
    keep(&a->app, app);
    keep(&a->state, state);
    keep(&a->show, show);
    keep(&a->pause, pause);
    keep(&a->cancelled, cancelled);
    if (task_type != Py_None)
        keep(&a->task_type, task_type);
    if (!make_objects(a) || !take_loop(a, loop))
        return NULL;
    if (!core_open(&w->core, concurrency))
        return PyErr_SetFromErrno(PyExc_OSError);
    tell_ready(&w->core, ready, (size_t)len);
    return PyLong_FromLong(w->core.epoll);
}

PyObject *asgi_wait(struct worker *w, PyObject *args)
{
    PyObject *select;
    int selector;

    if (!PyArg_ParseTuple(args, "Oi:asgi_wait", &select, &selector))
        return NULL;
    if (!core_watch(&w->core, selector))
        return PyErr_SetFromErrno(PyExc_OSError);
    keep(&w->asgi->select, select);
    Py_RETURN_NONE;
}

PyObject *asgi_left(struct worker *w, PyObject *error)
{
    Py_CLEAR(w->asgi->stop);
    if (!core_is_child())
        Py_RETURN_NONE;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    exchange_end_child(false);
    return NULL; /* is not reached */
}

PyObject *asgi_close(struct worker *w)
{
    struct asgi *a = w->asgi;

    Py_CLEAR(a->stop); /* from now on the loop is run for the app's end */
    while (a->calls != NULL)
        call_abandon(a->calls);
    if (w->core.single) /* also of one that had no request */
        zygote_limit_end();
    Py_BEGIN_ALLOW_THREADS
    core_close(&w->core);
    Py_END_ALLOW_THREADS
    if (asgi_raise(a))
        return NULL; /* it came when the loop was at its end */
    Py_RETURN_NONE;
}

/* --- the loop --- */

PyObject *asgi_task(struct asgi *a, PyObject *coroutine)
{
    if (a->task_type == NULL)
        return PyObject_CallFunctionObjArgs(a->create_task, coroutine, NULL);
    PyObject *arguments = PyTuple_Pack(1, coroutine);
    PyObject *task = arguments == NULL ? NULL : PyObject_Call(a->task_type, arguments, a->task_options);
    Py_XDECREF(arguments);
    return task;
}

bool asgi_interrupted(struct asgi *a)
{
    if (!PyErr_ExceptionMatches(PyExc_SystemExit) && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return false;
    if (a->interrupt[0] == NULL)
        PyErr_Fetch(&a->interrupt[0], &a->interrupt[1], &a->interrupt[2]);
    PyErr_Clear(); /* one is enough */
    return true;
}

bool asgi_raise(struct asgi *a)
{
    if (a->interrupt[0] == NULL)
        return false;
    PyErr_Restore(a->interrupt[0], a->interrupt[1], a->interrupt[2]);
    a->interrupt[0] = a->interrupt[1] = a->interrupt[2] = NULL;
    return true;
}

/* PyErr_Print() ends the process at once at a SystemExit. */
static void complain(struct asgi *a)
{
    if (PyErr_Occurred() != NULL && !asgi_interrupted(a))
        PyErr_Print();
}

void asgi_rest(struct asgi *a)
{
    if (!a->draining || a->calls != NULL || a->stop == NULL)
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Py_XDECREF(PyObject_CallFunctionObjArgs(a->stop, NULL));
    complain(a);
    PyErr_Restore(type, value, traceback);
}

/* CANCEL and STACK. A slot without a request has just become free. */
static void tell_task(struct asgi *a, uint16_t slot, bool cancel)
{
    struct call *c = a->calls;

    while (c != NULL && c->x.request.id != slot)
        c = c->next;
    if (c == NULL || c->task == NULL)
        return;
    c->cancelled = c->cancelled || cancel;
    Py_XDECREF(cancel ? PyObject_CallMethodObjArgs(c->task, a->key[KEY_CANCEL], NULL)
                      : PyObject_CallFunctionObjArgs(a->show, c->task, NULL));
    complain(a);
}

static void begin(struct asgi *a)
{
    struct call *c = a->spare;

    if (reload_refuses(&c->x))
        return;
    a->spare = NULL;
    call_begin(c);
    Py_DECREF(c); /* the task has it now */
}

/* Returns whether there may be more. */
static bool poll_one(struct asgi *a)
{
    struct core_news news = {0};

    enum core_event event = core_poll(&a->worker->core, &a->spare->x.request, &news);

    switch (event) {
    case CORE_REQUEST:
        begin(a);
        return true;
    case CORE_PEER:
        call_event(news.owner, news.events);
        return true;
    case CORE_CANCEL:
    case CORE_STACK:
        tell_task(a, news.slot, event == CORE_CANCEL);
        return true;
    case CORE_STOP:
        a->draining = true;
        core_drain(&a->worker->core);
        return true;
    case CORE_FOREIGN:
        a->foreign = true;
        return true;
    default:
        return false;
    }
}

/* Who is short of descriptors tries again in a while: no event says that there are some. */
static void rest_listener(struct asgi *a)
{
    int pause = core_pause(&a->worker->core);
    PyObject *ms = a->pausing || pause == -1 ? NULL : PyLong_FromLong(pause);
    PyObject *timer = ms == NULL ? NULL : PyObject_CallFunctionObjArgs(a->pause, ms, NULL);
    a->pausing = a->pausing || timer != NULL;
    Py_XDECREF(ms);
    Py_XDECREF(timer);
    complain(a);
}

PyObject *asgi_poll(struct worker *w)
{
    struct asgi *a = w->asgi;
    bool more = true;

    exchange_end_child(true); /* the set is its parent's, and so is what comes there */
    while (more) {
        if (a->spare == NULL)
            a->spare = call_new(a);
        more = a->spare != NULL && poll_one(a) && a->interrupt[0] == NULL;
    }
    complain(a); /* there was no memory, which would end the loop */
    rest_listener(a);
    asgi_rest(a);
    if (asgi_raise(a))
        return NULL;
    Py_RETURN_NONE;
}

PyObject *asgi_resume(struct worker *w)
{
    w->asgi->pausing = false;
    return asgi_poll(w);
}
