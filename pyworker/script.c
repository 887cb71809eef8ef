/* script.c - see script.h.
 *
 *   find ─┬─ an app ─▶ wsgi.c
 *         └─ a script ─▶ body to a file, a pipe to the pump ─▶ descriptors 0 and 1 ─▶ run ─▶ end
 *               ─▶ descriptors back ─▶ what the pump saw decides: whole, an error page, or cut off
 *
 * Descriptors 0 and 1 are real, so that what the script starts reads and prints where the script does. */
#define _GNU_SOURCE
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "inherit.h"
#include "pump.h"
#include "spool.h"
#include "wsgi.h"

enum found_kind { FOUND_SCRIPT, FOUND_WSGI, FOUND_NOTHING, FOUND_BROKEN }; /* as in scripts.py */

/* One run of one script. */
struct run {
    struct exchange *x;
    PyObject *script; /* what find() gave */
    int body;         /* for descriptor 0 */
    int saved;        /* what descriptor 1 was */
    struct pump *pump;
    PyObject *page; /* bytes: the traceback for a 500, or NULL */
    bool failed;    /* the script ended with an exception that nobody has turned into an answer */
};

/* --- pages --- */

/* Both end the request with a page, or, if it is too late for one, by cutting the answer off. */
static void finish_page(struct exchange *x, const char *status, const char *text)
{
    answer_finish(x, answer_page(x, status, text, strlen(text)) ? 0 : 1);
}

static void finish_failure(struct exchange *x, PyObject *traceback)
{
    answer_finish(x, answer_failure(x, traceback) ? 0 : 1);
}

/* Logs the exception that is set and ends the request with a 500. Returns false if it is KeyboardInterrupt,
 * which stays set. */
static bool finish_exception(struct exchange *x)
{
    PyObject *page = NULL;

    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        answer_finish(x, 1);
        PyErr_Restore(type, value, traceback);
        return false;
    }
    exchange_log(x, x->worker->debug ? &page : NULL);
    finish_failure(x, page);
    Py_XDECREF(page);
    return true;
}

/* --- descriptors --- */

/* Puts the body and a pipe onto descriptors 0 and 1. False: errno. */
static bool enter_descriptors(struct run *r)
{
    int ends[2];

    r->saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (r->saved == -1 || pipe2(ends, O_CLOEXEC) == -1)
        return false;
    r->pump = pump_start(ends[0], &r->x->request, r->x->head_only);
    bool done = r->pump != NULL && dup2(r->body, STDIN_FILENO) != -1 && dup2(ends[1], STDOUT_FILENO) != -1;
    int error = errno;
    (void)close(ends[1]);
    errno = error;
    return done;
}

/* Neither may stay closed, or the next connection would get its number: a copy of descriptor 2
 * goes where the right thing cannot be put. */
static void leave_descriptors(struct run *r)
{
    if (r->saved == -1)
        return; /* they were not touched */
    if (dup2(r->saved, STDOUT_FILENO) == -1)
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* the body's writers must not outlive the request */
    (void)close(r->saved); /* which frees the descriptor that /dev/null needs, should they be used up */
    if (!inherit_null_stdin())
        (void)dup2(STDERR_FILENO, STDIN_FILENO);
    if (r->pump != NULL)
        pump_finish(r->pump);
}

/* --- running --- */

/* Tells the log about an exception of the script, through sys.excepthook, which may write an answer. */
static void tell_exception(struct run *r, PyObject *error)
{
    bool left = PyErr_GivenExceptionMatches(error, PyExc_BrokenPipeError) && pump_peer_left(r->pump);

    if (left) /* it wrote to a client that is gone */
        return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    exchange_log(r->x, r->x->worker->debug ? &r->page : NULL);
}

/* Runs the script with descriptors and environment in place. False: an exception is set. */
static bool run_script(struct run *r, PyObject *variables)
{
    PyObject *scripts = r->x->worker->app;
    PyObject *error = PyObject_CallMethod(scripts, "run", "OO", r->script, variables);
    if (error == NULL)
        return false;
    bool interrupted = PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt) != 0;
    if (error != Py_None && !interrupted)
        tell_exception(r, error);
    PyObject *failed = PyObject_CallMethod(scripts, "end", "O", error == Py_None ? Py_False : Py_True);
    r->failed = failed == NULL || failed == Py_True;
    if (failed != NULL && interrupted)
        PyErr_SetNone(PyExc_KeyboardInterrupt);
    Py_DECREF(error);
    Py_XDECREF(failed);
    return PyErr_Occurred() == NULL;
}

/* --- the end --- */

/* "pyworker: GET '/path': what is wrong", and the page that says so with debug. */
static void complain(struct run *r, const char *what)
{
    exchange_note(r->x, what);
    if (r->page == NULL && r->x->worker->debug)
        r->page = PyBytes_FromFormat("%s\n", what);
    if (r->page == NULL)
        PyErr_Clear();
}

