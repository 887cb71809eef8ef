/* pump.c - see pump.h.
 *
 *   poll ─┬─ pipe ──────── read; head not whole: gather and judge it; else body: STDOUT records
 *         ├─ connection ── the peer has left: close the pipe, so that the script notices, too
 *         └─ quit ──────── what is in the pipe now, then the end
 *
 * A head that is no good does not end the script: what it writes is then read away. */
#define _GNU_SOURCE
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "output.h"

enum {
    HEAD_CEILING = 65536, /* bytes of a script's header block, as it writes it and as we do */
    STACK = 262144,       /* bytes of address space; libraries' thread-local data come out of it */
    LOOK_MS = 1000        /* at `quit`, which a script may have closed: of that nothing tells */
};

/* --- sending --- */

static void leave_pipe(struct pump *p)
{
    if (p->from != -1)
        (void)close(p->from);
    p->from = -1;
}

static void send_all(struct pump *p, const char *head, size_t head_len, const char *body, size_t body_len)
{
    struct output o;
    int error;

    output_begin(&o, p->to, p->id);
    if (head_len > 0)
        output_add(&o, head, head_len);
    if (body_len > 0)
        output_add(&o, body, body_len);
    do {
        error = output_run(&o);
    } while (error == EINTR);
    p->broken = error != 0;
}

/* Counts body and cuts what HEAD or Content-Length does not allow. */
static size_t admit(struct pump *p, size_t len)
{
    long long left = p->head.declared == -1 ? (long long)len : p->head.declared - p->produced;
    if (left < (long long)len)
        len = left > 0 ? (size_t)left : 0;
    p->produced += (long long)len;
    return p->head_only ? 0 : len;
}

static void refuse(struct pump *p, const char *error)
{
    p->bad = true;
    p->head.error = error;
}

static void take_start(struct pump *p, const char *data, size_t len)
{
    bool stored = buffer_append(&p->start, data, len);
    enum script_head_state state =
        stored ? script_head_parse(&p->head, p->start.data, p->start.len) : SCRIPT_HEAD_BAD;

    if (state == SCRIPT_HEAD_BAD)
        refuse(p, stored ? p->head.error : "it has no empty line, which would end a header block");
    if (state != SCRIPT_HEAD_DONE)
        return;
    p->committed = true;
    const char *body = p->start.data + p->head.size;
    size_t body_len = admit(p, p->start.len - p->head.size);
    send_all(p, p->head.out.data, p->head.out.len, body, body_len);
    buffer_free(&p->start);
    buffer_free(&p->head.out);
}

static void take(struct pump *p, const char *data, size_t len)
{
    if (p->bad)
        return;
    if (!p->committed) {
        take_start(p, data, len);
        return;
    }
    size_t allowed = admit(p, len);
    if (allowed > 0)
        send_all(p, NULL, 0, data, allowed);
}

/* --- the thread --- */

/* Reads once, up to `limit` bytes; returns how many, 0 when there is nothing now, or will be nothing more. */
static size_t step(struct pump *p, size_t limit)
{
    ssize_t n;
    do { /* again after EINTR: a 0 would end drain() with more to come */
        n = read(p->from, p->chunk, limit < sizeof(p->chunk) ? limit : sizeof(p->chunk));
    } while (n == -1 && errno == EINTR);
    if (n == 0 || (n == -1 && errno != EAGAIN))
        leave_pipe(p);
    if (n <= 0)
        return 0;
    take(p, p->chunk, (size_t)n);
    if (p->broken)
        leave_pipe(p);
    return (size_t)n;
}

/* Only what is there now: a process that the script has left behind may write for ever. */
static void drain(struct pump *p)
{
    int there = 0;
    if (p->from == -1 || ioctl(p->from, FIONREAD, &there) == -1)
        return;
    for (size_t left = (size_t)there, n = 1; n > 0 && left > 0 && p->from != -1; left -= n)
        n = step(p, left);
}

static void *run(void *arg)
{
    struct pump *p = arg;
    struct pollfd watched[] = {
        {.fd = p->quit, .events = POLLIN   },
        {.fd = p->to,   .events = POLLRDHUP},
        {.fd = p->from, .events = POLLIN   },
    };

    while (watched[0].revents == 0) {
        if (watched[2].revents != 0)
            (void)step(p, SIZE_MAX);
        if (watched[1].revents != 0 && !p->broken) {
            p->broken = true;
            leave_pipe(p);
        }
        watched[1].fd = p->broken ? -1 : p->to;
        watched[2].fd = p->from;
        if (poll(watched, sizeof(watched) / sizeof(watched[0]), LOOK_MS) != -1)
            continue;
        if (errno != EINTR) {
            p->broken = true; /* out of memory; the script must not wait for us for ever */
            leave_pipe(p);
            break;
        }
        /* A setuid() of the script: libc has every thread do it, by a signal of its own. */
        for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
            watched[i].revents = 0;
    }
    return NULL;
}

/* The script's signals are the script's: none is handled on this thread. */
static bool start_thread(struct pump *p)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        (void)sigfillset(&all);
        error = pthread_attr_setstacksize(&attributes, STACK);
        if (error == 0)
            error = pthread_sigmask(SIG_BLOCK, &all, &before);
        if (error == 0) {
            error = pthread_create(&p->thread, &attributes, run, p);
            (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* cannot fail: the set came from there */
        }
        (void)pthread_attr_destroy(&attributes);
    }
    errno = error;
    return error == 0;
}

struct pump *pump_start(int from, const struct preset *request, bool head_only)
{
    struct pump *p = malloc(sizeof(*p));
    if (p == NULL) {
        (void)close(from);
        return NULL;
    }
    memset(p, 0, offsetof(struct pump, chunk)); /* the chunk's pages are touched as they are needed */
    p->from = from;
    p->to = request->fd;
    p->id = request->id;
    p->head_only = head_only;
    buffer_init(&p->start, HEAD_CEILING);
    buffer_init(&p->head.out, HEAD_CEILING);
    p->quit = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int flags = fcntl(from, F_GETFL);
    if (p->quit == -1 || flags == -1 || fcntl(from, F_SETFL, flags | O_NONBLOCK) == -1 || !start_thread(p)) {
        int error = errno;
        pump_free(p);
        errno = error;
        return NULL;
    }
    return p;
}

void pump_finish(struct pump *p)
{
    (void)eventfd_write(p->quit, 1);     /* a fresh counter has room for it */
    (void)pthread_join(p->thread, NULL); /* ours, and joined once */
    drain(p);
    leave_pipe(p);
}

bool pump_peer_left(const struct pump *p)
{
    return atomic_load(&p->broken);
}

void pump_free(struct pump *p)
{
    leave_pipe(p);
    if (p->quit != -1)
        (void)close(p->quit);
    buffer_free(&p->start);
    buffer_free(&p->head.out);
    free(p);
}
