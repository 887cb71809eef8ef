/* tell.h - what the log says about the life of workers, and what is counted and remembered of it. */
#ifndef LEANGATE_TELL_H
#define LEANGATE_TELL_H

#include "stats.h"
#include "upstream.h"
#include "worker.h"

/* It serves. */
void tell_ready(const struct worker *w, struct stats *stats);

/* What became of a request, where that is its fault. */
void tell_result(const struct worker *w, const struct upstream *up, enum upstream_result result);

/* A request of it has no answer yet; its stacks follow in its output. */
void tell_slow(const struct worker *w, const struct upstream *up);

/* It was idle for too long and is told to stop. */
void tell_idle_stop(const struct worker *w);

/* It was stopped while idle, and w->live was in it. */
void tell_live(const struct worker *w);

/* It stops so that another app can start a worker. */
void tell_room(const struct worker *w, const char *other, int64_t limit);

/* Its successor is ready. */
void tell_replaced(const struct worker *w);

/* The app cannot be loaded, or takes too long. text: a summary line, then what else there is. */
void tell_failure(const struct worker *w, struct stats *stats, const char *text);

/* It is gone; the log says nothing of an end that was asked for and went well. What it printed last is taken
 * from it when it failed. */
void tell_exit(struct worker *w, struct stats *stats);

#endif
