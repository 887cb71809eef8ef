/* wsgi.c - one request after PEP 3333: call the app, send what it returns, close it, end the request.
 *
 *   environ, start_response ─▶ app ─▶ iterable ─▶ body ─▶ empty STDOUT ─▶ close() ─▶ END_REQUEST
 *                                        │ exception: log; before the first byte a 500, after it a cut answer
 */
#include "wsgi.h"

#include <string.h>

#include "answer.h"
#include "handles.h"

/* --- the body --- */

static bool send_item(struct exchange *x, PyObject *item, bool flush)
{
    if (!PyBytes_Check(item)) {
        PyErr_Format(PyExc_TypeError, "the body must be an iterable of bytes, and this one has %R",
                     (PyObject *)Py_TYPE(item));
        return false;
    }
    return answer_body(x, PyBytes_AsString(item), (size_t)PyBytes_Size(item), flush);
}

/* The bytes that a list or tuple holds; -1: it has other things, which sending it will tell. */
static long long sequence_length(PyObject *fast, Py_ssize_t count)
{
    long long total = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(fast, i);
        if (!PyBytes_Check(item))
            return -1;
        total += PyBytes_Size(item);
    }
    return total;
}

/* All of it is there already, so its length is known and nothing has to be flushed in between. */
static bool send_sequence(struct exchange *x, PyObject *result)
{
    PyObject *items = PySequence_Tuple(result); /* a list may change while it is sent */
    if (items == NULL)
        return false;
    Py_ssize_t count = PyTuple_Size(items);
    long long length = sequence_length(items, count);
    bool says_nothing = length == 0 && x->head_only; /* of GET: some frameworks drop the body of a HEAD */
    bool done = length == -1 || says_nothing || answer_length(x, length);
    for (Py_ssize_t i = 0; done && i < count && !x->broken; i++)
        done = send_item(x, PyTuple_GetItem(items, i), false);
    Py_DECREF(items);
    return done;
}

/* Whether this item goes beyond Content-Length; what comes after it is not asked for (PEP 3333, "Handling the
 * Content-Length Header"). One that is empty does not: the app may have more to do behind its last piece. */
static bool is_beyond(const struct exchange *x, PyObject *item)
{
    return x->declared != -1 && x->produced >= x->declared && PyBytes_Check(item) && PyBytes_Size(item) > 0;
}

static bool send_iterable(struct exchange *x, PyObject *result)
{
    if (PyBytes_Check(result) || PyUnicode_Check(result)) {
        PyErr_Format(PyExc_TypeError, "the app returned %R, not an iterable of bytes: return [body]",
                     (PyObject *)Py_TYPE(result));
        return false;
    }
    PyObject *iterator = PyObject_GetIter(result);
    bool done = iterator != NULL;
    bool more = true;
    while (done && more && !x->broken) {
        PyObject *item = PyIter_Next(iterator);
        if (item == NULL) {
            done = PyErr_Occurred() == NULL;
            break;
        }
        more = !is_beyond(x, item);
        done = !more || send_item(x, item, true);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    return done;
}

static bool send_result(struct exchange *x, PyObject *result)
{
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return send_sequence(x, result);
    if ((PyObject *)Py_TYPE(result) == x->worker->file_wrapper_type) {
        int sent = file_wrapper_send(x, result);
        if (sent != 0)
            return sent == 1;
    }
    return send_iterable(x, result);
}

/* --- failures --- */

/* Logs the exception and prepares the answer that is left to give; returns the appStatus to end with. With
 * `interrupt` KeyboardInterrupt is not logged but left set. */
static unsigned fail(struct exchange *x, bool *interrupt)
{
    PyObject *traceback = NULL;

    *interrupt = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0;
    if (*interrupt)
        return 1;
    if (exchange_was_left(x)) {
        PyErr_Clear();
        return 1;
    }
    exchange_log(x, x->worker->debug ? &traceback : NULL);
    unsigned status = x->ended || answer_failure(x, traceback) ? 0 : 1;
    Py_XDECREF(traceback);
    return status;
}

/* --- close --- */

/* The bound close() of what the app returned, or NULL; lists have none. */
static PyObject *find_close(struct exchange *x, PyObject *result)
{
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return NULL;
    PyObject *close = PyObject_GetAttr(result, x->worker->close_name);
    if (close == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Clear();
        else
            exchange_log(x, NULL);
    }
    return close;
}

/* Calls it whatever happened before, with no exception set; an exception that is set stays. Returns whether
 * it was interrupted. */
static bool call_close(struct exchange *x, PyObject *close)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *done = PyObject_CallFunctionObjArgs(close, NULL);
    exchange_end_child(done != NULL);
    Py_XDECREF(done);
    bool interrupted = done == NULL && type == NULL && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
    if (interrupted)
        return true;
    if (done == NULL)
        exchange_log(x, NULL);
    PyErr_Restore(type, value, traceback);
    return false;
}

/* --- one request --- */

/* Sends all that the app returned and completes the answer, at once if more than END_REQUEST is still to wait
 * for. */
static bool send_answer(struct exchange *x, PyObject *result, bool has_close)
{
    return send_result(x, result) && answer_complete(x, has_close || !preset_at_end(&x->request));
}

static bool serve(struct exchange *x, PyObject *app, PyObject *env, PyObject *responder)
{
    bool interrupt = false;
    unsigned status = 0;

    PyObject *result = PyObject_CallFunctionObjArgs(app, env, responder, NULL);
    exchange_end_child(result != NULL);
    PyObject *close = result == NULL ? NULL : find_close(x, result);
    bool done = result != NULL && send_answer(x, result, close != NULL);
    exchange_end_child(done);
    if (!done)
        status = fail(x, &interrupt);
    if (close != NULL) {
        interrupt = call_close(x, close) || interrupt;
        Py_DECREF(close);
    }
    answer_finish(x, status);
    Py_XDECREF(result);
    return !interrupt;
}

bool wsgi_call(struct exchange *x, PyObject *app)
{
    const struct worker *w = x->worker;
    bool interrupt = false;
    bool go_on = true;

    answer_begin(x);
    PyObject *env = environ_make(x);
    PyObject *input = handle_new(w->input_type, x);
    PyObject *responder = handle_new(w->responder_type, x);
    if (env != NULL && input != NULL && responder != NULL && PyDict_SetItem(env, w->input_name, input) == 0) {
        go_on = serve(x, app, env, responder);
    } else {
        unsigned status = fail(x, &interrupt);
        answer_finish(x, status);
        go_on = !interrupt;
    }
    handle_detach(input);
    handle_detach(responder);
    Py_XDECREF(env);
    Py_XDECREF(input);
    Py_XDECREF(responder);
    return go_on;
}

bool wsgi_serve(struct exchange *x)
{
    return wsgi_call(x, x->worker->app);
}
