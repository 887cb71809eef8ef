/* wsgi.h - serving one request after PEP 3333. */
#ifndef PYWORKER_WSGI_H
#define PYWORKER_WSGI_H

#include "exchange.h"

/* What every environ begins with; NULL with an exception. */
PyObject *environ_base(const struct worker *w);

/* The environ of the current request, without wsgi.input; reads off what else the exchange needs of the
 * parameters. NULL with an exception. */
PyObject *environ_make(struct exchange *x);

/* Reads off what the exchange itself needs of the parameters; environ_make() does that, too. */
void environ_scan(struct exchange *x);

/* The parameters, scanned already, as a script's environment: a dict of str, as os.environ has them. NULL
 * with an exception. */
PyObject *environ_variables(struct exchange *x);

/* Serves the request that has begun, with the worker's app or with another one. False: KeyboardInterrupt is
 * set, and the worker has to end. */
bool wsgi_serve(struct exchange *x);
bool wsgi_call(struct exchange *x, PyObject *app);

#endif
