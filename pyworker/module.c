/* module.c - the extension module _pyworker: its functions, its state, and the loop that serves. */
#include "pyapi.h"

#include <errno.h>
#include <string.h>

#include "asgi.h"
#include "control.h"
#include "handles.h"
#include "holes.h"
#include "peer.h"
#include "release.h"
#include "reload.h"
#include "script.h"
#include "wsgi.h"
#include "zygote.h"

static struct worker *state(PyObject *module)
{
    return PyModule_GetState(module);
}

/* Raises OSError for errno; its strerror names `what` failed. */
static PyObject *fail_errno(const char *what)
{
    int number = errno;
    PyObject *text = PyUnicode_FromFormat("%s: %s", what, strerror(number));
    PyObject *error = text == NULL ? NULL : PyObject_CallFunction(PyExc_OSError, "iO", number, text);
    if (error != NULL) {
        PyErr_SetObject(PyExc_OSError, error);
        Py_DECREF(error);
    }
    Py_XDECREF(text);
    return NULL;
}

static PyObject *module_start(PyObject *module, PyObject *unused)
{
    struct worker *w = state(module);

    (void)unused;
    core_take_control(&w->core);
    (void)control_say(w->core.control, "START"); /* a gateway that is gone shows as end of file */
    Py_RETURN_NONE;
}

static PyObject *module_listen(PyObject *module, PyObject *args)
{
    int listener;
    struct worker *w = state(module);

    if (!PyArg_ParseTuple(args, "i:listen", &listener))
        return NULL;
    if (!core_take_listener(&w->core, listener)) {
        return fail_errno(errno == ENOTSOCK ? "file descriptor 0 is not a listening socket"
                                            : "the listening socket");
    }
    Py_RETURN_NONE;
}

static PyObject *module_send(PyObject *module, PyObject *args)
{
    const char *text;
    Py_ssize_t len;
    bool sent;
    struct worker *w = state(module);

    if (!PyArg_ParseTuple(args, "y#:send", &text, &len))
        return NULL;
    bool failure = strncmp(text, "FAILED", sizeof("FAILED") - 1) == 0;
    /* a copy would say at each request what its zygote has said; who was ready has not failed to start */
    if (w->core.control == -1 || (w->core.single ? !failure : failure && w->core.told_ready))
        Py_RETURN_FALSE;
    Py_BEGIN_ALLOW_THREADS
    sent = control_send(w->core.control, text, (size_t)len);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(sent);
}

/* False: KeyboardInterrupt is set. */
static bool serve_one(struct worker *w)
{
    struct exchange *x = w->threads.own;

    core_tell_slot(&w->core, x->request.id);
    bool go_on = w->serve(x);
    if (!w->started && !w->core.single) {
        w->started = true;
        release_text();
    }
    return go_on;
}

/* Serves until it is to stop; false: an exception is set. */
static bool run(struct worker *w)
{
    for (;;) {
        enum core_event event;
        int error;
        Py_BEGIN_ALLOW_THREADS
        event = threads_next(&w->threads);
        error = errno;
        Py_END_ALLOW_THREADS
        if (event == CORE_STOP) {
            if (w->threads.interrupted)
                PyErr_SetNone(PyExc_KeyboardInterrupt);
            return !w->threads.interrupted;
        }
        if (event == CORE_ERROR) {
            errno = error;
            (void)fail_errno("waiting for connections");
            return false;
        }
        if (event == CORE_REQUEST && !serve_one(w))
            return false;
        if (event == CORE_REQUEST && w->core.single) {
            zygote_limit_end();
            return true;
        }
        if (PyErr_CheckSignals() == -1)
            return false;
    }
}

static PyObject *module_watch(PyObject *module, PyObject *sources)
{
    struct worker *w = state(module);

    Py_INCREF(sources);
    Py_XDECREF(w->sources);
    w->sources = sources;
    Py_RETURN_NONE;
}

/* Forks when the zygote wants a copy. True: this is the copy; False: stopped; None: likewise, for a copy
 * could not start. A new reference, or NULL with an exception. */
