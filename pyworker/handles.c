/* handles.c - what the objects that refer to an exchange share. */
#include "handles.h"

PyObject *handle_new(PyObject *type, struct exchange *x)
{
    struct handle *handle = PyObject_New(struct handle, (PyTypeObject *)type);
    if (handle != NULL)
        handle->x = x;
    return (PyObject *)handle;
}

PyObject *handle_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return PyErr_Format(PyExc_TypeError, "%R: the worker alone makes these", type);
}

void handle_detach(PyObject *handle)
{
    if (handle != NULL)
        ((struct handle *)handle)->x = NULL;
}

void handle_dealloc(PyObject *handle)
{
    PyTypeObject *type = Py_TYPE(handle);
    PyObject_Free(handle);
    Py_DECREF(type); /* an instance of a heap type owns a reference to it */
}
