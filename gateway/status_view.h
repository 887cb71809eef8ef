/* status_view.h - what there is to tell, in whatever format. */
#ifndef LEANGATE_STATUS_VIEW_H
#define LEANGATE_STATUS_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "app.h"
#include "buf.h"
#include "config.h"
#include "list.h"
#include "request.h"

/* What there is to tell; the gateway's, who keeps it true. */
struct status_facts {
    const struct conf *conf;
    struct app *const *apps; /* one a configured app, NULL where it was never called */
    bool draining;
    time_t started;
    const uint32_t *connections; /* the clients', and those of them that wait for a next request */
    const struct list *idle;
    uint32_t limit; /* of *connections */
};

/* One way to tell it all, in steps that are short each. */
struct status_format {
    const char *type; /* for Content-Type */
    /* Appends what stands at `place`, and moves it on; behind the last step place->part is STATUS_DONE. What
     * it has cost: 1, and more where it has asked the kernel; 0: no room. */
    unsigned (*step)(struct buf *out, const struct status_facts *facts, struct request_place *place);
};

enum { STATUS_DONE = UINT32_MAX };

enum { STATUS_VIEW_TIME = 24 };

enum status_view_state {
    STATUS_VIEW_ASLEEP, /* no worker; also an app that was never called */
    STATUS_VIEW_STARTING,
    STATUS_VIEW_IDLE,
    STATUS_VIEW_BUSY,
    STATUS_VIEW_STOPPING, /* its workers end, and no other has come yet */
    STATUS_VIEW_BACKOFF,  /* the last start failed, and its failure is answered */
    STATUS_VIEW_STATES
};

extern const char *const status_view_states[STATUS_VIEW_STATES];

/* `app` may be NULL: never called. */
enum status_view_state status_view_state(const struct app *app);

/* "starting", "idle", "busy", "draining", "stopping", "killed". */
const char *status_view_worker(const struct worker *w);

/* Requests that are with its workers, or with the server at its address, now. */
uint32_t status_view_in_flight(const struct app *app);

/* The n-th worker, NULL behind the last. */
const struct worker *status_view_nth(const struct app *app, uint32_t n);

/* "2026-11-26T21:40:00Z". */
void status_view_time(time_t at, char text[STATUS_VIEW_TIME]);

#endif
