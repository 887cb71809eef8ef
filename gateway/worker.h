/* worker.h - one child process of an app: applies worker_fsm, watches pid, control channel and output.
 *
 * It sets its own state and news and wakes its owner's task, which looks; it never calls upwards. */
#ifndef LEANGATE_WORKER_H
#define LEANGATE_WORKER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "list.h"
#include "output.h"
#include "reaper.h"
#include "spawn.h"
#include "tail.h"
#include "task.h"
#include "timeq.h"
#include "upstream.h"
#include "worker_fsm.h"

enum worker_news {
    WORKER_NEWS_READY = 1 << 0,
    WORKER_NEWS_FAILED = 1 << 1, /* `failure` says why */
    WORKER_NEWS_GONE = 1 << 2    /* the process is reaped: look at its slots' results, then worker_free */
};

struct worker_owner {
    struct ev_loop *loop;
    struct conf *conf; /* a worker keeps a reference */
    const struct conf_app *app;
    const char *library; /* the directory that holds the package pyworker */
    struct task *task;   /* woken when there is news or a result in `done` */
};

struct worker {
    struct list node; /* the owner's */
    struct worker_owner owner;
    enum worker_state state;
    unsigned news;             /* bits of enum worker_news; the owner clears them */
    struct reaper_child child; /* its pid; its status with WORKER_NEWS_GONE */
    struct list slots;         /* struct upstream; at most `concurrency` */
    struct list done;          /* those of them with a result */
    uint32_t slot_count;
    uint32_t concurrency;
    enum upstream_link link; /* what its connections are; until READY as far as it is known */

    /* The owner's. */
    struct list in_fleet;    /* of all workers */
    struct list in_idle;     /* of those with nothing to do */
    struct timeq_entry idle; /* runs while nothing is under way that keeps it awake */
    struct timeq_entry age;
    double looked;    /* when its memory was looked at last */
    uint32_t given;   /* requests */
    uint32_t served;  /* of these, finished */
    const char *worn; /* why a successor is to take over; NULL: nothing */
    bool successor;   /* it was started to take over */
    bool outdated;    /* its configuration is not the current one */

    char *failure;        /* text of FAILED: a summary line, then the traceback; owned, or NULL */
    char *live;           /* what of the app was alive when it stopped; owned, or NULL */
    bool lost;            /* see worker_lost */
    bool hung_up;         /* its process lived on when that happened */
    bool start_expired;   /* it was killed because start_timeout passed */
    bool stop_expired;    /* likewise stop_timeout */
    unsigned why;         /* enum stats_counter: for what its owner ended it; 0: not ended */
    int64_t import_us;    /* what READY told; -1: nothing */
    double spawned;       /* monotonic seconds */
    double made;          /* its process exists */
    double up;            /* START came; 0: not yet */
    double ready;         /* READY came; 0: not yet */
    struct tail tail;     /* what it printed last */
    uint64_t memory_most; /* bytes, as of when it was told to end */

    /* private */
    struct task task;
    struct timeq_entry deadline;
    struct spawn_socket socket;
    struct net_address address; /* of the socket */
    ev_io control;
    struct output out;
    struct output err;
    double asked;   /* when its stacks were asked for last */
    unsigned notes; /* how many NOTEs came */
    bool finished;  /* its exit was acted upon */
};

/* Starts a process for the app. NULL with the reason in *error, and errno as launch_worker has it. */
struct worker *worker_new(const struct worker_owner *owner, struct conf_error *error);

/* Frees a worker that is GONE and whose slots hold no request. */
void worker_free(struct worker *w);

/* Applies an event: the next state and all its actions. */
void worker_event(struct worker *w, enum worker_event event);

/* The same for an event that leads to its end; the first `why`, a STATS_EXIT_, stays. */
void worker_end(struct worker *w, enum worker_event event, unsigned why);

/* Whether it takes requests, or will: it is not on its way out. */
static inline bool worker_stays(const struct worker *w)
{
    return w->state == WORKER_STARTING || w->state == WORKER_READY;
}

/* A connection ended under a request: the process is dying, although its exit was not seen yet (its
 * connections close before its socket does). It stays no longer. */
void worker_lost(struct worker *w);

/* Takes what it has told and nobody has read yet: its READY, say. */
void worker_look(struct worker *w);

/* Orders about the request that a slot serves: KILL for a copy, CANCEL for a task, STACK. */
void worker_tell_slot(const struct worker *w, const char *word, uint16_t id);

/* Has the worker write the Python stacks of all its threads to its output, and asyncio tasks if it has any;
 * of a copy, that serves this slot. Nothing when a worker that writes those of all requests was asked a
 * moment ago, or when none can be. */
void worker_ask_stacks(struct worker *w, uint16_t id);

#endif
