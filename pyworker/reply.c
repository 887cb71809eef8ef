/* reply.c - see reply.h.
 *
 *   http.response.start ─▶ head in x.pending
 *   http.response.body ──▶ on its way at once, with the head, if more is to come or it is large
 *                     └──▶ else held until the app returns or awaits something: then a small answer leaves in
 *                          one write together with END_REQUEST
 *
 * What another task than the request's own sends is not held: that one sleeps meanwhile, and its next step
 * may be far away. A head leaves there with what follows at once, or in the next turn of the loop.
 *
 * An app that goes on computing after its answer, without awaiting anything, would keep it from the client.
 * It is found out by the clock, over the first answers of a worker, which are not held, and over all that are
 * held; the next ones then leave at once. */
#include "reply.h"

#include <errno.h>
#include <sys/socket.h>

#include "asgi.h"
#include "head.h"

enum {
    PENDING_KEEP = 16384, /* bytes of an answer that is held */
    HELD_NS = 1000000,    /* longer than this is too long for an answer to wait for its app */
    EAGER = 1000,         /* answers that are not held after one that was for too long */
    STATUS_MIN = 200,
    STATUS_MAX = 999
};

/* --- writing --- */

/* Writes what `output` has, as far as there is room. */
static void run(struct call *c)
{
    int error;
    do {
        error = output_run(&c->output);
    } while (error == EINTR);
    c->x.on_wire = true;
    c->writing = error == EAGAIN && core_want_room(&c->asgi->worker->core, c->x.request.fd);
    if (c->writing)
        return;
    buffer_clear(&c->x.pending, PENDING_KEEP);
    Py_CLEAR(c->body);
    if (error != 0)
        c->x.broken = true;
}

static void begin(struct call *c)
{
    output_begin(&c->output, c->x.request.fd, c->x.request.id);
    c->output.flags = MSG_DONTWAIT;
}

static void end_stream(struct call *c)
{
    if (c->x.ended)
        return;
    output_close_stream(&c->output);
    c->x.ended = true;
}

/* Writes what has gathered, then `body` (bytes; NULL: none). */
static void put(struct call *c, PyObject *body, size_t len)
{
    begin(c);
    if (c->x.pending.len > 0)
        output_add(&c->output, c->x.pending.data, c->x.pending.len);
    if (len > 0) {
        output_add(&c->output, PyBytes_AsString(body), len);
        Py_INCREF(body);
        c->body = body;
    }
    if (c->complete)
        end_stream(c);
    c->held = false;
    run(c);
}

void reply_resume(struct call *c)
{
    if (c->writing)
        run(c);
    if (!c->writing)
        waiter_wake_room(c);
}

/* --- what an app does behind its answer --- */

static void start_clock(struct call *c)
{
    c->timed = true;
    (void)clock_gettime(CLOCK_MONOTONIC, &c->completed); /* cannot fail */
}

/* The app has returned or awaits something. */
static void look_at_clock(struct call *c)
{
    struct timespec now;

    if (!c->timed)
        return;
    c->timed = false;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    long long ns = (now.tv_sec - c->completed.tv_sec) * 1000000000LL + now.tv_nsec - c->completed.tv_nsec;
    if (ns > HELD_NS)
        c->asgi->eager = EAGER;
}

void reply_release(struct call *c)
{
    look_at_clock(c);
    if (c->writing || c->x.broken || c->x.pending.len == 0)
        return;
    if (!c->held && !c->x.committed) {
        c->x.committed = true;
        if (!head_append(&c->x.pending, "\r\n", 2))
            PyErr_Clear();
    }
    put(c, NULL, 0);
}

/* --- http.response.start --- */

