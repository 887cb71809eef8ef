/* worker_fsm.h - the life of one worker process as a table: (state, event) gives the next state and what to
 * do.
 *
 * Pure. No worker is no object: asleep and back-off belong to the app. */
#ifndef LEANGATE_WORKER_FSM_H
#define LEANGATE_WORKER_FSM_H

enum worker_state {
    WORKER_STARTING, /* spawned, not READY yet; has one slot, whose request is written already */
    WORKER_READY,    /* takes requests */
    WORKER_DRAINING, /* takes no new request, finishes those it has */
    WORKER_TERM,     /* told to stop, or stopping by itself */
    WORKER_KILL,     /* SIGKILL was sent: only EXIT can follow */
    WORKER_STATES
};

enum worker_event {
    WORKER_ON_READY,           /* READY came */
    WORKER_ON_FAILED,          /* FAILED came: the app cannot be loaded */
    WORKER_ON_EXIT,            /* the process was reaped */
    WORKER_ON_EMPTY,           /* its last request is done */
    WORKER_ON_BROKEN,          /* it sent what is not FastCGI, or spoke nonsense on its control channel */
    WORKER_ON_IDLE,            /* idle_timeout passed without a request */
    WORKER_ON_RETIRE,          /* a successor takes over */
    WORKER_ON_STOP,            /* the gateway ends, or wants it gone now */
    WORKER_ON_START_TIMEOUT,   /* no READY in time */
    WORKER_ON_REQUEST_TIMEOUT, /* a request took too long */
    WORKER_ON_STOP_TIMEOUT,    /* it did not stop in time */
    WORKER_EVENTS
};

/* What to do, in the order of the bits. */
enum worker_action {
    WORKER_DO_TELL_READY = 1 << 0,  /* the app may use it */
    WORKER_DO_TELL_FAILED = 1 << 1, /* the start has failed: who waits for it is to be told */
    WORKER_DO_ASK_STOP = 1 << 2,    /* STOP on the control channel (SIGTERM where there is none) */
    WORKER_DO_SIGKILL = 1 << 3,     /* its whole process group */
    WORKER_DO_START_TIMER = 1 << 4, /* arm stop_timeout in place of what is armed */
    WORKER_DO_CLEAR_TIMER = 1 << 5, /* disarm */
    WORKER_DO_FORGET = 1 << 6       /* gone: clean up, tell the app */
};

struct worker_step {
    unsigned char next;    /* enum worker_state */
    unsigned char actions; /* bits of enum worker_action */
};

/* The cell for (state, event). Every pair has one. */
struct worker_step worker_fsm(enum worker_state state, enum worker_event event);

const char *worker_state_name(enum worker_state state);
const char *worker_event_name(enum worker_event event);

#endif
