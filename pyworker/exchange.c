/* exchange.c - who may work on an exchange, refusing one, whether its connection is kept, and where its
 * exceptions go. */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fastcgi.h>
#include <sys/socket.h>

#include "peer.h"
#include "record.h"

enum { CLAIM_WAIT_US = 1000 };

struct exchange *exchange_new(struct worker *w)
{
    struct exchange *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return NULL;
    x->worker = w;
    x->request.fd = -1;
    buffer_init(&x->pending, EXCHANGE_PENDING_MAX);
    return x;
}

void exchange_free(struct exchange *x)
{
    if (x == NULL)
        return;
    buffer_free(&x->pending);
    free(x);
}

bool exchange_enter(struct exchange *x)
{
    /* Behind END_REQUEST handles have it still: what the app returned may use them in its __del__(). */
    if (x == NULL || x->request.fd == -1) {
        PyErr_SetString(PyExc_RuntimeError, "the request is over");
        return false;
    }
    if (x->busy) {
        PyErr_SetString(PyExc_RuntimeError, "another thread reads or writes this request");
        return false;
    }
    x->busy = true;
    return true;
}

void exchange_leave(struct exchange *x)
{
    x->busy = false;
}

void exchange_claim(struct exchange *x)
{
    while (x->busy) {
        Py_BEGIN_ALLOW_THREADS
        usleep(CLAIM_WAIT_US);
        Py_END_ALLOW_THREADS
    }
    x->busy = true;
}

void exchange_refuse(struct exchange *x)
{
    uint8_t end[RECORD_END];

    record_put_end(end, x->request.id, 0, FCGI_OVERLOADED);
    (void)preset_drain_now(&x->request); /* unread bytes would make close() a reset */
    (void)shutdown(x->request.fd, SHUT_RD);
    (void)peer_send(x->request.fd, end, sizeof(end)); /* closed next, whether it arrived or not */
    core_end(&x->worker->core, &x->request, false);
}

bool exchange_keep_or_shut(const struct exchange *x, bool drained)
{
    bool keep = drained && x->request.fcgi.keepConnection && !x->worker->core.single;
    if (!keep)
        (void)shutdown(x->request.fd, SHUT_RD);
    return keep;
}

void exchange_end_child(bool done)
{
    PyObject *type, *value, *traceback;

    if (!core_is_child())
        return;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (!done && traceback != NULL && PyException_SetTraceback(value, traceback) == -1)
        PyErr_Clear();
    PyObject *module = PyImport_ImportModule("pyworker.end");
    if (module != NULL)
        (void)PyObject_CallMethod(module, "end_child", "O", done ? Py_None : value); /* does not return */
    PyErr_Print(); /* of descriptors there are none, say */
    _exit(1);
}

static const char *parameter(const struct exchange *x, const char *name)
{
    const char *value = preset_parameter(&x->request, name);
    return value != NULL ? value : "";
}

/* "'GET' '/path'"; %A keeps what clients send from breaking out of the line. NULL: an exception is set. */
static PyObject *describe(const struct exchange *x)
{
    if (x->request.fd == -1)
        return PyUnicode_FromString("a request that was left behind");
    const char *uri = parameter(x, "REQUEST_URI");
    PyObject *path = PyUnicode_DecodeLatin1(uri, (Py_ssize_t)strlen(uri), NULL);
    const char *method = parameter(x, "REQUEST_METHOD");
    PyObject *verb = PyUnicode_DecodeLatin1(method, (Py_ssize_t)strlen(method), NULL);
    PyObject *text = path == NULL || verb == NULL ? NULL : PyUnicode_FromFormat("%A %A", verb, path);
    Py_XDECREF(path);
    Py_XDECREF(verb);
    return text;
}

