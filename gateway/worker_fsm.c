/* worker_fsm.c - see worker_fsm.h.
 *
 *              READY                IDLE, STOP
 *   STARTING --------> READY ------------------------> TERM --stop_timeout--> KILL
 *      |                 | RETIRE, REQUEST_TIMEOUT       ^                      ^
 *      |                 v                    EMPTY      |                      |
 *      |             DRAINING ---------------------------+                      |
 *      +-- FAILED, RETIRE, STOP --> TERM                                        |
 *      +-- START_TIMEOUT -------------------------------------------------------+
 *   BROKEN leads from anywhere to KILL, EXIT from anywhere to the end. */
#include "worker_fsm.h"

enum {
    READY_ = WORKER_DO_TELL_READY | WORKER_DO_CLEAR_TIMER,
    FAILED_ = WORKER_DO_TELL_FAILED | WORKER_DO_START_TIMER, /* it exits by itself */
    STOP_ = WORKER_DO_ASK_STOP | WORKER_DO_START_TIMER,
    KILL_ = WORKER_DO_SIGKILL | WORKER_DO_CLEAR_TIMER,
    GONE_ = WORKER_DO_CLEAR_TIMER | WORKER_DO_FORGET,
    WAIT_ = WORKER_DO_START_TIMER /* for the other requests, at most stop_timeout */
};

#define STAY(state)                                                                                          \
    {                                                                                                        \
        state, 0                                                                                             \
    }

static const struct worker_step table[WORKER_STATES][WORKER_EVENTS] = {
    [WORKER_STARTING] =
        {
                           [WORKER_ON_READY] = {WORKER_READY, READY_},
                           [WORKER_ON_FAILED] = {WORKER_TERM, FAILED_},
                           [WORKER_ON_EXIT] = {WORKER_STARTING, GONE_},            /* the state tells the app that it never was ready */
            [WORKER_ON_EMPTY] = STAY(WORKER_STARTING),
                           [WORKER_ON_BROKEN] = {WORKER_KILL, KILL_},
                           [WORKER_ON_IDLE] = STAY(WORKER_STARTING),
                           [WORKER_ON_RETIRE] = {WORKER_TERM, STOP_},
                           [WORKER_ON_STOP] = {WORKER_TERM, STOP_},
                           [WORKER_ON_START_TIMEOUT] = {WORKER_KILL, KILL_ | WORKER_DO_TELL_FAILED},
                           [WORKER_ON_REQUEST_TIMEOUT] = STAY(WORKER_STARTING), /* that clock runs from READY on */
            [WORKER_ON_STOP_TIMEOUT] = STAY(WORKER_STARTING),
                           },
    [WORKER_READY] =
        {
                           [WORKER_ON_READY] = {WORKER_KILL, KILL_},                                                      /* twice: not our worker's protocol */
            [WORKER_ON_FAILED] = {WORKER_KILL, KILL_},
                           [WORKER_ON_EXIT] = {WORKER_READY, GONE_},
                           [WORKER_ON_EMPTY] = STAY(WORKER_READY),
                           [WORKER_ON_BROKEN] = {WORKER_KILL, KILL_},
                           [WORKER_ON_IDLE] = {WORKER_TERM, STOP_},
                           [WORKER_ON_RETIRE] = {WORKER_DRAINING, 0},
                           [WORKER_ON_STOP] = {WORKER_TERM, STOP_},
                           [WORKER_ON_START_TIMEOUT] = STAY(WORKER_READY),
                           [WORKER_ON_REQUEST_TIMEOUT] = {WORKER_DRAINING, WAIT_},
                           [WORKER_ON_STOP_TIMEOUT] = STAY(WORKER_READY),
                           },
    [WORKER_DRAINING] =
        {
                           [WORKER_ON_READY] = {WORKER_KILL, KILL_},
                           [WORKER_ON_FAILED] = {WORKER_KILL, KILL_},
                           [WORKER_ON_EXIT] = {WORKER_DRAINING, GONE_},
                           [WORKER_ON_EMPTY] = {WORKER_TERM, STOP_},
                           [WORKER_ON_BROKEN] = {WORKER_KILL, KILL_},
                           [WORKER_ON_IDLE] = {WORKER_TERM, STOP_},
                           [WORKER_ON_RETIRE] = STAY(WORKER_DRAINING),
                           [WORKER_ON_STOP] = {WORKER_TERM, STOP_},
                           [WORKER_ON_START_TIMEOUT] = STAY(WORKER_DRAINING),
                           [WORKER_ON_REQUEST_TIMEOUT] = {WORKER_DRAINING, WAIT_},
                           [WORKER_ON_STOP_TIMEOUT] = {WORKER_KILL, KILL_},
                           },
    [WORKER_TERM] =
        {
                           [WORKER_ON_READY] = STAY(WORKER_TERM),                /* crossed our STOP */
            [WORKER_ON_FAILED] = STAY(WORKER_TERM), /* likewise */
            [WORKER_ON_EXIT] = {WORKER_TERM, GONE_},
                           [WORKER_ON_EMPTY] = STAY(WORKER_TERM),
                           [WORKER_ON_BROKEN] = {WORKER_KILL, KILL_},
                           [WORKER_ON_IDLE] = STAY(WORKER_TERM),
                           [WORKER_ON_RETIRE] = STAY(WORKER_TERM),
                           [WORKER_ON_STOP] = STAY(WORKER_TERM),
                           [WORKER_ON_START_TIMEOUT] = STAY(WORKER_TERM),
                           [WORKER_ON_REQUEST_TIMEOUT] = STAY(WORKER_TERM),               /* stop_timeout runs already */
            [WORKER_ON_STOP_TIMEOUT] = {WORKER_KILL, KILL_},
                           },
    [WORKER_KILL] =
        {
                           [WORKER_ON_READY] = STAY(WORKER_KILL),
                           [WORKER_ON_FAILED] = STAY(WORKER_KILL),
                           [WORKER_ON_EXIT] = {WORKER_KILL, GONE_},
                           [WORKER_ON_EMPTY] = STAY(WORKER_KILL),
                           [WORKER_ON_BROKEN] = STAY(WORKER_KILL),
                           [WORKER_ON_IDLE] = STAY(WORKER_KILL),
                           [WORKER_ON_RETIRE] = STAY(WORKER_KILL),
                           [WORKER_ON_STOP] = STAY(WORKER_KILL),
                           [WORKER_ON_START_TIMEOUT] = STAY(WORKER_KILL),
                           [WORKER_ON_REQUEST_TIMEOUT] = STAY(WORKER_KILL),
                           [WORKER_ON_STOP_TIMEOUT] = STAY(WORKER_KILL),
                           },
};

struct worker_step worker_fsm(enum worker_state state, enum worker_event event)
{
    return table[state][event];
}

const char *worker_state_name(enum worker_state state)
{
    static const char *const names[WORKER_STATES] = {"starting", "ready", "draining", "stopping", "killed"};
    return names[state];
}

const char *worker_event_name(enum worker_event event)
{
    static const char *const names[WORKER_EVENTS] = {
        "READY",  "FAILED", "EXIT",          "EMPTY",           "BROKEN",       "IDLE",
        "RETIRE", "STOP",   "START_TIMEOUT", "REQUEST_TIMEOUT", "STOP_TIMEOUT",
    };
    return names[event];
}