static PyObject *fork_copies(struct zygote *z)
{
    for (;;) {
        enum zygote_event event;
        int error;
        Py_BEGIN_ALLOW_THREADS
        event = zygote_next(z);
        error = errno;
        Py_END_ALLOW_THREADS
        if (event == ZYGOTE_STOP && z->failed)
            Py_RETURN_NONE;
        if (event == ZYGOTE_STOP)
            Py_RETURN_FALSE;
        if (event == ZYGOTE_ERROR) {
            errno = error;
            return fail_errno("waiting for copies");
        }
        if (PyErr_CheckSignals() == -1)
            return NULL;
        if (event != ZYGOTE_FORK)
            continue;
        PyOS_BeforeFork();
        if (zygote_fork(z) == 0) {
            PyOS_AfterFork_Child();
            Py_RETURN_TRUE;
        }
        PyOS_AfterFork_Parent();
    }
}

static PyObject *module_asgi_renew(PyObject *module, PyObject *args)
{
    int set, receiver, sender;

    (void)module;
    if (!PyArg_ParseTuple(args, "iii:asgi_renew", &set, &receiver, &sender))
        return NULL;
    if (!asgi_renew(set, receiver, sender))
        return fail_errno("event loop");
    Py_RETURN_NONE;
}

static PyObject *module_fill_holes(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    holes_fill();
    Py_RETURN_NONE;
}

static PyObject *module_connected(PyObject *module, PyObject *fd)
{
    long number = PyLong_AsLong(fd);

    (void)module;
    if (number == -1 && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(peer_is_named((int)number));
}

static PyObject *module_fork(PyObject *module, PyObject *args)
{
    struct worker *w = state(module);
    struct zygote zygote;
    const char *ready;
    Py_ssize_t len;
    unsigned limit;
    int awaited;

    if (!PyArg_ParseTuple(args, "y#Ip:fork", &ready, &len, &limit, &awaited))
        return NULL;
    if (PyDict_SetItemString(w->base_environ, "wsgi.run_once", Py_True) == -1)
        return NULL;
    if (!zygote_open(&zygote, &w->core, limit, awaited != 0)) {
        zygote_close(&zygote);
        return fail_errno("making copies");
    }
    w->core.told_ready = !awaited;
    if (!awaited)
        (void)control_send(w->core.control, ready, (size_t)len); /* as START */
    PyObject *copy = fork_copies(&zygote);
    zygote_close(&zygote);
    return copy;
}

static PyObject *module_serve(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"app", "ready", "debug", "concurrency", "scripts", NULL};
    struct worker *w = state(module);
    PyObject *app;
    const char *ready;
    Py_ssize_t len;
    int debug = 0;
    int scripts = 0;
    unsigned concurrency = 1;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oy#|pIp:serve", names, &app, &ready, &len, &debug,
                                     &concurrency, &scripts))
        return NULL;
    if (PyDict_SetItemString(w->base_environ, "wsgi.multithread", concurrency > 1 ? Py_True : Py_False) == -1)
        return NULL;
    if (!core_open(&w->core, concurrency) || !threads_open(&w->threads, w, concurrency))
        return fail_errno("epoll set");
    w->core.told_ready = true;
    if (!w->core.single)
        (void)control_send(w->core.control, ready, (size_t)len); /* as START */
    Py_INCREF(app);
    w->app = app;
    w->serve_fresh = scripts ? script_serve : wsgi_serve;
    w->serve = w->sources != NULL ? reload_serve : w->serve_fresh;
    w->debug = debug != 0;
    bool done = run(w);
    Py_BEGIN_ALLOW_THREADS
    threads_finish(&w->threads);
    core_close(&w->core);
    Py_END_ALLOW_THREADS
    Py_CLEAR(w->app);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* --- ASGI --- */

static PyObject *module_asgi_open(PyObject *module, PyObject *args)
{
    return asgi_open(state(module), args);
}

static PyObject *module_asgi_poll(PyObject *module, PyObject *unused)
{
    (void)unused;
    return asgi_poll(state(module));
}

static PyObject *module_asgi_resume(PyObject *module, PyObject *unused)
{
    (void)unused;
    return asgi_resume(state(module));
}

static PyObject *module_asgi_wait(PyObject *module, PyObject *args)
{
    return asgi_wait(state(module), args);
}

static PyObject *module_asgi_select(PyObject *module, PyObject *timeout)
{
    return asgi_select(state(module), timeout);
}

static PyObject *module_asgi_left(PyObject *module, PyObject *error)
{
    return asgi_left(state(module), error);
}

