/* script.h - serving one request with a script, after RFC 3875: its environment, its body on descriptor 0,
 * its output from descriptor 1. */
#ifndef PYWORKER_SCRIPT_H
#define PYWORKER_SCRIPT_H

#include "exchange.h"

/* Serves the request with whatever the worker's `app`, a Scripts object of scripts.py, finds for it. False:
 * KeyboardInterrupt is set, and the worker has to end. */
bool script_serve(struct exchange *x);

#endif