static void complain_about_head(struct run *r)
{
    const struct pump *p = r->pump;
    char text[192];

    (void)snprintf(
        text, sizeof(text),
        "the script's output is no CGI answer (\"Content-Type: text/html\", an empty line, the body): %s",
        p->bad             ? p->head.error
        : p->start.len > 0 ? "its header block has no end"
                           : "it is empty");
    complain(r, text);
}

/* Whether less than Content-Length promises came. */
static bool is_short(struct run *r)
{
    const struct pump *p = r->pump;

    if (p->head_only || exchange_is_bodyless(p->head.status) || p->head.declared <= p->produced)
        return false;
    complain(r, "the script gave fewer bytes than its Content-Length promises");
    return true;
}

/* Ends the request by what the pump has sent. */
static void finish(struct run *r)
{
    const struct pump *p = r->pump;

    r->x->broken = pump_peer_left(p);
    r->x->on_wire = p->committed;
    if (p->committed || r->x->broken) {
        answer_finish(r->x, r->failed || (!r->x->broken && is_short(r)) ? 1 : 0);
        return;
    }
    if (!r->failed)
        complain_about_head(r);
    finish_failure(r->x, r->page);
}

/* Serves with the body at hand. False: KeyboardInterrupt is set. */
static bool serve(struct run *r, PyObject *variables)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    bool done = enter_descriptors(r);

    if (!done)
        PyErr_SetFromErrno(PyExc_OSError);
    else
        done = run_script(r, variables);
    PyErr_Fetch(&type, &value, &traceback);
    Py_BEGIN_ALLOW_THREADS
    leave_descriptors(r);
    Py_END_ALLOW_THREADS
    PyErr_Restore(type, value, traceback);
    if (done) {
        finish(r);
        return true;
    }
    r->x->on_wire = r->pump != NULL && r->pump->committed;
    return finish_exception(r->x);
}

/* The environment with the length of the body, which another web server may not have known. */
static PyObject *make_variables(struct exchange *x, long long size)
{
    PyObject *variables = environ_variables(x);
    PyObject *length = size > 0 && variables != NULL ? PyUnicode_FromFormat("%lld", size) : NULL;
    if (length != NULL && PyDict_SetItemString(variables, "CONTENT_LENGTH", length) == -1)
        Py_CLEAR(variables);
    Py_XDECREF(length);
    return variables;
}

/* The body broke off, or there is no room or no descriptor for it, which is not the script's fault. */
static void refuse_body(struct exchange *x, int error)
{
    char text[128];

    if (error == EPIPE) {
        x->broken = true;
        answer_finish(x, 1);
        return;
    }
    (void)snprintf(text, sizeof(text), "the script's input cannot be kept (a large body in $TMPDIR): %s",
                   strerror(error));
    exchange_note(x, text);
    finish_page(x, "503 Service Unavailable", "Service Unavailable\n");
}

static bool serve_script(struct exchange *x, PyObject *script)
{
    struct run r = {.x = x, .script = script, .saved = -1};
    long long size;
    int error;
    bool go_on = true;

    Py_BEGIN_ALLOW_THREADS
    r.body = spool_body(&x->request, &size);
    error = errno;
    Py_END_ALLOW_THREADS
    if (r.body == -1) {
        refuse_body(x, error);
        return true;
    }
    PyObject *variables = make_variables(x, size);
    if (variables != NULL && x->length != -1 && x->length != size)
        finish_page(x, "400 Bad Request", "The body is not as long as Content-Length says\n");
    else if (variables != NULL)
        go_on = serve(&r, variables);
    else
        go_on = finish_exception(x);
    (void)close(r.body);
    if (r.pump != NULL)
        pump_free(r.pump);
    Py_XDECREF(variables);
    Py_XDECREF(r.page);
    return go_on;
}

/* find() of scripts.py: a tuple (kind, thing), a new reference; NULL with an exception. */
static PyObject *find(struct exchange *x, int *kind, PyObject **thing)
{
    const char *file = preset_parameter(&x->request, "SCRIPT_FILENAME");
    PyObject *name = file == NULL ? NULL : PyUnicode_DecodeFSDefault(file);
    if (name == NULL && PyErr_Occurred() != NULL)
        return NULL;
    PyObject *found = PyObject_CallMethod(x->worker->app, "find", "O", name != NULL ? name : Py_None);
    Py_XDECREF(name);
    if (found != NULL && !PyArg_ParseTuple(found, "iO", kind, thing))
        Py_CLEAR(found);
    return found;
}

bool script_serve(struct exchange *x)
{
    int kind = FOUND_BROKEN;
    PyObject *thing = NULL;
    bool go_on = true;

    answer_begin(x);
    environ_scan(x);
    PyObject *found = find(x, &kind, &thing);
    if (found == NULL)
        return finish_exception(x);
    if (kind == FOUND_WSGI) {
        go_on = wsgi_call(x, thing);
    } else if (kind == FOUND_SCRIPT) {
        go_on = serve_script(x, thing);
    } else if (kind == FOUND_BROKEN) {
        PyErr_SetObject((PyObject *)Py_TYPE(thing), thing);
        go_on = finish_exception(x);
    } else {
        finish_page(x, "404 Not Found", "There is no such script\n");
    }
    Py_DECREF(found);
    return go_on;
}
