/* receive.c - receive() of an ASGI app: the body, then the news that the client is gone or has its answer.
 *
 * A body that breaks off is never handed on as a whole one: the app is told that the client is gone. */
#include "asgi.h"
#include "awaitable.h"

enum { SCRATCH = 65536 }; /* bytes of body in one message; as much as the gateway's records hold */

/* --- the body --- */

/* Takes what is there: the number of bytes, at `data`. */
static size_t take_apart(struct call *c, const char **data)
{
    struct asgi *a = c->asgi;
    if (a->scratch == NULL)
        a->scratch = PyMem_Malloc(SCRATCH);
    if (a->scratch == NULL) {
        c->x.request.upload.failed = true;
        return 0;
    }
    *data = (const char *)a->scratch;
    return upload_read(&c->x.request.upload, a->scratch, SCRATCH);
}

/* The same from libfcgi's buffer, which has all of it. */
static size_t take_buffered(struct call *c, const char **data)
{
    size_t n = preset_available(&c->x.request, data);
    if (n == 0 && preset_refill(&c->x.request))
        n = preset_available(&c->x.request, data);
    preset_consume(&c->x.request, n);
    return n;
}

static bool at_end(struct call *c, bool *broken)
{
    struct preset *p = &c->x.request;

    if (p->apart) {
        *broken = p->upload.failed;
        return p->upload.ended || p->upload.failed;
    }
    /* Of a request that was read whole the end is there, and does not have to be waited for. */
    const char *data;
    bool more = preset_available(p, &data) > 0 || preset_refill(p);
    *broken = preset_failed(p);
    return !more;
}

/* Notes what has become of the body after `n` bytes more. */
static void count(struct call *c, size_t n)
{
    bool broken = false;
    struct exchange *x = &c->x;

    x->taken += (long long)n;
    c->body_over = at_end(c, &broken);
    bool wrong = x->length != -1 && (c->body_over ? x->taken != x->length : x->taken > x->length);
    c->body_broken = broken || wrong;
}

/* --- the messages --- */

static bool set(PyObject *message, PyObject *key, PyObject *value)
{
    bool done = value != NULL && PyDict_SetItem(message, key, value) == 0;
    Py_XDECREF(value);
    return done;
}

static PyObject *body_message(struct call *c, const char *data, size_t n)
{
    if (n == 0)
        return PyDict_Copy(c->asgi->no_body);
    PyObject *message = PyDict_Copy(c->asgi->no_body);
    if (message != NULL &&
        (!set(message, c->asgi->key[KEY_BODY], PyBytes_FromStringAndSize(data, (Py_ssize_t)n)) ||
         !set(message, c->asgi->key[KEY_MORE_BODY], PyBool_FromLong(!c->body_over))))
        Py_CLEAR(message);
    return message;
}

static PyObject *disconnect_message(void)
{
    return Py_BuildValue("{s:s}", "type", "http.disconnect");
}

/* The next message; NULL: an exception is set, or (`*wait`) there is none yet. */
static PyObject *next_message(struct call *c, bool *wait)
{
    const char *data = NULL;
    size_t n = 0;

    if (c->over || c->complete || c->x.broken || c->body_broken)
        return disconnect_message();
    if (c->body_over) {
        *wait = true;
        return NULL;
    }
    n = c->x.request.apart ? take_apart(c, &data) : take_buffered(c, &data);
    count(c, n);
    if (c->body_broken)
        return disconnect_message();
    if (n > 0 || c->body_over)
        return body_message(c, data, n);
    *wait = true;
    return NULL;
}

/* --- the awaitable --- */

static PyObject *step(PyObject *self)
{
    struct awaitable *a = (struct awaitable *)self;
    PyObject *yielded = NULL;
    bool wait = false;

    if (a->waiter.call != NULL) {
        int resumed = waiter_resume(&a->waiter, &yielded);
        if (resumed != 1)
            return yielded;
    }
    PyObject *message = next_message(a->call, &wait);
    if (wait)
        return waiter_begin(&a->waiter, a->call, false);
    if (message != NULL) {
        PyErr_SetObject(PyExc_StopIteration, message);
        Py_DECREF(message);
    }
    return NULL;
}

static PyObject *receive(PyObject *self, PyObject *unused)
{
    struct call *c = (struct call *)self;
    (void)unused;
    return awaitable_new(c->asgi->receive_type, c, NULL);
}

PyObject *receive_type(void)
{
    return awaitable_type("pyworker.receive", step);
}

PyObject *receive_new(struct call *c)
{
    static PyMethodDef method = {"receive", receive, METH_NOARGS,
                                 "receive(): the next message of this request."};
    return PyCFunction_NewEx(&method, (PyObject *)c, NULL);
}
