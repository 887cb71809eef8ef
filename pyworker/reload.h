/* reload.h - --reload: a worker whose sources have changed begins no further request. */
#ifndef PYWORKER_RELOAD_H
#define PYWORKER_RELOAD_H

#include "exchange.h"

/* Whether the sources have changed, looked at no more than once a second (in a copy: always). Then the
 * request that has begun is refused, so that it can be sent elsewhere, and the worker stops. Without
 * --reload: false. */
bool reload_refuses(struct exchange *x);

/* As worker.serve: serves with worker.serve_fresh what is not refused. */
bool reload_serve(struct exchange *x);

#endif
