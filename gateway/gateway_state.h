/* gateway_state.h - all that one gateway is; for the files gateway*.c, which divide its work.
 *
 *   gateway.c       built, run, taken down
 *   gateway_loop.c  what is done while it runs: signals, reload, memory
 *   gateway_apps.c  apps as a whole: started early, checked, stopped
 *   gateway_end.c   the end: drain, kill, idle_exit */
#ifndef LEANGATE_GATEWAY_STATE_H
#define LEANGATE_GATEWAY_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "app.h"
#include "config.h"
#include "conn_pool.h"
#include "list.h"
#include "status_view.h"
#include "task.h"
#include "timeq.h"

enum { GATEWAY_SIGNALS = 5 };

struct gateway {
    struct ev_loop *loop;
    const struct conf_input *input; /* NULL: it only checks apps */
    struct conn_pool pool;          /* with the current configuration */
    struct conn_pool inside;        /* of the status listener */
    struct status_facts facts;
    struct app_shared shared;
    struct list listeners;
    struct list status_listeners; /* one, or none */
    struct list retired;          /* apps that are not configured any more and finish what they have */
    struct task task;
    struct timeq_entry delay;    /* drain_delay */
    struct timeq_entry deadline; /* of draining, then of killing */
    ev_timer quiet;              /* idle_exit */
    double active;               /* when there last was something to do, on timeq_now's clock */
    uint64_t requests;           /* pool.requests at that time */
    ev_signal signals[GATEWAY_SIGNALS];
    ev_prepare prepare;
    ev_idle more;              /* active while tasks are left: the loop looks for events but does not sleep */
    struct timeq_entry pause;  /* runs until memory may be given back again */
    double rested;             /* when memory was given back last, on timeq_now's clock */
    uint32_t rested_after;     /* connections that both pools had made by then */
    uint32_t most_connections; /* that were open at once since then */
    int signal;                /* the last signal that asked for the end */
    int signal_count;          /* how many have */
    int signals_seen;          /* how many of them were acted upon */
    bool reload;               /* SIGHUP came */
    bool reloaded;             /* what reading the configuration needed was not given back yet */
    bool serving;              /* it accepts: what start = check asks for is over */
    bool busy;                 /* there was something to do at the last look, for idle_exit */
    bool killing;
};

/* All work that callbacks have noted, then the timers, then the logs; before the loop sleeps. */
void gateway_work(struct gateway *g);

#endif
