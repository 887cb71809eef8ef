/* redirect.h - the handler that sends a client on to the same path with a slash at its end: what it names is
 * a directory. */
#ifndef LEANGATE_REDIRECT_H
#define LEANGATE_REDIRECT_H

#include "request.h"

/* r->app_conf must be set before start. The answer is complete when start returns. */
extern const struct handler redirect_handler;

#endif
