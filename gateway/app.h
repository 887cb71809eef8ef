/* app.h - one app: a bounded queue of requests, the workers it has now (mostly none), back-off and idle stop.
 *
 * Its runtime state is made at its first request; a configured app that was never called costs its
 * configuration. */
#ifndef LEANGATE_APP_H
#define LEANGATE_APP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "backoff.h"
#include "config.h"
#include "fleet.h"
#include "queue.h"
#include "remote.h"
#include "request.h"
#include "roster.h"
#include "task.h"
#include "timeq.h"

/* What all apps share. */
struct app_shared {
    struct ev_loop *loop;
    const char *library; /* the directory that holds the package pyworker */
    struct fleet fleet;
    bool fell_asleep;  /* the last worker of an app went; for the gateway to see and clear */
    bool stopping;     /* the gateway ends: a worker with nothing to do is stopped */
    struct task *idle; /* woken when the last worker of an app is gone */
};

struct app {
    struct app_shared *shared;
    const struct conf *conf;
    const struct conf_app *app_conf;
    struct stats *stats; /* a reference */
    struct roster roster;
    struct remote *remote; /* a server that runs already, in place of workers; NULL: there is none */
    struct queue queue;
    struct fleet_seat seat;
    struct backoff backoff; /* the failure is answered at once during it */
    unsigned stillborn;     /* workers in a row that ended before READY without a word */
    struct task task;
    struct timeq_entry retry; /* a worker's backlog was full */

    /* For `check`: what the first start came to. */
    bool checking;
    bool checked;
    bool check_ok;
};

/* The handler of all apps. r->app and r->app_conf must be set before start. */
extern const struct handler app_handler;

/* The runtime state of an app; NULL when out of memory. */
struct app *app_new(struct app_shared *shared, const struct conf *conf, const struct conf_app *app_conf);

/* Frees it; no worker and no request may be left. */
void app_free(struct app *app);

/* Starts a worker although nobody waits (start = eager or check). */
void app_warm(struct app *app);

/* Whether requests are answered with the failure of the last start now, for the app is in back-off. */
bool app_failing(const struct app *app);

/* With shared->stopping set: stops the workers, those that are free at once, the others when they are done;
 * all of them at once when `now`. */
void app_stop(struct app *app, bool now);

#endif
