/* reply.h - the answer of an ASGI request: what send() gives, on its way without waiting. All of it needs the
 * GIL. */
#ifndef PYWORKER_REPLY_H
#define PYWORKER_REPLY_H

#include "call.h"

enum { REPLY_TRIAL = 16 }; /* the first answers of a worker, which are not held, see reply.c */

/* Takes one message. False: an exception is set. While call->writing is true afterwards it is still on its
 * way; before the next one the caller waits for that to end (waiter.h). */
bool reply_take(struct call *c, PyObject *message);

/* The app does something else now: what it has sent leaves. */
void reply_release(struct call *c);

/* Goes on with what was still on its way. */
void reply_resume(struct call *c);

/* The last that is written: END_REQUEST. Sets call->keep. As answer_finish() otherwise. */
void reply_close(struct call *c, unsigned app_status);

#endif