/* "pyworker: 'GET' '/path'", and the text. */
static void log_headline(const struct exchange *x, PyObject *errors, const char *separator, const char *text)
{
    PyObject *request = describe(x);
    PyObject *line =
        request == NULL ? NULL : PyUnicode_FromFormat("pyworker: %U%s%s\n", request, separator, text);
    if (line == NULL || PyFile_WriteObject(line, errors, Py_PRINT_RAW) == -1)
        PyErr_Clear(); /* the log is what failed: there is no other place to tell */
    Py_XDECREF(request);
    Py_XDECREF(line);
}

static PyObject *format_exception(PyObject *type, PyObject *value, PyObject *traceback)
{
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines = module == NULL ? NULL
                                     : PyObject_CallMethod(module, "format_exception", "OOO", type, value,
                                                           traceback != NULL ? traceback : Py_None);
    PyObject *empty = PyUnicode_FromString("");
    PyObject *joined = lines == NULL || empty == NULL ? NULL : PyUnicode_Join(empty, lines);
    PyObject *bytes = joined == NULL ? NULL : PyUnicode_AsEncodedString(joined, "utf-8", "backslashreplace");
    Py_XDECREF(module);
    Py_XDECREF(lines);
    Py_XDECREF(empty);
    Py_XDECREF(joined);
    if (bytes == NULL)
        PyErr_Clear();
    return bytes;
}

static bool are_disconnects(PyObject *group, int depth);

/* Whether it is an OSError, or one stands behind it. */
static bool is_disconnect(PyObject *error, int depth)
{
    if (error == NULL || !PyExceptionInstance_Check(error) || depth == 0)
        return false;
    if (PyObject_IsInstance(error, PyExc_OSError) == 1 || are_disconnects(error, depth))
        return true;
    PyObject *context = PyException_GetContext(error);
    bool found = is_disconnect(context, depth - 1);
    Py_XDECREF(context);
    return found;
}

/* Whether it is an ExceptionGroup of nothing else. */
static bool are_disconnects(PyObject *group, int depth)
{
    PyObject *errors = PyObject_GetAttrString(group, "exceptions");
    if (errors == NULL)
        PyErr_Clear();
    bool all = errors != NULL && PyTuple_Check(errors) && PyTuple_Size(errors) > 0;
    for (Py_ssize_t i = 0; all && i < PyTuple_Size(errors); i++)
        all = is_disconnect(PyTuple_GetItem(errors, i), depth - 1);
    Py_XDECREF(errors);
    return all;
}

bool exchange_was_left(const struct exchange *x)
{
    enum { DEPTH = 16 };
    PyObject *type, *value, *traceback;

    if (!x->broken || x->torn)
        return false;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    bool expected = is_disconnect(value, DEPTH);
    PyErr_Restore(type, value, traceback);
    return expected;
}

/* Calls the hook of that name in `sys`, which the app may have set; whether it did its work. */
static bool show(const char *name, PyObject *type, PyObject *value, PyObject *traceback)
{
    PyObject *hook = PySys_GetObject(name); /* borrowed, and it may set another one */
    if (hook == NULL)
        return false;
    Py_INCREF(hook);
    PyObject *done =
        PyObject_CallFunctionObjArgs(hook, type, value, traceback != NULL ? traceback : Py_None, NULL);
    if (done == NULL)
        PyErr_WriteUnraisable(hook);
    Py_XDECREF(done);
    Py_DECREF(hook);
    return done != NULL;
}

void exchange_log(struct exchange *x, PyObject **text)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL && PyException_SetTraceback(value, traceback) == -1) /* 3.12 has it there already */
        PyErr_Clear();
    if (text != NULL)
        *text = format_exception(type, value, traceback);
    PyObject *errors = PySys_GetObject("stderr"); /* borrowed */
    if (errors != NULL && errors != Py_None)
        log_headline(x, errors, " failed", ":");
    if (!show("excepthook", type, value, traceback))
        (void)show("__excepthook__", type, value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

void exchange_note(const struct exchange *x, const char *text)
{
    PyObject *errors = PySys_GetObject("stderr"); /* borrowed */
    if (errors != NULL && errors != Py_None)
        log_headline(x, errors, ": ", text);
}
