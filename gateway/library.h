/* library.h - where the worker's Python package is. */
#ifndef LEANGATE_LIBRARY_H
#define LEANGATE_LIBRARY_H

/* The directory that holds the package pyworker, malloc'ed: beside the program (build/), or
 * PREFIX/lib/leangate. NULL: there is none. */
char *library_find(void);

#endif
