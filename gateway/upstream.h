/* upstream.h - one FastCGI connection to a worker: a slot, which serves one request at a time.
 *
 * It sets its own state and result, links itself into its owner's list of finished ones and wakes the owner's
 * task, which looks. It never calls upwards. */
#ifndef LEANGATE_UPSTREAM_H
#define LEANGATE_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "upstream_state.h"

enum { UPSTREAM_RETRY_MS = 50 }; /* when a backlog is full or memory short: nothing tells when that is over */

/* A closed slot with request id `id`; NULL when out of memory. */
struct upstream *upstream_new(const struct upstream_owner *owner, uint16_t id, enum upstream_link link);

/* Closes and frees it. It has no request any more. */
void upstream_free(struct upstream *up);

/* Gives the request to this slot (CLOSED or FREE) and writes as much as goes. 0, or -1 with errno: EAGAIN
 * when the worker's backlog is full, EPIPE when the kept connection had been closed at its other end (the
 * slot is CLOSED now), else the worker cannot be reached or there is no memory; the request is untouched
 * then. */
int upstream_start(struct upstream *up, struct request *r, bool ready);

/* The worker became READY and told what its connections are: request_timeout counts from now. */
void upstream_set_ready(struct upstream *up, enum upstream_link link);

/* The client has taken what there was: go on reading. */
void upstream_resume(struct upstream *up);

/* The worker's process has ended: reads what is left, then the connection counts as ended whoever may hold
 * it. */
void upstream_drain(struct upstream *up);

/* Takes the result, which is NOTHING afterwards. */
enum upstream_result upstream_take_result(struct upstream *up);

#endif
