/* pump.h - what a script, and what it has started, write to a pipe becomes the answer of its request, as it
 * comes. A thread without Python does that while the script runs. Nothing here needs the GIL. */
#ifndef PYWORKER_PUMP_H
#define PYWORKER_PUMP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preset.h"
#include "script_head.h"

enum { PUMP_CHUNK = 65536 }; /* bytes; as much as a pipe holds */

/* After pump_finish() all of it is the caller's to read. */
struct pump {
    pthread_t thread;
    int from; /* the pipe's end to read; -1: closed, nobody wants more of it */
    int quit; /* eventfd: the script is over */
    int to;   /* the connection */
    uint16_t id;
    bool head_only;     /* HEAD: the body is dropped */
    bool committed;     /* the head is good, and written */
    atomic_bool broken; /* the peer is gone */
    bool bad;           /* head.error */
    long long produced; /* bytes of body */
    struct script_head head;
    struct buffer start; /* of the output, until the head is whole */
    char chunk[PUMP_CHUNK];
};

/* Starts the thread; `from` is the pump's then, and non-blocking. NULL: errno, and `from` is closed. */
struct pump *pump_start(int from, const struct preset *request, bool head_only);

/* The script is over: sends what is in the pipe now, not waiting for whoever else may still have its other
 * end, and ends the thread. */
void pump_finish(struct pump *p);

/* Whether the peer is gone; while the script runs, too. */
bool pump_peer_left(const struct pump *p);

void pump_free(struct pump *p);

#endif
