/* pyapi.h - the one place that includes Python.h: CPython's stable ABI, floor 3.8, so that one shared object
 * serves every later CPython. First include of every file that touches Python objects. */
#ifndef PYWORKER_PYAPI_H
#define PYWORKER_PYAPI_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03080000
#endif
#include <Python.h>

#endif
