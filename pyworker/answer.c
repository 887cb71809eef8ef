/* answer.c - the answer of one exchange as a state: no head, head set (may be replaced), committed, on the
 * wire, ended.
 *
 * Small pieces gather in `pending`, so that a small answer leaves in one write together with the records that
 * end it. */
#include "answer.h"

#include <errno.h>
#include <stdio.h>

#include "head.h"
#include "output.h"
#include "threads.h"

enum {
    PENDING_KEEP = 16384, /* bytes that gather before they are written; as many stay allocated */
    PAGE_HEAD_MAX = 160
};

void answer_begin(struct exchange *x)
{
    buffer_clear(&x->pending, PENDING_KEEP);
    x->status = 0;
    x->declared = -1;
    x->produced = 0;
    x->head_only = x->committed = x->on_wire = x->ended = x->broken = x->torn = false;
}

/* --- writing --- */

/* Runs the output without the GIL; signal handlers of Python run in between. Who calls it has entered. */
static bool run(struct exchange *x, struct output *o)
{
    int error;

    x->on_wire = true; /* before another thread can ask */
    do {
        Py_BEGIN_ALLOW_THREADS
        error = output_run(o);
        Py_END_ALLOW_THREADS
    } while (error == EINTR && PyErr_CheckSignals() == 0);
    x->broken = error != 0;
    x->torn = error == EINTR; /* a handler has raised */
    return !x->torn;
}

/* What is under way is nobody's to add to: another thread of the app may try. */
static bool send_pending(struct exchange *x, const char *data, size_t len, bool end)
{
    struct output o;

    output_begin(&o, x->request.fd, x->request.id);
    /* Between two pieces of a stream: who has left is noticed here, else only when the socket is full. */
    if (x->on_wire && !x->ended && !end && output_peer_left(&o))
        x->broken = true;
    if (x->broken)
        return true;
    if (!exchange_enter(x)) {
        buffer_clear(&x->pending, PENDING_KEEP); /* the answer is cut off here: it is not `ended` */
        return false;
    }
    struct buffer under_way = x->pending;
    buffer_init(&x->pending, under_way.ceiling);
    if (under_way.len > 0)
        output_add(&o, under_way.data, under_way.len);
    if (len > 0)
        output_add(&o, data, len);
    if (end && !x->ended) {
        output_close_stream(&o);
        x->ended = true;
    }
    bool done = run(x, &o);
    exchange_leave(x);
    if (x->pending.data != NULL) {
        buffer_free(&under_way);
    } else {
        x->pending = under_way;
        buffer_clear(&x->pending, PENDING_KEEP);
    }
    return done;
}

/* --- the head --- */

bool answer_head(struct exchange *x, PyObject *status, PyObject *headers)
{
    buffer_clear(&x->pending, PENDING_KEEP);
    x->declared = -1;
    x->committed = false;
    x->produced = 0;
    x->status = head_write(&x->pending, status, headers, &x->declared);
    return x->status != 0;
}

bool answer_length(struct exchange *x, long long length)
{
    char line[48];

    if (x->status == 0 || x->committed || x->declared != -1 || exchange_is_bodyless(x->status))
        return true;
    x->declared = length;
    int n = snprintf(line, sizeof(line), "Content-Length: %lld\r\n", length);
    return head_append(&x->pending, line, (size_t)n);
}

static bool commit(struct exchange *x)
{
    if (x->committed)
        return true;
    if (x->status == 0) {
        PyErr_SetString(PyExc_AssertionError, "the app did not call start_response() before its body");
        return false;
    }
    x->committed = true;
    return head_append(&x->pending, "\r\n", 2);
}

/* --- the body and the end --- */

/* Counts body and cuts what Content-Length does not allow. */
static size_t admit(struct exchange *x, size_t len)
{
    long long left = x->declared == -1 ? (long long)len : x->declared - x->produced;
    if (left < (long long)len)
        len = left > 0 ? (size_t)left : 0;
    x->produced += (long long)len;
    return x->head_only ? 0 : len;
}

bool answer_body(struct exchange *x, const char *data, size_t len, bool flush)
{
    if (len == 0)
        return true;
    if (!commit(x))
        return false;
    len = admit(x, len);
    if (x->ended && len > 0) { /* by close(), or a thread of the app */
        PyErr_SetString(PyExc_RuntimeError, "the answer is complete");
        return false;
    }
    bool whole = x->declared != -1 && x->produced == x->declared;
    if (x->pending.len + len <= PENDING_KEEP && buffer_append(&x->pending, data, len))
        return !flush || x->ended || send_pending(x, NULL, 0, whole);
    return send_pending(x, data, len, whole);
}

bool answer_complete(struct exchange *x, bool now)
{
    if (!commit(x))
        return false;
    bool has_body = !x->head_only && !exchange_is_bodyless(x->status);
    if (has_body && !x->broken && x->declared > x->produced) { /* to a client that has left it need not be */
        PyErr_Format(PyExc_AssertionError, "the app gave %lld bytes of the %lld that Content-Length promises",
                     x->produced, x->declared);
        return false;
    }
    return !now || x->ended || x->busy || send_pending(x, NULL, 0, true);
}

void answer_finish(struct exchange *x, unsigned app_status)
{
    struct output o;
    bool keep = false;
    int error = 0;

    exchange_claim(x);
    output_begin(&o, x->request.fd, x->request.id);
    if (app_status == 0) {
        if (x->pending.len > 0)
            output_add(&o, x->pending.data, x->pending.len);
        if (!x->ended)
            output_close_stream(&o);
    }
    output_close_request(&o, app_status);
    threads_done(&x->worker->threads, x);
    Py_BEGIN_ALLOW_THREADS
    if (!x->broken) {
        keep = exchange_keep_or_shut(x, preset_drain(&x->request));
        do {
            error = output_run(&o);
        } while (error == EINTR);
    }
    core_end(&x->worker->core, &x->request, keep && error == 0);
    Py_END_ALLOW_THREADS
    exchange_leave(x);
}

bool answer_page(struct exchange *x, const char *status, const char *text, size_t len)
{
    char head[PAGE_HEAD_MAX];

    if (x->on_wire)
        return false;
    buffer_clear(&x->pending, PENDING_KEEP);
    int n = snprintf(head, sizeof(head),
                     "Status: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n\r\n",
                     status, len);
    x->status = 500;
    x->committed = true;
    x->on_wire = true; /* as good as that: close() may not set another head */
    x->declared = x->produced = (long long)len;
    return buffer_append(&x->pending, head, (size_t)n) &&
           (x->head_only || buffer_append(&x->pending, text, len));
}

bool answer_failure(struct exchange *x, PyObject *traceback)
{
    static const char status[] = "500 Internal Server Error";
    static const char text[] = "Internal Server Error\n";

    if (traceback == NULL)
        return answer_page(x, status, text, sizeof(text) - 1);
    return answer_page(x, status, PyBytes_AsString(traceback), (size_t)PyBytes_Size(traceback));
}
