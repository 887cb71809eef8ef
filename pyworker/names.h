/* names.h - names of parameters as objects that are made once. */
#ifndef PYWORKER_NAMES_H
#define PYWORKER_NAMES_H

#include "pyapi.h"

enum { NAMES_SLOTS = 256 }; /* a power of two; half of them are used */

struct name {
    char *text; /* malloc'd, not terminated */
    size_t len;
    PyObject *string;
};

struct names {
    struct name slot[NAMES_SLOTS];
    unsigned used;
    PyObject *(*make)(const char *text, size_t len); /* NULL: a str by Latin-1 */
};

/* A new reference to what `make` makes of the name, or NULL with an exception. */
PyObject *names_get(struct names *names, const char *text, size_t len);

#endif
