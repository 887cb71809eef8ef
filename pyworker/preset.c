/* preset.c - the preset connection: libfcgi serves a connection that our own epoll loop accepted and found
 * ready.
 *
 * FCGX_Accept_r() normally accepts and reads in one blocking call. If ipcFd is set already and keepConnection
 * says that it was kept from a request before, it only reads. fcgiapp.h says "don't use anything below here"
 * of these two fields; they have not moved since libfcgi 2.4.0, and the assertions below stop the build if
 * they ever do.
 *
 * Answers are written by us (output.c), not through FCGX_Finish_r(): libfcgi takes EINTR for the end of a
 * connection, writes 8 KB at a time, and cannot end a request without ending its output. FCGX_Free() then
 * drops the request. */
#define _GNU_SOURCE
#include "preset.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/socket.h>

_Static_assert(offsetof(FCGX_Request, ipcFd) == 2 * sizeof(int) + 5 * sizeof(void *), "libfcgi moved ipcFd");
_Static_assert(offsetof(FCGX_Request, keepConnection) == offsetof(FCGX_Request, ipcFd) + 2 * sizeof(int),
               "libfcgi moved keepConnection");
_Static_assert(sizeof(FCGX_Request) == 10 * sizeof(int) + 5 * sizeof(void *), "libfcgi changed FCGX_Request");

enum {
    DRAIN_MAX = 65536, /* bytes; past this a new connection is cheaper than reading on */
    DRAIN_SECONDS = 5
};

bool preset_setup(void)
{
    /* FCGX_Init() takes these over even where they were ignored; Python ignores SIGPIPE. */
    static const int taken[] = {SIGPIPE, SIGUSR1, SIGTERM};
    enum { TAKEN = sizeof(taken) / sizeof(taken[0]) };
    struct sigaction before[TAKEN];
    bool saved[TAKEN];

    for (size_t i = 0; i < TAKEN; i++)
        saved[i] = sigaction(taken[i], NULL, &before[i]) == 0;
    bool done = FCGX_Init() == 0;
    for (size_t i = 0; i < TAKEN; i++)
        done = saved[i] && sigaction(taken[i], &before[i], NULL) == 0 && done;
    return done;
}

/* A signal handler that interrupts libfcgi's read() would end the connection, so none may run while it can
 * block. */
static bool signals_block(const struct preset *p, sigset_t *before)
{
    sigset_t all;
    return !p->buffered && sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, before) == 0;
}

static void signals_restore(bool blocked, const sigset_t *before)
{
    if (blocked)
        (void)pthread_sigmask(SIG_SETMASK, before, NULL); /* cannot fail: the set came from there */
}

bool preset_begin(struct preset *p, int fd, size_t len)
{
    sigset_t before;

    p->buffered = len > 0 && len <= PRESET_BUFFER;
    p->apart = false;
    (void)FCGX_InitRequest(&p->fcgi, -1, 0); /* always 0; -1: it can never accept by itself */
    p->fcgi.ipcFd = fd;
    p->fcgi.keepConnection = 1;
    FCGX_Detach(&p->fcgi); /* close() at once, not after a poll of two seconds for the peer's */
    bool blocked = signals_block(p, &before);
    bool begun = FCGX_Accept_r(&p->fcgi) == 0;
    signals_restore(blocked, &before);
    p->fd = begun ? fd : -1;
    p->id = (uint16_t)p->fcgi.requestId;
    return begun;
}

/* A pipe that holds these bytes and nothing more; returns where to read them, or -1. `len`: less than a pipe
 * takes. */
static int pipe_of(const void *data, size_t len)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) == -1)
        return -1;
    ssize_t written = write(ends[1], data, len);
    (void)close(ends[1]);
    if (written == (ssize_t)len)
        return ends[0];
    (void)close(ends[0]);
    return -1;
}

bool preset_begin_apart(struct preset *p, int fd, void *head, size_t len)
{
    int source = recv(fd, head, len, MSG_DONTWAIT) == (ssize_t)len ? pipe_of(head, len) : -1;
    if (source == -1 || !preset_begin(p, source, 0)) { /* which has closed it */
        (void)close(fd);
        return false;
    }
    (void)close(source);
    p->fcgi.ipcFd = p->fd = fd;
    p->apart = true;
    upload_begin(&p->upload, fd, p->id);
    return true;
}

size_t preset_available(const struct preset *p, const char **data)
{
    const FCGX_Stream *in = p->fcgi.in;
    *data = (const char *)in->rdNext;
    return (size_t)(in->stop - in->rdNext);
}

void preset_consume(struct preset *p, size_t len)
{
    p->fcgi.in->rdNext += len;
}

bool preset_refill(struct preset *p)
{
    FCGX_Stream *in = p->fcgi.in;
    if (in->isClosed)
        return false;
    sigset_t before;
    bool blocked = signals_block(p, &before);
    in->fillBuffProc(in);
    signals_restore(blocked, &before);
    in->stopUnget = in->rdNext;
    return !in->isClosed;
}

size_t preset_read(struct preset *p, char *out, size_t len)
{
    size_t done = 0;
    while (done < len) {
        const char *data;
        size_t n = preset_available(p, &data);
        if (n == 0) {
            if (!preset_refill(p))
                break;
            continue;
        }
        n = n < len - done ? n : len - done;
        memcpy(out + done, data, n);
        preset_consume(p, n);
        done += n;
    }
    return done;
}

bool preset_at_end(const struct preset *p)
{
    return p->buffered || p->fcgi.in->isClosed;
}

bool preset_failed(const struct preset *p)
{
    return FCGX_GetError(p->fcgi.in) != 0;
}

static time_t monotonic_seconds(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? now.tv_sec : 0;
}

/* Body that stays in the socket would be taken for the next request's records: a body made for it ran a
 * request of its own with parameters of its own choice. */
bool preset_drain(struct preset *p)
{
    time_t start = p->buffered ? 0 : monotonic_seconds();
    size_t seen = 0;

    for (;;) {
        const char *data;
        size_t n = preset_available(p, &data);
        preset_consume(p, n);
        seen += n;
        if (p->fcgi.in->isClosed)
            return !preset_failed(p);
        if (seen > DRAIN_MAX || (!p->buffered && monotonic_seconds() - start > DRAIN_SECONDS))
            return false;
        (void)preset_refill(p); /* its end shows as isClosed */
    }
}

bool preset_drain_now(struct preset *p)
{
    char scratch[4096];
    size_t seen = 0;

    if (!p->apart)
        return preset_drain(p);
    for (size_t n = 1; n > 0 && seen <= DRAIN_MAX; seen += n)
        n = upload_read(&p->upload, scratch, sizeof(scratch));
    return p->upload.ended;
}

bool preset_end(struct preset *p, bool keep)
{
    FCGX_Free(&p->fcgi, !keep);
    p->fd = -1;
    return keep;
}
