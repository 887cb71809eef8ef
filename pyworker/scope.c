/* scope.c - the parameters of a request as a scope of type http (ASGI HTTP specification).
 *
 * The path of a scope begins with root_path, as the specification says and Starlette's mounts expect. Paths
 * come decoded (RFC 3875); they are text, so UTF-8. */
#include "scope.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"

/* What is needed of the parameters, besides headers; "" if it is not there. */
struct facts {
    const char *method, *protocol, *scheme, *https;
    const char *script_name, *path_info, *uri, *query;
    const char *client, *client_port, *server, *server_port;
};

#define FACT(name, field)                                                                                    \
    {                                                                                                        \
        name, sizeof(name) - 1, offsetof(struct facts, field)                                                \
    }

static const struct {
    const char *name;
    size_t len;
    size_t offset;
} known[] = {
    FACT("REQUEST_METHOD", method),   FACT("SERVER_PROTOCOL", protocol),
    FACT("REQUEST_SCHEME", scheme),   FACT("HTTPS", https),
    FACT("SCRIPT_NAME", script_name), FACT("PATH_INFO", path_info),
    FACT("REQUEST_URI", uri),         FACT("QUERY_STRING", query),
    FACT("REMOTE_ADDR", client),      FACT("REMOTE_PORT", client_port),
    FACT("SERVER_NAME", server),      FACT("SERVER_PORT", server_port),
};

#undef FACT

/* As 2.4 says send() raises in the end when the client has left (send.c). It is 2.3 that is told, as other
 * servers do: Starlette, which reads this, then also watches for the client while a stream has
 * nothing to say; told 2.4 it would only notice at the next send(). */
PyObject *scope_base(void)
{
    return Py_BuildValue("{s:s,s:{s:s,s:s}}", "type", "http", "asgi", "version", "3.0", "spec_version",
                         "2.3");
}

/* --- headers --- */

static const char prefix[] = "HTTP_";
enum { PREFIX = sizeof(prefix) - 1 };

static char name_byte(char c)
{
    if (c == '_')
        return '-';
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Filled in when it is made, never changed: bytes of one given byte are the interpreter's, which all have. */
PyObject *scope_header_name(const char *parameter, size_t len)
{
    size_t skip = strncmp(parameter, prefix, PREFIX) == 0 ? PREFIX : 0;
    PyObject *name = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(len - skip));
    char *p = name == NULL ? NULL : PyBytes_AsString(name);
    for (size_t i = 0; p != NULL && i < len - skip; i++)
        p[i] = name_byte(parameter[skip + i]);
    return name;
}

static bool add_header(struct call *c, PyObject *headers, const char *name, size_t len, const char *value)
{
    PyObject *key = names_get(&c->asgi->headers, name, len);
    PyObject *text = key == NULL ? NULL : PyBytes_FromString(value);
    PyObject *pair = text == NULL ? NULL : PyTuple_Pack(2, key, text);
    bool done = pair != NULL && PyList_Append(headers, pair) == 0;
    Py_XDECREF(key);
    Py_XDECREF(text);
    Py_XDECREF(pair);
    return done;
}

static void note(struct facts *facts, const char *name, size_t len, const char *value)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (len == known[i].len && memcmp(name, known[i].name, len) == 0) {
            memcpy((char *)facts + known[i].offset, &value, sizeof(value));
            return;
        }
    }
}

static bool take(struct call *c, struct facts *facts, PyObject *headers, const char *name, size_t len,
                 const char *value)
{
    if (len > PREFIX && memcmp(name, prefix, PREFIX) == 0) {
        /* Some web servers send these both ways. */
        bool twice = field_is(name, len, "HTTP_CONTENT_LENGTH") || field_is(name, len, "HTTP_CONTENT_TYPE");
        return twice || add_header(c, headers, name, len, value);
    }
    bool length = field_is(name, len, "CONTENT_LENGTH");
    if (length)
        c->x.length = field_length(value, strlen(value));
    if ((length || field_is(name, len, "CONTENT_TYPE")) && *value != '\0')
        return add_header(c, headers, name, len, value);
    note(facts, name, len, value);
    return true;
}

/* Reads the parameters; NULL with an exception, else the headers. */
static PyObject *read_parameters(struct call *c, struct facts *facts)
{
    PyObject *headers = PyList_New(0);
    for (char **p = preset_parameters(&c->x.request); headers != NULL && *p != NULL; p++) {
        size_t len = preset_name_length(*p);
        if (len > 0 && !take(c, facts, headers, *p, len, *p + len + 1))
            Py_CLEAR(headers);
    }
    return headers;
}

/* --- the path --- */

