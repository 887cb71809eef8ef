/* status.h - what the gateway answers about itself: [status] health_path and ready_path, on every listener.
 *
 * Nobody is woken and nothing is waited for, so the answer comes also while every worker is busy. */
#ifndef LEANGATE_STATUS_H
#define LEANGATE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#include "app.h"
#include "config.h"
#include "request.h"

/* The handler for a request whose path is one of ours, chosen by how things stand now; NULL: it is not.
 * `apps`: one a configured app, NULL where it was never called. Bodies are not looked at. */
const struct handler *status_find(const struct conf *conf, struct app *const *apps, bool draining,
                                  const struct request *r);

#endif
