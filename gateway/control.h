/* control.h - the gateway's end of a worker's control channel: one packet is one message
 * (pyworker/README.md).
 */
#ifndef LEANGATE_CONTROL_H
#define LEANGATE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

enum control_type {
    CONTROL_NOTHING, /* none waits now */
    CONTROL_END,     /* the worker closed its end, or is gone */
    CONTROL_START,
    CONTROL_READY,
    CONTROL_FAILED,
    CONTROL_NOTE,
    CONTROL_LIVE,
    CONTROL_NONSENSE
};

struct control_message {
    enum control_type type;
    const char *text;     /* FAILED, NOTE, LIVE: what comes with it; in memory_scratch, terminated */
    enum conf_kind kind;  /* READY: never AUTO */
    bool fork;            /* READY: a process of its own for each request */
    uint32_t concurrency; /* READY: 1 to 65535 */
    int64_t import_us;    /* READY: 0 or more */
};

/* Takes the next message off a non-blocking socket. */
void control_receive(int fd, struct control_message *message);

/* Sends one. False: it has not left. Nothing is said about its arrival: a worker that does not read shows by
 * not doing what it was told to. */
bool control_send(int fd, const char *text);

#endif
