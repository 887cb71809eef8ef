/* remote.h - a FastCGI server that runs already, as php-fpm does: a few connections to it, one request each.
 *
 * It is not started, stopped or replaced; when it cannot be reached a request has its 502 at once. */
#ifndef LEANGATE_REMOTE_H
#define LEANGATE_REMOTE_H

#include <ev.h>
#include <stdint.h>

#include "config.h"
#include "queue.h"
#include "task.h"

struct remote;

/* For an app with an address. `task` is woken when there is something for remote_run. NULL when out of
 * memory. */
struct remote *remote_new(struct ev_loop *loop, const struct conf *conf, const struct conf_app *app,
                          struct task *task);

/* Closes its connections; none has a request any more. NULL is ignored. */
void remote_free(struct remote *remote);

/* Its connections with a request, or with a result that nobody has looked at. */
uint32_t remote_busy(const struct remote *remote);

/* Looks at what became of requests, and gives out those that wait. */
void remote_run(struct remote *remote, struct queue *queue);

#endif
