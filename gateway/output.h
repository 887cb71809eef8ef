/* output.h - one of a worker's two output streams, cut into lines for the log. */
#ifndef LEANGATE_OUTPUT_H
#define LEANGATE_OUTPUT_H

#include <ev.h>
#include <stdbool.h>

#include "buf.h"
#include "tail.h"
#include "task.h"
#include "timeq.h"

struct output {
    ev_io io;        /* fd -1: closed */
    struct buf line; /* the last line, while it has no end */

    /* Set by the owner before output_open(). */
    const char *app; /* its name, which lives as long as the stream */
    bool tagged;     /* lines go out behind the app's name and pid, and not as they are */
    int pid;
    bool to_stdout;
    struct tail *tail; /* where its last lines are kept */

    /* private */
    double credit;            /* bytes that may be read now */
    double counted;           /* when credit was given last */
    struct timeq_entry pause; /* runs while it is slowed down */
    bool flooding;            /* which was said */
    struct ev_loop *loop;
    struct task *task;
};

/* Takes the non-blocking read end of a pipe over; `task` is woken when there is something to read. */
void output_open(struct output *o, struct ev_loop *loop, int fd, struct task *task);

/* Reads what there is, a few pieces at most, and logs its whole lines. A worker that writes more than a few
 * megabytes at once, and goes on to, is slowed down: it waits for its pipe. */
void output_read(struct output *o);

/* The worker is gone: takes what is left in the pipe, logs a last line without an end, and closes. Bounded,
 * for a grandchild may go on writing. */
void output_finish(struct output *o);

/* Closes it; what is left of a line is logged. May be called more than once. */
void output_close(struct output *o);

#endif
