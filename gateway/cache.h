/* cache.h - where the workers of an app keep what their next start is spared: bytecode, and records of a
 * start. The worker makes the directories, private to its user, and whoever reads there looks at whose they
 * are; what is made here is only what the worker's user may not. */
#ifndef LEANGATE_CACHE_H
#define LEANGATE_CACHE_H

#include <sys/types.h>

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

/* As root, before `user` is become: makes its directory where only root may. What fails is told by the
 * worker, which finds none. */
void cache_make(const struct conf *conf, uid_t user, gid_t group);

#endif