static PyObject *module_asgi_close(PyObject *module, PyObject *unused)
{
    (void)unused;
    return asgi_close(state(module));
}

/* --- the module --- */

static bool find_file_types(struct worker *w)
{
    PyObject *io = PyImport_ImportModule("_io");
    if (io != NULL) {
        w->buffered_reader_type = PyObject_GetAttrString(io, "BufferedReader");
        w->raw_file_type = PyObject_GetAttrString(io, "FileIO");
        Py_DECREF(io);
    }
    return w->buffered_reader_type != NULL && w->raw_file_type != NULL;
}

static int module_exec(PyObject *module)
{
    struct worker *w = state(module);

    core_init(&w->core);
    if (!preset_setup()) {
        PyErr_SetString(PyExc_ImportError, "libfcgi could not be initialised");
        return -1;
    }
    w->input_type = input_type();
    w->responder_type = responder_type();
    w->file_wrapper_type = file_wrapper_type();
    w->close_name = PyUnicode_InternFromString("close");
    w->input_name = PyUnicode_InternFromString("wsgi.input");
    w->errors_name = PyUnicode_InternFromString("wsgi.errors");
    if (w->input_type == NULL || w->responder_type == NULL || w->file_wrapper_type == NULL ||
        w->close_name == NULL || w->input_name == NULL || w->errors_name == NULL || !find_file_types(w))
        return -1;
    w->base_environ = environ_base(w);
    return w->base_environ == NULL ? -1 : 0;
}

/* clang-format off */
static PyMethodDef methods[] = {
    {"start", module_start, METH_NOARGS, "start(): takes the control channel over and tells the gateway START."},
    {"listen", module_listen, METH_VARARGS, "listen(fd): takes a listening socket over; -1: fd 0."},
    {"send", module_send, METH_VARARGS,
     "send(message): sends a control message; False if there is no gateway, and in a copy, but for FAILED."},
    {"watch", module_watch, METH_O, "watch(sources): asks sources.changed() before requests."},
    {"fill_holes", module_fill_holes, METH_NOARGS, "fill_holes(): see holes.h."},
    {"connected", module_connected, METH_O, "connected(fd): see peer_is_named()."},
    {"fork", module_fork, METH_VARARGS,
     "fork(ready, limit, awaited): sends `ready`, or has the first copy do it when it has started, and forks "
     "copies; True in each of them, False when stopped, None when one could not start."},
    {"serve", (PyCFunction)(void (*)(void))module_serve, METH_VARARGS | METH_KEYWORDS,
     "serve(app, ready, debug=False, concurrency=1, scripts=False): sends the message `ready`, then serves "
     "until it is to stop; `scripts`: app is a Scripts object."},
    {"asgi_open", module_asgi_open, METH_VARARGS,
     "asgi_open(app, loop, state, ready, debug, concurrency, show, pause, cancelled, task): see asgi.h."},
    {"asgi_poll", module_asgi_poll, METH_NOARGS, "asgi_poll(): what the loop calls when the core has something."},
    {"asgi_resume", module_asgi_resume, METH_NOARGS, "asgi_resume(): what it calls after a pause."},
    {"asgi_wait", module_asgi_wait, METH_VARARGS, "asgi_wait(select, selector): see asgi.h."},
    {"asgi_select", module_asgi_select, METH_O, "asgi_select(timeout): what an asyncio loop waits with."},
    {"asgi_renew", module_asgi_renew, METH_VARARGS, "asgi_renew(set, receiver, sender): see asgi.h."},
    {"asgi_left", module_asgi_left, METH_O, "asgi_left(error): see asgi.h."},
    {"asgi_close", module_asgi_close, METH_NOARGS, "asgi_close(): closes all connections."},
    {NULL, NULL, 0, NULL},
};
/* clang-format on */

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)module_exec},
    {0,           NULL               },
};

/* Nothing of its state is ever freed: the module lasts as long as the process, which ends without taking its
 * interpreter apart (end.py). */
static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "pyworker._pyworker",
    .m_doc = "The core of the worker: FastCGI, WSGI and ASGI in C.",
    .m_size = sizeof(struct worker),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__pyworker(void);

PyMODINIT_FUNC PyInit__pyworker(void)
{
    return PyModuleDef_Init(&definition);
}
