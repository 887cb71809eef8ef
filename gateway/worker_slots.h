/* worker_slots.h - the connections of a worker: one that is free, and how many do what. */
#ifndef LEANGATE_WORKER_SLOTS_H
#define LEANGATE_WORKER_SLOTS_H

#include <stdint.h>

#include "worker.h"

/* A slot that can take a request now: one that is connected already, else one below the concurrency; NULL:
 * none. */
struct upstream *worker_slot(struct worker *w);

/* Slots with anything under way. */
uint32_t worker_busy(const struct worker *w);

/* Of these, slots whose request keeps the worker awake: all but those of ignore_idle. */
uint32_t worker_awake(const struct worker *w);

/* Of the busy ones, slots whose work somebody waits for, or that finish what a client was promised: all but
 * the orphans. */
uint32_t worker_serving(const struct worker *w);

#endif
