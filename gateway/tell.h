/* tell.h - what the log says about the life of workers. */
#ifndef LEANGATE_TELL_H
#define LEANGATE_TELL_H

#include "config.h"
#include "worker.h"

/* It serves. */
void tell_ready(const struct worker *w);

/* It was idle for too long and is told to stop. */
void tell_idle_stop(const struct worker *w);

/* The app cannot be loaded, or takes too long. text: a summary line, then what else there is. */
void tell_failure(const struct worker *w, const char *text);

/* It is gone; nothing is said of an end that was asked for and went well. */
void tell_exit(const struct worker *w);

#endif
