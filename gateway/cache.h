/* cache.h - where the workers of an app keep what their next start is spared: bytecode, and records of a
 * start. Only names are made here; the worker makes the directories, private to its user, and whoever reads
 * there looks at whose they are. */
#ifndef LEANGATE_CACHE_H
#define LEANGATE_CACHE_H

#include "config.h"

enum { CACHE_PATH = 4096 };

/* Absolute paths; "": off. */
struct cache {
    char bytecode[CACHE_PATH]; /* a directory for all apps of the user */
    char files[CACHE_PATH];    /* the files that a start reads */
    char imports[CACHE_PATH];  /* what it found out about imports */
};

/* The paths of an app that is run by the interpreter at `python`, as the user that this process is now. */
void cache_paths(struct cache *cache, const struct conf *conf, const struct conf_app *app,
                 const char *python);

#endif
