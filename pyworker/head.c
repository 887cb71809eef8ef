/* head.c - status and headers of an app, checked and written as a CGI header block (RFC 3875,
 * section 6.3). */
#include "head.h"

#include <string.h>

#include "field.h"

enum {
    STATUS_CODE = 3, /* digits */
    STATUS_FINAL = 200
};

bool head_append(struct buffer *b, const char *data, size_t len)
{
    if (!buffer_append(b, data, len)) {
        PyErr_SetString(PyExc_ValueError, "the head of the answer is too long");
        return false;
    }
    return true;
}

/* Latin-1 bytes of a str; NULL with an exception that names `what`. */
static PyObject *latin1(PyObject *value, const char *what)
{
    if (!PyUnicode_Check(value)) {
        PyObject *type = PyObject_GetAttrString((PyObject *)Py_TYPE(value), "__name__");
        if (type != NULL) {
            PyErr_Format(PyExc_TypeError, "%s must be str, not %U", what, type);
            Py_DECREF(type);
        }
        return NULL;
    }
    PyObject *bytes = PyUnicode_AsLatin1String(value);
    if (bytes == NULL)
        PyErr_Format(PyExc_ValueError, "%s has characters that are not Latin-1: %A", what, value);
    return bytes;
}

static unsigned status_code(const char *p, size_t len)
{
    unsigned code = 0;
    for (size_t i = 0; i < STATUS_CODE && i < len && p[i] >= '0' && p[i] <= '9'; i++)
        code = code * 10 + (unsigned)(p[i] - '0');
    return len > STATUS_CODE && p[STATUS_CODE] == ' ' && field_is_value(p, len) && code >= 100 ? code : 0;
}

static unsigned put_status(struct buffer *b, PyObject *status)
{
    PyObject *bytes = latin1(status, "status");
    if (bytes == NULL)
        return 0;
    const char *p = PyBytes_AsString(bytes);
    size_t len = (size_t)PyBytes_Size(bytes);
    unsigned code = status_code(p, len);
    if (code == 0) {
        PyErr_Format(PyExc_ValueError,
                     "status must be three digits, a space and a reason like '200 OK', not %A", status);
    } else if (code < STATUS_FINAL) {
        PyErr_Format(PyExc_ValueError, "status %A is not final", status);
        code = 0;
    } else if (!head_append(b, "Status: ", 8) || !head_append(b, p, len) || !head_append(b, "\r\n", 2)) {
        code = 0;
    }
    Py_DECREF(bytes);
    return code;
}

/* For a code without a reason of its own, that of its class, as RFC 9110 says (section 15). */
static const char *reason(unsigned code)
{
    static const struct {
        unsigned code;
        const char *text;
    } known[] = {
        {200, "OK"                    },
        {201, "Created"               },
        {202, "Accepted"              },
        {204, "No Content"            },
        {206, "Partial Content"       },
        {300, "Multiple Choices"      },
        {301, "Moved Permanently"     },
        {302, "Found"                 },
        {303, "See Other"             },
        {304, "Not Modified"          },
        {307, "Temporary Redirect"    },
        {308, "Permanent Redirect"    },
        {400, "Bad Request"           },
        {401, "Unauthorized"          },
        {403, "Forbidden"             },
        {404, "Not Found"             },
        {405, "Method Not Allowed"    },
        {406, "Not Acceptable"        },
        {409, "Conflict"              },
        {410, "Gone"                  },
        {411, "Length Required"       },
        {412, "Precondition Failed"   },
        {413, "Content Too Large"     },
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable" },
        {418, "I'm a Teapot"          },
        {422, "Unprocessable Content" },
        {429, "Too Many Requests"     },
        {500, "Internal Server Error" },
        {501, "Not Implemented"       },
        {502, "Bad Gateway"           },
        {503, "Service Unavailable"   },
        {504, "Gateway Timeout"       },
    };
    static const char *const classes[] = {"Success", "Redirection", "Client Error", "Server Error"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].code == code)
            return known[i].text;
    return code >= STATUS_FINAL && code < 600 ? classes[code / 100 - 2] : "Unknown";
}

/* printf() would be a tenth of what a small answer costs. */
bool head_number(struct buffer *b, unsigned long long n)
{
    char digits[24];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return head_append(b, digits + at, sizeof(digits) - at);
}

bool head_status(struct buffer *b, unsigned code)
{
    const char *text = reason(code);
    return head_append(b, "Status: ", 8) && head_number(b, code) && head_append(b, " ", 1) &&
           head_append(b, text, strlen(text)) && head_append(b, "\r\n", 2);
}

bool head_line(struct buffer *b, PyObject *name, PyObject *value, long long *declared)
{
    const char *n = PyBytes_AsString(name);
    const char *v = PyBytes_AsString(value);
    size_t n_len = (size_t)PyBytes_Size(name);
    size_t v_len = (size_t)PyBytes_Size(value);

    if (!field_is_token(n, n_len) || field_is_named(n, n_len, "status")) {
        PyErr_Format(PyExc_ValueError, "%R cannot be the name of a header", name);
        return false;
    }
    if (!field_is_value(v, v_len)) {
        PyErr_Format(PyExc_ValueError, "header %s: control characters in its value %R", n, value);
        return false;
    }
    if (field_is_named(n, n_len, "content-length")) {
        bool second = *declared != -1;
        *declared = field_length(v, v_len);
        if (second || *declared == -1) {
            PyErr_Format(PyExc_ValueError, "header Content-Length: %R is not a length, or a second one",
                         value);
            return false;
        }
    }
    return head_append(b, n, n_len) && head_append(b, ": ", 2) && head_append(b, v, v_len) &&
           head_append(b, "\r\n", 2);
}

static bool put_header(struct buffer *b, PyObject *pair, long long *declared)
{
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_Format(PyExc_TypeError, "headers must be tuples (name, value), not %R", pair);
        return false;
    }
    PyObject *name = latin1(PyTuple_GetItem(pair, 0), "header name");
    PyObject *value = name == NULL ? NULL : latin1(PyTuple_GetItem(pair, 1), "header value");
    bool done = value != NULL && head_line(b, name, value, declared);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return done;
}

unsigned head_write(struct buffer *b, PyObject *status, PyObject *headers, long long *declared)
{
    if (!PyList_Check(headers)) {
        PyErr_Format(PyExc_TypeError, "headers must be a list of tuples, not %R",
                     (PyObject *)Py_TYPE(headers));
        return 0;
    }
    unsigned code = put_status(b, status);
    for (Py_ssize_t i = 0; code != 0 && i < PyList_Size(headers); i++)
        if (!put_header(b, PyList_GetItem(headers, i), declared))
            code = 0;
    return code;
}
