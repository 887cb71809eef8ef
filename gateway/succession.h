/* succession.h - when a worker's time is over (max_requests, max_rss, max_age, a new configuration), and how
 * a fresh one takes over: it is READY before the old one goes.
 *
 * A worn worker goes on serving until then. Where nothing is under way nobody takes over: a worn worker that
 * stays idle ends as any idle worker. With idle_timeout = off, where none ends for being idle, a worker of an
 * older configuration gets a successor even then. */
#ifndef LEANGATE_SUCCESSION_H
#define LEANGATE_SUCCESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "roster.h"
#include "task.h"
#include "worker.h"

/* The worker is READY: its age is watched; `task` is woken when it is old. */
void succession_begin(struct worker *w, struct task *task);

/* It has finished a request, or its age may be reached: is it worn? With max_requests = 1 it is retired
 * behind its request, however that has ended: it gets no other one. */
void succession_look(struct worker *w);

/* Whether a successor could take over from it. */
bool succession_takes(const struct worker *w);

/* Whether a successor is to be started now. `waiting`: requests in the queue. `needed`: one of another
 * configuration is to have one also where nothing is under way. */
bool succession_due(const struct roster *roster, uint32_t waiting, bool needed);

/* The successor is READY: those of another configuration are retired, or else one that is worn. */
void succession_complete(struct roster *roster, struct worker *successor);

#endif
