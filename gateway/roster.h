/* roster.h - the workers that one app has now: how many of which kind, and which of them serves next. */
#ifndef LEANGATE_ROSTER_H
#define LEANGATE_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "worker.h"

struct roster {
    struct list workers; /* struct worker */
    uint32_t count;
};

void roster_init(struct roster *roster);

/* The worker is the roster's from now on. */
void roster_add(struct roster *roster, struct worker *w);

/* Frees the worker. */
void roster_remove(struct roster *roster, struct worker *w);

/* How many are READY. */
uint32_t roster_ready(const struct roster *roster);

/* Whether one is on its way to READY. */
bool roster_starting(const struct roster *roster);

/* Those that count against `workers`: one that is on its way out makes room for its successor. */
uint32_t roster_serving(const struct roster *roster);

/* Whether one of those has more than requests of ignore_idle, or has idle_timeout before it. */
bool roster_awake(const struct roster *roster);

/* The free slot of the busiest worker that has one, so that the others can go idle; a starting worker's only
 * when none is ready: a ready one may be free long before it. NULL: none is free. */
struct upstream *roster_slot(const struct roster *roster, struct worker **owner);

#endif
