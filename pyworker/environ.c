/* environ.c - the parameters of a request as a WSGI environ: native strings that hold Latin-1 (PEP 3333). */
#include "wsgi.h"

#include <string.h>

#include "field.h"

static bool set(PyObject *env, const char *key, PyObject *value)
{
    bool done = value != NULL && PyDict_SetItemString(env, key, value) == 0;
    Py_XDECREF(value);
    return done;
}

PyObject *environ_base(const struct worker *w)
{
    PyObject *env = PyDict_New();
    Py_INCREF(w->file_wrapper_type);
    /* multiprocess: the gateway may run several workers of one app, and another web server may too.
     * SCRIPT_NAME, PATH_INFO: other web servers leave out what is empty, and many apps do not expect it. */
    if (env == NULL || !set(env, "wsgi.file_wrapper", w->file_wrapper_type) ||
        !set(env, "SCRIPT_NAME", PyUnicode_FromString("")) ||
        !set(env, "PATH_INFO", PyUnicode_FromString("")) ||
        !set(env, "wsgi.version", Py_BuildValue("(ii)", 1, 0)) ||
        !set(env, "wsgi.url_scheme", PyUnicode_FromString("http")) ||
        !set(env, "wsgi.multiprocess", PyBool_FromLong(1)) ||
        !set(env, "wsgi.run_once", PyBool_FromLong(0)) ||
        !set(env, "wsgi.input_terminated", PyBool_FromLong(1)))
        Py_CLEAR(env);
    return env;
}

/* Notes what the exchange itself needs. Returns whether this parameter says that the scheme is https. A
 * CONTENT_LENGTH may be empty, as some web servers send it for no body, or no number, as Caddy's -1 for a
 * chunked body. */
static bool note(struct exchange *x, const char *name, size_t len, const char *value)
{
    if (field_is(name, len, "CONTENT_LENGTH"))
        x->length = field_length(value, strlen(value));
    else if (field_is(name, len, "REQUEST_METHOD"))
        x->head_only = strcmp(value, "HEAD") == 0;
    else if (field_is(name, len, "REQUEST_SCHEME"))
        return strcmp(value, "https") == 0;
    else if (field_is(name, len, "HTTPS"))
        return strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
    return false;
}

/* CONTENT_LENGTH without a number, when it has been noted: apps read it as a number. */
static bool is_void(const struct exchange *x, const char *name, size_t len)
{
    return x->length == -1 && field_is(name, len, "CONTENT_LENGTH");
}

void environ_scan(struct exchange *x)
{
    x->length = -1;
    x->taken = 0;
    for (char **p = preset_parameters(&x->request); *p != NULL; p++) {
        size_t len = preset_name_length(*p);
        if (len > 0)
            (void)note(x, *p, len, *p + len + 1);
    }
}

PyObject *environ_variables(struct exchange *x)
{
    PyObject *variables = PyDict_New();
    for (char **p = preset_parameters(&x->request); variables != NULL && *p != NULL; p++) {
        size_t len = preset_name_length(*p);
        if (len == 0 || is_void(x, *p, len))
            continue;
        PyObject *key = PyUnicode_DecodeFSDefaultAndSize(*p, (Py_ssize_t)len);
        PyObject *value = key == NULL ? NULL : PyUnicode_DecodeFSDefault(*p + len + 1);
        if (value == NULL || PyDict_SetItem(variables, key, value) == -1)
            Py_CLEAR(variables);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return variables;
}

static bool put(struct exchange *x, PyObject *env, const char *name, size_t len, const char *text)
{
    PyObject *key = names_get(&x->worker->names, name, len);
    PyObject *value = key == NULL ? NULL : PyUnicode_DecodeLatin1(text, (Py_ssize_t)strlen(text), NULL);
    bool done = value != NULL && PyDict_SetItem(env, key, value) == 0;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return done;
}

static bool put_errors(const struct worker *w, PyObject *env)
{
    PyObject *errors =
        PySys_GetObject("stderr"); /* borrowed; looked up each time, since the app may replace it */
    return PyDict_SetItem(env, w->errors_name, errors != NULL ? errors : Py_None) == 0;
}

PyObject *environ_make(struct exchange *x)
{
    bool https = false;
    PyObject *env = PyDict_Copy(x->worker->base_environ);
    if (env == NULL)
        return NULL;
    x->length = -1;
    x->taken = 0;
    for (char **p = preset_parameters(&x->request); *p != NULL; p++) {
        size_t len = preset_name_length(*p);
        if (len == 0)
            continue;
        https = note(x, *p, len, *p + len + 1) || https;
        if (is_void(x, *p, len))
            continue;
        if (!put(x, env, *p, len, *p + len + 1)) {
            Py_DECREF(env);
            return NULL;
        }
    }
    if (!put_errors(x->worker, env) || (https && !set(env, "wsgi.url_scheme", PyUnicode_FromString("https"))))
        Py_CLEAR(env);
    return env;
}
