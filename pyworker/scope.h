/* scope.h - the parameters of a request as an ASGI scope. */
#ifndef PYWORKER_SCOPE_H
#define PYWORKER_SCOPE_H

#include "asgi.h"
#include "call.h"

/* What every scope begins with; NULL with an exception. */
PyObject *scope_base(void);

/* The name of the header that a parameter is about, lower-case: "HTTP_ACCEPT" is b"accept". */
PyObject *scope_header_name(const char *parameter, size_t len);

/* The scope of the request; reads off what else the call needs of the parameters. NULL with an exception. */
PyObject *scope_make(struct call *c);

#endif