static PyObject *text(const char *p, size_t len)
{
    return PyUnicode_DecodeUTF8(p, (Py_ssize_t)len, "replace");
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether `len` bytes, percent-decoded, are `plain` and then `rest`. */
static bool decodes_to(const char *encoded, size_t len, const char *plain, const char *rest)
{
    for (size_t i = 0; i < len; i++, plain++) {
        if (*plain == '\0') {
            plain = rest;
            rest = "";
        }
        char byte = encoded[i];
        if (byte == '%' && i + 2 < len && hex(encoded[i + 1]) >= 0 && hex(encoded[i + 2]) >= 0) {
            byte = (char)(hex(encoded[i + 1]) << 4 | hex(encoded[i + 2]));
            i += 2;
        }
        if (*plain == '\0' || byte != *plain)
            return false;
    }
    return *plain == '\0' && *rest == '\0';
}

static PyObject *join(const char *a, size_t a_len, const char *b, size_t b_len)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(a_len + b_len));
    if (bytes != NULL) {
        memcpy(PyBytes_AsString(bytes), a, a_len);
        memcpy(PyBytes_AsString(bytes) + a_len, b, b_len);
    }
    return bytes;
}

/* The path as the client wrote it, without the query. What of root_path a proxy has removed is put before it,
 * as it is before the decoded one. */
static PyObject *raw_path(const struct facts *f)
{
    size_t len = strcspn(f->uri, "?");
    const char *kept = f->script_name;

    while (!decodes_to(f->uri, len, kept, f->path_info)) {
        if (*kept == '\0')
            return PyBytes_FromStringAndSize(f->uri, (Py_ssize_t)len);
        kept += 1 + strcspn(kept + 1, "/");
    }
    return join(f->script_name, (size_t)(kept - f->script_name), f->uri, len);
}

static PyObject *whole_path(const struct facts *f)
{
    size_t first = strlen(f->script_name);
    size_t second = strlen(f->path_info);
    if (first == 0)
        return text(f->path_info, second);
    PyObject *bytes = join(f->script_name, first, f->path_info, second);
    PyObject *path = bytes == NULL ? NULL : text(PyBytes_AsString(bytes), first + second);
    Py_XDECREF(bytes);
    return path;
}

/* --- the rest --- */

static PyObject *address(const char *host, const char *port)
{
    if (*host == '\0')
        Py_RETURN_NONE; /* a client on a unix socket */
    PyObject *name = text(host, strlen(host));
    PyObject *number = PyLong_FromLong(strtol(port, NULL, 10));
    PyObject *pair = name == NULL || number == NULL ? NULL : PyTuple_Pack(2, name, number);
    Py_XDECREF(name);
    Py_XDECREF(number);
    return pair;
}

static PyObject *scheme(struct call *c, const struct facts *f)
{
    bool https = strcmp(f->scheme, "https") == 0 || strcmp(f->https, "on") == 0 || strcmp(f->https, "1") == 0;
    const char *name = https ? "https" : "http";
    return names_get(&c->asgi->worker->names, name, strlen(name));
}

static PyObject *http_version(struct call *c, const struct facts *f)
{
    const char *slash = strchr(f->protocol, '/');
    const char *version = slash != NULL ? slash + 1 : "1.1";
    bool minor = strcmp(version, "2.0") != 0 && strcmp(version, "3.0") != 0; /* web servers write HTTP/2.0 */
    return names_get(&c->asgi->worker->names, version, minor ? strlen(version) : 1);
}

static bool set(const struct call *c, PyObject *scope, enum asgi_key key, PyObject *value)
{
    bool done = value != NULL && PyDict_SetItem(scope, c->asgi->key[key], value) == 0;
    Py_XDECREF(value);
    return done;
}

/* A dict of the request's own: an app may add to it. */
static PyObject *versions(const struct call *c)
{
    return PyDict_Copy(PyDict_GetItem(c->asgi->base_scope, c->asgi->key[KEY_ASGI]));
}

static bool fill(struct call *c, PyObject *scope, const struct facts *f)
{
    return set(c, scope, KEY_ASGI, versions(c)) && set(c, scope, KEY_HTTP_VERSION, http_version(c, f)) &&
           set(c, scope, KEY_METHOD, names_get(&c->asgi->worker->names, f->method, strlen(f->method))) &&
           set(c, scope, KEY_SCHEME, scheme(c, f)) && set(c, scope, KEY_PATH, whole_path(f)) &&
           set(c, scope, KEY_RAW_PATH, raw_path(f)) &&
           set(c, scope, KEY_QUERY_STRING, PyBytes_FromString(f->query)) &&
           set(c, scope, KEY_ROOT_PATH, text(f->script_name, strlen(f->script_name))) &&
           set(c, scope, KEY_CLIENT, address(f->client, f->client_port)) &&
           set(c, scope, KEY_SERVER, address(f->server, f->server_port)) &&
           set(c, scope, KEY_STATE, PyDict_Copy(c->asgi->state));
}

PyObject *scope_make(struct call *c)
{
    struct facts facts = {"", "", "", "", "", "", "", "", "", "", "", ""};

    c->x.length = -1;
    c->x.taken = 0;
    PyObject *headers = read_parameters(c, &facts);
    PyObject *scope = headers == NULL ? NULL : PyDict_Copy(c->asgi->base_scope);
    c->x.head_only = strcmp(facts.method, "HEAD") == 0;
    if (scope == NULL || !set(c, scope, KEY_HEADERS, headers)) {
        if (scope == NULL)
            Py_XDECREF(headers);
        Py_XDECREF(scope);
        return NULL;
    }
    if (!fill(c, scope, &facts))
        Py_CLEAR(scope);
    return scope;
}
