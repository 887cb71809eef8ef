/* awaitable.c - what is the same for the awaitables of receive() and send(). */
#include "awaitable.h"

#include "handles.h"

PyObject *awaitable_new(PyObject *type, struct call *c, PyObject *message)
{
    struct awaitable *a = PyObject_New(struct awaitable, (PyTypeObject *)type);
    if (a == NULL)
        return NULL;
    Py_INCREF(c);
    Py_XINCREF(message);
    a->call = c;
    a->message = message;
    a->waiter = (struct waiter){0};
    a->sent = false;
    return (PyObject *)a;
}

static void dealloc(PyObject *self)
{
    struct awaitable *a = (struct awaitable *)self;
    PyTypeObject *type = Py_TYPE(self);

    waiter_end(&a->waiter);
    Py_DECREF(a->call);
    Py_XDECREF(a->message);
    PyObject_Free(self);
    Py_DECREF(type); /* an instance of a heap type owns a reference to it */
}

PyObject *awaitable_result(PyObject *step)
{
    if (step == NULL && PyErr_Occurred() == NULL)
        PyErr_SetNone(PyExc_StopIteration);
    return step;
}

static PyObject *awaitable_send(PyObject *self, PyObject *value)
{
    (void)value; /* asyncio sends nothing but None */
    return awaitable_result(((iternextfunc)PyType_GetSlot(Py_TYPE(self), Py_tp_iternext))(self));
}

void awaitable_raise(PyObject *args)
{
    PyObject *type;
    PyObject *value = NULL;
    PyObject *traceback = NULL;

    if (!PyArg_ParseTuple(args, "O|OO:throw", &type, &value, &traceback))
        return;
    if (!PyType_Check(type)) { /* an exception, without more */
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
        return;
    }
    Py_INCREF(type);
    Py_XINCREF(value);
    Py_XINCREF(traceback);
    PyErr_Restore(type, value, traceback);
}

static PyObject *awaitable_throw(PyObject *self, PyObject *args)
{
    waiter_end(&((struct awaitable *)self)->waiter);
    awaitable_raise(args);
    return NULL;
}

static PyObject *awaitable_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    waiter_end(&((struct awaitable *)self)->waiter);
    Py_RETURN_NONE;
}

PyObject *awaitable_type(const char *name, iternextfunc step)
{
    static PyMethodDef methods[] = {
        {"send",  awaitable_send,  METH_O,       "Goes on."                  },
        {"throw", awaitable_throw, METH_VARARGS, "Ends it with an exception."},
        {"close", awaitable_close, METH_NOARGS,  "Ends it."                  },
        {NULL,    NULL,            0,            NULL                        },
    };
    PyType_Slot slots[] = {
        {Py_tp_new,      (void *)handle_refuse_new},
        {Py_tp_dealloc,  (void *)dealloc          },
        {Py_tp_iter,     (void *)PyObject_SelfIter},
        {Py_am_await,    (void *)PyObject_SelfIter},
        {Py_tp_iternext, (void *)step             },
        {Py_tp_methods,  (void *)methods          },
        {0,              NULL                     },
    };
    PyType_Spec spec = {name, sizeof(struct awaitable), 0, Py_TPFLAGS_DEFAULT, slots};
    return PyType_FromSpec(&spec);
}
