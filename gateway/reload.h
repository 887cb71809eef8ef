/* reload.h - another configuration for a gateway that runs. */
#ifndef LEANGATE_RELOAD_H
#define LEANGATE_RELOAD_H

#include <stdbool.h>

#include "config.h"
#include "conn_pool.h"
#include "list.h"

/* What is replaced, and how the new one is found. */
struct reload {
    const struct conf_input *input; /* the same options, environment and file as at the start */
    struct conn_pool *pool;
    struct conn_pool *inside; /* the status listener's: it shares conf and forwarded */
    struct status_facts *facts;
    struct list *listeners;
    struct list *status_listeners;
    struct list *retired; /* apps that the new configuration does not know are appended */
};

/* Loads the configuration anew. A bad one is reported, and everything stays as it is; a good one holds at
 * once: routes, limits, logs, listeners, apps. Returns which it was. */
bool reload_run(const struct reload *reload);

/* What a configuration is turned into before it can serve: fills in the members of the pools and facts that
 * go with it. False: no memory. */
bool reload_build(const struct reload *reload, struct conf *conf);

#endif
