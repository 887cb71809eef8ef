/* answer.h - the answer of one exchange: its head, its body, its end. All of it is called with the GIL, and
 * gives the GIL away while it writes. Functions that return bool set an exception when they return false,
 * unless said otherwise. */
#ifndef PYWORKER_ANSWER_H
#define PYWORKER_ANSWER_H

#include "exchange.h"

/* Makes ready for the answer of a request that has just begun. */
void answer_begin(struct exchange *x);

/* Sets, or replaces, the head: "Status: ..." and the header lines. */
bool answer_head(struct exchange *x, PyObject *status, PyObject *headers);

/* Adds body. `flush`: it is on its way when this returns. A peer that is gone is no error here: see
 * x->broken. */
bool answer_body(struct exchange *x, const char *data, size_t len, bool flush);

/* Gives the whole length of the body, if the head is not complete yet and does not say it. */
bool answer_length(struct exchange *x, long long length);

/* Checks that the answer is whole: a head, and as much body as it promised. `now`: tells the client at once,
 * by the empty STDOUT record, that it is, unless a thread is still inside; else answer_finish() will. */
bool answer_complete(struct exchange *x, bool now);

/* Ends the request: completes the answer if need be, END_REQUEST, and keeps the connection if that is safe.
 * Never leaves an exception set. `app_status` other than 0: the answer is cut off here, and no empty STDOUT
 * says otherwise. */
void answer_finish(struct exchange *x, unsigned app_status);

/* Replaces what was not yet written by a plain text page with this status; false (no exception) if it is too
 * late. */
bool answer_page(struct exchange *x, const char *status, const char *text, size_t len);

/* The same for a 500. `traceback`: bytes, or NULL: the page tells nothing. */
bool answer_failure(struct exchange *x, PyObject *traceback);

#endif
