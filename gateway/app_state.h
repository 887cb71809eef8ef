/* app_state.h - what one app is now; for the files app*.c, which divide its work, and who counts.
 *
 *   app.c --- what has come of workers and requests ---> app_outcome.c
 *         --- who serves what waits, who starts, who goes ---> app_supply.c */
#ifndef LEANGATE_APP_STATE_H
#define LEANGATE_APP_STATE_H

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
    char *library; /* the directory that holds the package pyworker; the gateway's */
    struct fleet fleet;
    bool fell_asleep;  /* the last worker of an app went; for the gateway to see and clear */
    bool stopping;     /* the gateway ends: a worker with nothing to do is stopped */
    struct task *idle; /* woken when the last worker of an app is gone */
};

struct app {
    struct app_shared *shared;
    struct conf *conf; /* a reference */
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

    struct list node;  /* the gateway's, of retired apps */
    uint32_t expected; /* requests whose body is on its way */
    bool told_live;    /* what lives in a worker that goes idle was said once */
    bool retired;      /* the configuration knows it no more: it finishes what it has */
    bool wanted;       /* a worker is to be started, though nobody asks */

    /* For `check`: what the first start came to. */
    bool checking;
    bool checked;
    bool check_ok;
};

/* Puts a request into the queue, at the front where it was given out already and came back. */
void app_enqueue(struct app *app, struct request *r, bool front);

/* No worker can be had: back-off begins, and the requests that wait are answered with the failure, unless
 * another worker serves or starts. While the failed worker is still in the roster it counts as starting: then
 * app_supply() answers them. */
void app_give_up(struct app *app, unsigned status, const char *failure);

/* Whether requests are answered with the failure of the last start now: it is in back-off, and no other
 * worker is there or on its way. */
bool app_failing(const struct app *app);

/* If app_failing(): answers all requests that wait with that failure. */
void app_fail_waiting(struct app *app);

/* Text of the failure for the client: nothing internal unless `debug`. NULL: none. */
const char *app_failure_detail(const struct app *app);

#endif