static bool take_status(struct call *c, PyObject *message)
{
    PyObject *status = PyDict_GetItem(message, c->asgi->key[KEY_STATUS]); /* borrowed */
    long code = status != NULL && PyLong_Check(status) ? PyLong_AsLong(status) : 0;
    if (code < STATUS_MIN || code > STATUS_MAX) {
        PyErr_Format(PyExc_ValueError, "http.response.start: status must be an int from %d to %d, not %R",
                     STATUS_MIN, STATUS_MAX, status != NULL ? status : Py_None);
        return false;
    }
    c->x.status = (unsigned)code;
    return head_status(&c->x.pending, c->x.status);
}

/* A new reference to the n-th of a pair of bytes, or NULL with an exception. */
static PyObject *half(PyObject *pair, Py_ssize_t n)
{
    bool is_pair = (PyTuple_Check(pair) || PyList_Check(pair)) && PySequence_Size(pair) == 2;
    PyObject *bytes = is_pair ? PySequence_GetItem(pair, n) : NULL;
    if (bytes != NULL && PyBytes_Check(bytes))
        return bytes;
    Py_XDECREF(bytes);
    PyErr_Format(PyExc_TypeError, "http.response.start: headers must be pairs of bytes, not %R", pair);
    return NULL;
}

static bool take_header(struct call *c, PyObject *pair)
{
    PyObject *name = half(pair, 0);
    PyObject *value = name == NULL ? NULL : half(pair, 1);
    bool done = value != NULL && head_line(&c->x.pending, name, value, &c->x.declared);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return done;
}

static bool take_headers(struct call *c, PyObject *message)
{
    PyObject *headers = PyDict_GetItem(message, c->asgi->key[KEY_HEADERS]); /* borrowed */
    PyObject *iterator = headers == NULL ? NULL : PyObject_GetIter(headers);
    PyObject *pair;
    bool done = true;

    while (iterator != NULL && done && (pair = PyIter_Next(iterator)) != NULL) {
        done = take_header(c, pair);
        Py_DECREF(pair);
    }
    Py_XDECREF(iterator);
    return done && PyErr_Occurred() == NULL;
}

static PyObject *release(PyObject *self, PyObject *unused)
{
    struct call *c = (struct call *)self;

    (void)unused;
    if (!c->over && !c->returned)
        reply_release(c);
    Py_RETURN_NONE;
}

/* For a head that another task sends. */
static bool release_soon(struct call *c)
{
    static PyMethodDef method = {"release", release, METH_NOARGS, "What was sent leaves."};
    PyObject *callback = PyCFunction_NewEx(&method, (PyObject *)c, NULL);
    PyObject *handle =
        callback == NULL ? NULL : PyObject_CallFunctionObjArgs(c->asgi->call_soon, callback, NULL);
    Py_XDECREF(callback);
    Py_XDECREF(handle);
    return handle != NULL;
}

static bool take_start(struct call *c, PyObject *message)
{
    if (take_status(c, message) && take_headers(c, message) && (c->running || release_soon(c)))
        return true;
    buffer_clear(&c->x.pending, PENDING_KEEP);
    c->x.status = 0;
    c->x.declared = -1;
    return false;
}

/* --- http.response.body --- */

static bool bodyless(const struct exchange *x)
{
    return x->head_only || exchange_is_bodyless(x->status);
}

/* Completes the head; if this is all of the body, with its length. */
static bool commit(struct call *c, size_t len, bool more)
{
    struct exchange *x = &c->x;

    if (x->committed)
        return true;
    x->committed = true;
    if (more || x->declared != -1 || bodyless(x))
        return head_append(&x->pending, "\r\n", 2);
    x->declared = (long long)len;
    return head_append(&x->pending, "Content-Length: ", 16) && head_number(&x->pending, len) &&
           head_append(&x->pending, "\r\n\r\n", 4);
}

