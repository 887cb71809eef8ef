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

/* A row per event, a column per state. An EXIT in STARTING leaves the state as it is: it tells the app that
 * the worker never was ready. READY and FAILED in TERM have crossed our STOP; a second READY is not our
 * worker's protocol. request_timeout runs from READY on, and in TERM stop_timeout runs already. */
enum { S = WORKER_STARTING, R = WORKER_READY, D = WORKER_DRAINING, T = WORKER_TERM, K = WORKER_KILL };

/* clang-format off */
static const struct worker_step table[WORKER_EVENTS][WORKER_STATES] = {
    /*                               STARTING                            READY        DRAINING     TERM         KILL */
    [WORKER_ON_READY]           = {{R, READY_},                        {K, KILL_},  {K, KILL_},  {T, 0},      {K, 0}},
    [WORKER_ON_FAILED]          = {{T, FAILED_},                       {K, KILL_},  {K, KILL_},  {T, 0},      {K, 0}},
    [WORKER_ON_EXIT]            = {{S, GONE_},                         {R, GONE_},  {D, GONE_},  {T, GONE_},  {K, GONE_}},
    [WORKER_ON_EMPTY]           = {{S, 0},                             {R, 0},      {T, STOP_},  {T, 0},      {K, 0}},
    [WORKER_ON_BROKEN]          = {{K, KILL_},                         {K, KILL_},  {K, KILL_},  {K, KILL_},  {K, 0}},
    [WORKER_ON_IDLE]            = {{S, 0},                             {T, STOP_},  {T, STOP_},  {T, 0},      {K, 0}},
    [WORKER_ON_RETIRE]          = {{T, STOP_},                         {D, 0},      {D, 0},      {T, 0},      {K, 0}},
    [WORKER_ON_STOP]            = {{T, STOP_},                         {T, STOP_},  {T, STOP_},  {T, 0},      {K, 0}},
    [WORKER_ON_START_TIMEOUT]   = {{K, KILL_ | WORKER_DO_TELL_FAILED}, {R, 0},      {D, 0},      {T, 0},      {K, 0}},
    [WORKER_ON_REQUEST_TIMEOUT] = {{S, 0},                             {D, WAIT_},  {D, WAIT_},  {T, 0},      {K, 0}},
    [WORKER_ON_STOP_TIMEOUT]    = {{S, 0},                             {R, 0},      {K, KILL_},  {K, KILL_},  {K, 0}},
};
/* clang-format on */

struct worker_step worker_fsm(enum worker_state state, enum worker_event event)
{
    return table[event][state];
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
