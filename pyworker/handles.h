/* handles.h - the objects through which an app reaches its request: wsgi.input, start_response and its
 * write(). An app may keep them; once the request is over they raise. */
#ifndef PYWORKER_HANDLES_H
#define PYWORKER_HANDLES_H

#include "exchange.h"

/* What both types are: a reference to the exchange. */
struct handle {
    PyObject_HEAD
    struct exchange *x; /* NULL: the request is over */
};

/* A new handle of `type`, or NULL with an exception. */
PyObject *handle_new(PyObject *type, struct exchange *x);
void handle_detach(PyObject *handle); /* NULL is allowed */
void handle_dealloc(PyObject *handle);

/* tp_new of a type whose objects are nothing without a request, so that type(x)() makes none. */
PyObject *handle_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* The types, for the module's start; NULL with an exception. */
PyObject *input_type(void);
PyObject *responder_type(void);
PyObject *file_wrapper_type(void);

/* Writes the file behind a wsgi.file_wrapper, from its current position, without Python, if it is a plain
 * file. 1: done; 0: it is not, iterate; -1: an exception is set. */
int file_wrapper_send(struct exchange *x, PyObject *wrapper);

#endif