/* Whether so much body fits to what Content-Length promises. */
static bool admit(struct exchange *x, size_t len, bool more)
{
    long long produced = x->produced + (long long)len;

    if (!x->head_only && x->declared != -1 && (produced > x->declared || (!more && produced < x->declared)) &&
        !(bodyless(x) && produced == 0)) {
        PyErr_Format(PyExc_RuntimeError, "the body is %s than Content-Length says: %lld bytes of %lld",
                     produced > x->declared ? "longer" : "shorter", produced, x->declared);
        return false;
    }
    x->produced = produced;
    return true;
}

static bool may_hold(struct call *c, PyObject *body, size_t len)
{
    if (!c->running)
        return false;
    if (c->asgi->eager > 0) {
        c->asgi->eager--;
        return false;
    }
    struct buffer *pending = &c->x.pending;
    return pending->len + len <= PENDING_KEEP && buffer_append(pending, PyBytes_AsString(body), len);
}

static bool send_piece(struct call *c, PyObject *body, bool more)
{
    size_t len = (size_t)PyBytes_Size(body);

    if (!commit(c, len, more) || !admit(&c->x, len, more))
        return false;
    if (bodyless(&c->x))
        len = 0;
    c->complete = !more;
    if (c->complete && c->running)
        start_clock(c);
    if (c->complete && may_hold(c, body, len))
        c->held = true;
    else if (len > 0 || c->complete || c->x.pending.len > 0)
        put(c, body, len);
    if (c->complete)
        waiter_wake_news(c); /* there is nothing to wait for */
    return true;
}

/* A new reference to the body of a message as bytes, or NULL with an exception. */
static PyObject *find_body(struct call *c, PyObject *message)
{
    PyObject *body = PyDict_GetItem(message, c->asgi->key[KEY_BODY]); /* borrowed */
    if (body == NULL)
        return PyBytes_FromStringAndSize(NULL, 0);
    if (PyBytes_Check(body)) {
        Py_INCREF(body);
        return body;
    }
    if (PyByteArray_Check(body) || PyMemoryView_Check(body))
        return PyBytes_FromObject(body);
    PyErr_Format(PyExc_TypeError, "http.response.body: body must be bytes, not %R",
                 (PyObject *)Py_TYPE(body));
    return NULL;
}

static bool take_body(struct call *c, PyObject *message)
{
    PyObject *more = PyDict_GetItem(message, c->asgi->key[KEY_MORE_BODY]); /* borrowed */
    int truth = more == NULL ? 0 : PyObject_IsTrue(more);
    PyObject *body = truth == -1 ? NULL : find_body(c, message);
    bool done = body != NULL && send_piece(c, body, truth == 1);
    Py_XDECREF(body);
    return done;
}

/* --- messages --- */

bool reply_take(struct call *c, PyObject *message)
{
    PyObject *type = PyDict_Check(message) ? PyDict_GetItem(message, c->asgi->key[KEY_TYPE]) : NULL;
    if (type == NULL || !PyUnicode_Check(type)) {
        PyErr_Format(PyExc_TypeError, "send() takes a dict with a str as its \"type\", not %R", message);
        return false;
    }
    if (c->complete) {
        PyErr_Format(PyExc_RuntimeError, "send(): unexpected message %R after the answer is complete", type);
        return false;
    }
    bool started = c->x.status != 0;
    const char *expected = started ? "http.response.body" : "http.response.start";
    if (PyUnicode_CompareWithASCIIString(type, expected) != 0) {
        PyErr_Format(PyExc_RuntimeError, "send(): expected message '%s', but got %R", expected, type);
        return false;
    }
    return started ? take_body(c, message) : take_start(c, message);
}

/* --- the end --- */

void reply_close(struct call *c, unsigned app_status)
{
    look_at_clock(c);
    c->keep = exchange_keep_or_shut(&c->x, preset_drain_now(&c->x.request));
    begin(c);
    if (app_status == 0) {
        if (c->x.pending.len > 0)
            output_add(&c->output, c->x.pending.data, c->x.pending.len);
        end_stream(c);
    }
    output_close_request(&c->output, app_status);
    c->closing = true;
    c->held = false;
    run(c);
}
