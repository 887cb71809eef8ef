/* output.h - one of a worker's two output streams, cut into lines for the log. */
#ifndef LEANGATE_OUTPUT_H
#define LEANGATE_OUTPUT_H

#include <ev.h>
#include <stdbool.h>

#include "buf.h"
#include "tail.h"
#include "task.h"

struct output {
    ev_io io;         /* fd -1: closed */
    struct buf line;  /* the last line, while it has no end */
    const char *name; /* the worker's, for the tag; NULL: lines go out as they are */
    int pid;
    bool to_stdout;
    struct tail *tail; /* where its last lines are kept */

    /* private */
    struct ev_loop *loop;
    struct task *task;
};

/* Takes the non-blocking read end of a pipe over; `task` is woken when there is something to read. `name`, if
 * not NULL, lives as long as the stream. */
void output_open(struct output *o, struct ev_loop *loop, int fd, struct task *task);

/* Reads what there is, a few pieces at most, and logs its whole lines. */
void output_read(struct output *o);

/* The worker is gone: takes what is left in the pipe, logs a last line without an end, and closes. Bounded,
 * for a grandchild may go on writing. */
void output_finish(struct output *o);

/* Closes it; what is left of a line is logged. May be called more than once. */
void output_close(struct output *o);

#endif
