/* output.c - see output.h. */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "memory.h"

enum {
    PIECE = 16 * 1024,          /* bytes of one read */
    PIECES = 4,                 /* reads in one turn */
    PIECES_AT_THE_END = 64,     /* the same when the process has ended */
    LINE_MAX_BYTES = 64 * 1024, /* a longer line is broken */
    PAUSE_MS = 100              /* of a flood */
};

static const double RATE = 1e6;  /* bytes per second that may be written for long */
static const double BURST = 4e6; /* and at once */

/* One line without its end. */
static void emit(const struct output *o, const char *text, size_t len)
{
    char tag[128];
    tail_add(o->tail, text, len);
    snprintf(tag, sizeof(tag), "%s[%d]: ", o->app, o->pid);
    log_worker(o->to_stdout, o->tagged ? tag : NULL, text, len);
}

static void split_lines(struct output *o, const char *data, size_t len)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end != NULL ? (size_t)(end - data) : len;
        size_t room = o->line.max - o->line.len;
        size_t taken = n < room ? n : room;
        bool whole = end != NULL && taken == n;
        if (whole && o->line.len == 0) {
            emit(o, data, n);
        } else if (!buf_put(&o->line, data, taken) || whole || o->line.len == o->line.max) {
            emit(o, o->line.data, o->line.len);
            buf_free(&o->line);
        }
        taken += whole;
        data += taken;
        len -= taken;
    }
}

static void read_pieces(struct output *o, int pieces)
{
    while (o->io.fd != -1 && pieces-- > 0) {
        ssize_t n = read(o->io.fd, memory_scratch, PIECE);
        if (n > 0) {
            o->credit -= (double)n;
            split_lines(o, memory_scratch, (size_t)n);
        } else if (n == -1 && errno == EAGAIN)
            return;
        else if (n == 0 || errno != EINTR)
            output_close(o);
    }
}

static void on_io(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct output *o = io->data;
    struct timeq *queue = (events & EV_ERROR) != 0 ? timeq_get(PAUSE_MS) : NULL;
    if (queue != NULL) /* it is not watched, for want of memory: another time */
        timeq_start(queue, &o->pause, o->task);
    task_wake(o->task);
}

/* ---- floods ---- */

static void earn_credit(struct output *o)
{
    double now = timeq_clock();
    o->credit += (now - o->counted) * RATE;
    o->counted = now;
    if (o->credit < BURST)
        return;
    o->credit = BURST;
    if (o->flooding)
        log_warning("%s: worker %d has stopped to flood %s", o->app, o->pid,
                    o->to_stdout ? "stdout" : "stderr");
    o->flooding = false;
}

/* Whether it must wait. */
static bool slowed(struct output *o)
{
    if (timeq_waiting(&o->pause))
        return true;
    if (o->pause.expired) {
        timeq_stop(&o->pause);
        ev_io_start(o->loop, &o->io);
    }
    earn_credit(o);
    struct timeq *queue = o->credit < 0 ? timeq_get(PAUSE_MS) : NULL;
    if (queue == NULL) /* it may go on; or no memory, and nobody would end the pause */
        return false;
    ev_io_stop(o->loop, &o->io);
    timeq_start(queue, &o->pause, o->task);
    if (!o->flooding)
        log_warning("%s: worker %d floods %s: it is slowed down to %.0f MB per second", o->app, o->pid,
                    o->to_stdout ? "stdout" : "stderr", RATE / 1e6);
    o->flooding = true;
    return true;
}

/* ---- life ---- */

void output_open(struct output *o, struct ev_loop *loop, int fd, struct task *task)
{
    o->loop = loop;
    o->task = task;
    o->credit = BURST;
    o->counted = timeq_clock();
    buf_init(&o->line, LINE_MAX_BYTES);
    ev_io_init(&o->io, on_io, fd, EV_READ);
    o->io.data = o;
    ev_io_start(loop, &o->io);
}

void output_read(struct output *o)
{
    if (o->io.fd != -1 && !slowed(o))
        read_pieces(o, PIECES);
}

void output_finish(struct output *o)
{
    read_pieces(o, PIECES_AT_THE_END);
    output_close(o);
}

void output_close(struct output *o)
{
    if (o->io.fd == -1)
        return;
    timeq_stop(&o->pause);
    ev_io_stop(o->loop, &o->io);
    close(o->io.fd);
    ev_io_set(&o->io, -1, EV_READ);
    if (o->line.len > 0)
        emit(o, o->line.data, o->line.len);
    buf_free(&o->line);
}
