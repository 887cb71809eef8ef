/* file_wrapper.c - wsgi.file_wrapper: iterates a file in blocks; a plain file is sent by pread, outside
 * Python. */
#include "handles.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>

#include "answer.h"
#include "record.h"

enum {
    BLOCK_DEFAULT = 8192,                /* bytes per read() when iterating, as in PEP 3333 */
    BLOCK_PLAIN = 2 * RECORD_CONTENT_MAX /* bytes per pread: two whole records, one write */
};

struct file_wrapper {
    PyObject_HEAD
    PyObject *file;
    Py_ssize_t block;
};

static int wrapper_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"file", "block_size", NULL};
    struct file_wrapper *wrapper = (struct file_wrapper *)self;
    PyObject *file;
    Py_ssize_t block = BLOCK_DEFAULT;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n:file_wrapper", names, &file, &block))
        return -1;
    PyObject *before = wrapper->file;
    Py_INCREF(file);
    wrapper->file = file;
    wrapper->block = block > 0 ? block : BLOCK_DEFAULT;
    Py_XDECREF(before);
    return 0;
}

static void wrapper_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct file_wrapper *)self)->file);
    PyObject_Free(self);
    Py_DECREF(type); /* an instance of a heap type owns a reference to it */
}

static PyObject *wrapper_next(PyObject *self)
{
    struct file_wrapper *wrapper = (struct file_wrapper *)self;
    if (wrapper->file == NULL)
        return NULL; /* made without __init__: nothing to iterate */
    PyObject *data = PyObject_CallMethod(wrapper->file, "read", "n", wrapper->block);
    if (data != NULL && PyObject_Size(data) <= 0)
        Py_CLEAR(data); /* the end, or an exception: what has no length is no block */
    return data;
}

static PyObject *wrapper_close(PyObject *self, PyObject *unused)
{
    PyObject *file = ((struct file_wrapper *)self)->file;

    (void)unused;
    if (file == NULL || !PyObject_HasAttrString(file, "close"))
        Py_RETURN_NONE;
    return PyObject_CallMethod(file, "close", NULL);
}

PyObject *file_wrapper_type(void)
{
    static PyMethodDef methods[] = {
        {"close", wrapper_close, METH_NOARGS, "Closes the file, if it can be closed."},
        {NULL,    NULL,          0,           NULL                                   },
    };
    static PyType_Slot slots[] = {
        {Py_tp_init,     (void *)wrapper_init                                                             },
        {Py_tp_dealloc,  (void *)wrapper_dealloc                                                          },
        {Py_tp_iter,     (void *)PyObject_SelfIter                                                        },
        {Py_tp_iternext, (void *)wrapper_next                                                             },
        {Py_tp_methods,  methods                                                                          },
        {Py_tp_doc,      (void *)"file_wrapper(file, block_size=8192): the file as the body of an answer."},
        {0,              NULL                                                                             },
    };
    static PyType_Spec spec = {"pyworker.file_wrapper", sizeof(struct file_wrapper), 0, Py_TPFLAGS_DEFAULT,
                               slots};
    return PyType_FromSpec(&spec);
}

/* --- plain files --- */

/* Whether what read() gives are the bytes of the descriptor: a gzip.GzipFile has a fileno() too, of the
 * packed file. */
static bool is_plain(const struct worker *w, PyObject *file)
{
    if ((PyObject *)Py_TYPE(file) == w->raw_file_type)
        return true;
    if ((PyObject *)Py_TYPE(file) != w->buffered_reader_type)
        return false;
    PyObject *raw = PyObject_GetAttrString(file, "raw");
    bool plain = raw != NULL && (PyObject *)Py_TYPE(raw) == w->raw_file_type;
    if (raw == NULL)
        PyErr_Clear(); /* a detached reader: reading it will raise */
    Py_XDECREF(raw);
    return plain;
}

static long long call_number(PyObject *file, const char *method)
{
    PyObject *result = PyObject_CallMethod(file, method, NULL);
    long long number = result == NULL ? -1 : PyLong_AsLongLong(result);
    Py_XDECREF(result);
    if (number < 0)
        PyErr_Clear(); /* closed, or a pipe: iterating says what is wrong, if anything is */
    return number;
}

/* One block from `at`; returns its length, 0 at the end of the file, -1 with an exception. */
static ssize_t send_block(struct exchange *x, int fd, off_t at, char *block, size_t len)
{
    ssize_t n;
    int error;
    do {
        Py_BEGIN_ALLOW_THREADS
        n = pread(fd, block, len, at);
        error = errno;
        Py_END_ALLOW_THREADS
    } while (n == -1 && error == EINTR && PyErr_CheckSignals() == 0);
    if (n == -1 && error != EINTR) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return n > 0 && !answer_body(x, block, (size_t)n, true) ? -1 : n;
}

static bool send_range(struct exchange *x, int fd, off_t at, off_t end)
{
    ssize_t n = 0;
    char *block = malloc(BLOCK_PLAIN);
    if (block == NULL) {
        PyErr_NoMemory();
        return false;
    }
    while (at < end && !x->broken) {
        n = send_block(x, fd, at, block, end - at < BLOCK_PLAIN ? (size_t)(end - at) : BLOCK_PLAIN);
        if (n <= 0)
            break; /* 0: truncated meanwhile; the length that was promised tells */
        at += n;
    }
    free(block);
    return n != -1;
}

int file_wrapper_send(struct exchange *x, PyObject *wrapper)
{
    PyObject *file = ((struct file_wrapper *)wrapper)->file;
    struct stat info;

    if (file == NULL || !is_plain(x->worker, file))
        return 0;
    long long at = call_number(file, "tell");
    long long fd = call_number(file, "fileno");
    if (at < 0 || fd < 0 || fstat((int)fd, &info) == -1 || !S_ISREG(info.st_mode))
        return 0;
    off_t end = info.st_size > at ? info.st_size : at;
    if (!answer_length(x, end - at))
        return -1;
    if (x->declared != -1 && end - at > x->declared - x->produced)
        end = at + (x->declared - x->produced); /* a range of it; write() may have begun it */
    return x->head_only || send_range(x, (int)fd, at, end) ? 1 : -1;
}
