/* status.h - what the gateway answers about itself.
 *
 * [status] health_path and ready_path on every listener; on the listener of [status] listen, and nowhere
 * else, all that is known: / for people, /status.json, /metrics, /livez and /readyz. Nobody is woken and
 * nothing is waited for, so the answers come also while every worker hangs. */
#ifndef LEANGATE_STATUS_H
#define LEANGATE_STATUS_H

#include "request.h"
#include "status_view.h"

/* The handler for a request whose path is health_path or ready_path, chosen by how things stand now, or for
 * OPTIONS *; NULL: it is none of these. Bodies are not looked at. */
const struct handler *status_find(const struct status_facts *facts, const struct request *r);

/* The handler for a request on the status listener, which is asked for everything. r->facts must be set. */
const struct handler *status_find_all(const struct status_facts *facts, const struct request *r);

#endif
