/* input.c - wsgi.input: read, readline, readlines and iteration, never past the end of the body.
 *
 * A body that breaks off is an OSError. It is never handed on as if it were whole. */
#include "handles.h"

#include <limits.h>
#include <string.h>

/* --- what is left --- */

static bool cut_short(const struct exchange *x)
{
    if (x->length == -1)
        PyErr_SetString(PyExc_OSError, "request body cut short: the connection broke");
    else
        PyErr_Format(PyExc_OSError, "request body cut short: %lld of %lld bytes came", x->taken, x->length);
    return false;
}

/* How many of `want` (negative: all) bytes the body may still have; LLONG_MAX: nobody said. */
static long long allowance(const struct exchange *x, Py_ssize_t want)
{
    long long left = x->length == -1 ? LLONG_MAX : x->length - x->taken;
    return want >= 0 && want < left ? want : left;
}

/* After a read that gave less than was asked for: whether that is the end of the body. */
static bool at_end(const struct exchange *x)
{
    if (preset_failed(&x->request) || (x->length != -1 && x->taken < x->length))
        return cut_short(x);
    return true;
}

/* --- reading --- */

/* Takes up to `limit` bytes of what is there into `b`, or only up to the end of a line. Returns whether it is
 * enough. */
static bool gather(struct exchange *x, struct buffer *b, long long limit, bool line, bool *stored)
{
    const char *data;
    size_t n = preset_available(&x->request, &data);
    if ((long long)n > limit)
        n = (size_t)limit;
    const char *newline = line && n > 0 ? memchr(data, '\n', n) : NULL;
    if (newline != NULL)
        n = (size_t)(newline - data) + 1;
    *stored = buffer_append(b, data, n);
    if (*stored) {
        preset_consume(&x->request, n);
        x->taken += (long long)n;
    }
    return newline != NULL || (long long)n == limit || !*stored;
}

/* Reads into `b` until `limit` bytes, the end of the body or, with `line`, of a line. */
static bool read_into(struct exchange *x, struct buffer *b, long long limit, bool line)
{
    bool stored = true;
    bool more = true;

    if (!exchange_enter(x))
        return false;
    while (more && !gather(x, b, limit - (long long)b->len, line, &stored)) {
        Py_BEGIN_ALLOW_THREADS
        more = preset_refill(&x->request);
        Py_END_ALLOW_THREADS
    }
    exchange_leave(x);
    if (!stored) {
        PyErr_NoMemory();
        return false;
    }
    return more || at_end(x);
}

static PyObject *read_growing(struct exchange *x, long long limit, bool line)
{
    struct buffer b;
    buffer_init(&b, (size_t)PY_SSIZE_T_MAX);
    PyObject *result =
        read_into(x, &b, limit, line) ? PyBytes_FromStringAndSize(b.data, (Py_ssize_t)b.len) : NULL;
    buffer_free(&b);
    return result;
}

/* The length is known: straight into the object. */
static PyObject *read_exactly(struct exchange *x, Py_ssize_t len)
{
    PyObject *result = PyBytes_FromStringAndSize(NULL, len);
    if (result == NULL || !exchange_enter(x)) {
        Py_XDECREF(result);
        return NULL;
    }
    size_t done;
    char *out = PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    done = preset_read(&x->request, out, (size_t)len);
    Py_END_ALLOW_THREADS
    exchange_leave(x);
    x->taken += (long long)done;
    if (done < (size_t)len) {
        Py_DECREF(result);
        (void)cut_short(x);
        return NULL;
    }
    return result;
}

/* --- the methods --- */

static struct exchange *live(PyObject *self)
{
    struct exchange *x = ((struct handle *)self)->x;
    if (x == NULL)
        PyErr_SetString(PyExc_ValueError, "wsgi.input: the request is over");
    return x;
}

/* An optional size: absent, None or negative means all. It may be an object of the app's, and the request
 * over when that has said its number. */
static bool parse_size(PyObject *args, const char *format, Py_ssize_t *size)
{
    PyObject *value = Py_None;
    *size = -1;
    if (!PyArg_ParseTuple(args, format, &value))
        return false;
    if (value != Py_None)
        *size = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    return *size != -1 || PyErr_Occurred() == NULL;
}

static PyObject *input_read(PyObject *self, PyObject *args)
{
    Py_ssize_t size;
    struct exchange *x = parse_size(args, "|O:read", &size) ? live(self) : NULL;
    if (x == NULL)
        return NULL;
    long long limit = allowance(x, size);
    if (x->length != -1 && limit <= PY_SSIZE_T_MAX)
        return read_exactly(x, (Py_ssize_t)limit);
    return read_growing(x, limit, false);
}

static PyObject *next_line(PyObject *self, Py_ssize_t size)
{
    struct exchange *x = live(self);
    return x == NULL ? NULL : read_growing(x, allowance(x, size), true);
}

static PyObject *input_readline(PyObject *self, PyObject *args)
{
    Py_ssize_t size;
    return parse_size(args, "|O:readline", &size) ? next_line(self, size) : NULL;
}

static PyObject *input_readlines(PyObject *self, PyObject *args)
{
    Py_ssize_t hint;
    Py_ssize_t total = 0;
    if (!parse_size(args, "|O:readlines", &hint))
        return NULL;
    PyObject *lines = PyList_New(0);
    while (lines != NULL && (hint <= 0 || total < hint)) {
        PyObject *line = next_line(self, -1);
        Py_ssize_t len = line == NULL ? 0 : PyBytes_Size(line);
        if (line == NULL || (len > 0 && PyList_Append(lines, line) == -1))
            Py_CLEAR(lines);
        Py_XDECREF(line);
        if (len == 0)
            break;
        total += len;
    }
    return lines;
}

static PyObject *input_next(PyObject *self)
{
    PyObject *line = next_line(self, -1);
    if (line != NULL && PyBytes_Size(line) == 0)
        Py_CLEAR(line); /* NULL without an exception ends the iteration */
    return line;
}

PyObject *input_type(void)
{
    static PyMethodDef methods[] = {
        {"read",      input_read,      METH_VARARGS,
         "read([size]): bytes, fewer than size only at the end of the body."},
        {"readline",  input_readline,  METH_VARARGS,
         "readline([size]): the next line with its end, or part of it."     },
        {"readlines", input_readlines, METH_VARARGS,
         "readlines([hint]): the lines, about hint bytes of them."          },
        {NULL,        NULL,            0,            NULL                   },
    };
    static PyType_Slot slots[] = {
        {Py_tp_dealloc,  (void *)handle_dealloc                        },
        {Py_tp_iter,     (void *)PyObject_SelfIter                     },
        {Py_tp_iternext, (void *)input_next                            },
        {Py_tp_methods,  methods                                       },
        {Py_tp_doc,      (void *)"wsgi.input: the body of one request."},
        {0,              NULL                                          },
    };
    static PyType_Spec spec = {"pyworker.input", sizeof(struct handle), 0, Py_TPFLAGS_DEFAULT, slots};
    return PyType_FromSpec(&spec);
}
