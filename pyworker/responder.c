/* responder.c - start_response and the write() that it returns (PEP 3333). */
#include "handles.h"

#include "answer.h"

static PyObject *responder_write(PyObject *self, PyObject *data)
{
    struct exchange *x = ((struct handle *)self)->x;

    if (!PyBytes_Check(data)) {
        PyErr_Format(PyExc_TypeError, "write() takes bytes, not %R", (PyObject *)Py_TYPE(data));
        return NULL;
    }
    if (!exchange_enter(x)) /* now, before anything is added to the answer */
        return NULL;
    exchange_leave(x);
    if (!answer_body(x, PyBytes_AsString(data), (size_t)PyBytes_Size(data), true))
        return NULL;
    if (x->broken) {
        PyErr_SetString(PyExc_BrokenPipeError, "the client is gone");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Returns whether the head may be set, or set again. */
static bool may_start(const struct exchange *x, PyObject *exc_info)
{
    if (exc_info == NULL || exc_info == Py_None) {
        if (x->status != 0)
            PyErr_SetString(PyExc_AssertionError, "start_response() was called twice without exc_info");
        return x->status == 0;
    }
    PyObject *type, *value, *traceback;
    if (!PyTuple_Check(exc_info)) {
        PyErr_SetString(PyExc_TypeError, "exc_info must be (type, value, traceback)");
        return false;
    }
    if (!PyArg_ParseTuple(exc_info, "OOO;exc_info must be (type, value, traceback)", &type, &value,
                          &traceback))
        return false;
    if (!x->on_wire)
        return true;
    if (!PyExceptionInstance_Check(value)) { /* sys.exc_info() outside a handler has three None */
        PyErr_SetString(PyExc_TypeError, "exc_info has no exception to raise, and the head is sent already");
        return false;
    }
    if (PyException_SetTraceback(value, traceback) == 0)
        PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    return false;
}

static PyObject *responder_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static PyMethodDef write_method = {"write", responder_write, METH_O,
                                       "write(data): sends bytes of body at once."};
    static char *names[] = {"status", "headers", "exc_info", NULL};
    struct exchange *x = ((struct handle *)self)->x;
    PyObject *status, *headers;
    PyObject *exc_info = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O:start_response", names, &status, &headers,
                                     &exc_info))
        return NULL;
    if (x == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the request is over");
        return NULL;
    }
    if (!may_start(x, exc_info) || !answer_head(x, status, headers))
        return NULL;
    return PyCFunction_NewEx(&write_method, self, NULL);
}

PyObject *responder_type(void)
{
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, (void *)handle_dealloc                                                  },
        {Py_tp_call,    (void *)responder_call                                                  },
        {Py_tp_doc,     (void *)"start_response(status, headers, exc_info=None) of one request."},
        {0,             NULL                                                                    },
    };
    static PyType_Spec spec = {"pyworker.start_response", sizeof(struct handle), 0, Py_TPFLAGS_DEFAULT,
                               slots};
    return PyType_FromSpec(&spec);
}
