/* reader.h - the lines of an ini file: inih behind our own line reader, which counts lines, strips comments
 * and refuses what inih would cut silently (a line of more than 199 bytes, a section of more than 49). */
#ifndef LEANGATE_READER_H
#define LEANGATE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define READER_LINE  199 /* bytes of a key's line, without comment and surrounding blanks at its end */
#define READER_BYTES (64 * 1024 * 1024) /* of a whole file; more is a mistake */

/* What a file is made of. Each function returns false to stop; it has told its owner why. */
struct reader_events {
    bool (*section)(void *arg, uint32_t line, const char *name);
    /* `more`: an indented line that continues the value of `key`. */
    bool (*key)(void *arg, uint32_t line, const char *key, const char *value, bool more);
    /* The line cannot be read; `key` is the key that it begins with, or "". */
    void (*wrong)(void *arg, uint32_t line, const char *key, const char *what);
};

/* Reads the whole file. False: it was stopped, or `wrong` has been called. */
bool reader_run(FILE *file, const struct reader_events *events, void *arg);

#endif
