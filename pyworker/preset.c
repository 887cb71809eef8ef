/* preset.c - the preset connection: libfcgi serves a connection that our own epoll loop accepted and found
 * ready, or a file with nothing but a request's head.
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

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/socket.h>

#include "unnamed.h"

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

bool preset_begin(struct preset *p, int fd)
{
    p->apart = false;
    p->piece = NULL;
    (void)FCGX_InitRequest(&p->fcgi, -1, 0); /* always 0; -1: it can never accept by itself */
    p->fcgi.ipcFd = fd;
    p->fcgi.keepConnection = 1;
    FCGX_Detach(&p->fcgi); /* close() at once, not after a poll of two seconds for the peer's */
    bool begun = FCGX_Accept_r(&p->fcgi) == 0;
    p->fd = begun ? fd : -1;
    p->id = (uint16_t)p->fcgi.requestId;
    return begun;
}

/* A file that holds these bytes and nothing more; returns where to read them, or -1. */
static int file_of(const char *data, size_t len)
{
    int fd = unnamed_memory("head");

    if (fd != -1 && unnamed_put(fd, data, len) && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    if (fd != -1)
        (void)close(fd);
    return -1;
}

bool preset_begin_apart(struct preset *p, int fd, const void *head, size_t len, bool waits)
{
    unsigned char *piece = waits ? malloc(PRESET_BUFFER) : NULL;
    int source = waits && piece == NULL ? -1 : file_of(head, len);
    if (source == -1 || !preset_begin(p, source)) { /* which has closed it */
        free(piece);
        (void)close(fd);
        return false;
    }
    (void)close(source);
    p->fcgi.ipcFd = p->fd = fd;
    p->apart = true;
    p->piece = piece;
    upload_begin(&p->upload, fd, p->id, waits);
    return true;
}

char **preset_parameters(const struct preset *p)
{
    return p->fcgi.envp + 1; /* libfcgi puts its own FCGI_ROLE before them */
}

const char *preset_parameter(const struct preset *p, const char *name)
{
    return FCGX_GetParam(name, p->fcgi.envp);
}

size_t preset_name_length(const char *parameter)
{
    const char *equals = strchr(parameter, '=');
    return equals == NULL ? 0 : (size_t)(equals - parameter);
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

/* What libfcgi does when its buffer is empty. No signal is handled meanwhile: SIGTERM is for a thread that
 * waits for requests, and so comes before the next of them. */
static void fill(struct preset *p)
{
    FCGX_Stream *in = p->fcgi.in;
    sigset_t all, before;

    bool blocked = sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, &before) == 0;
    size_t n = upload_read(&p->upload, p->piece, PRESET_BUFFER);
    if (blocked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* cannot fail: the set came from there */
    in->rdNext = p->piece;
    in->stop = p->piece + n;
    in->isClosed = n == 0;
    if (p->upload.failed)
        in->FCGI_errno = FCGX_PROTOCOL_ERROR;
}

bool preset_refill(struct preset *p)
{
    FCGX_Stream *in = p->fcgi.in;
    if (in->isClosed)
        return false;
    if (p->apart)
        fill(p);
    else
        in->fillBuffProc(in);
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
    return !p->apart || p->fcgi.in->isClosed;
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
    time_t start = p->apart ? monotonic_seconds() : 0;
    size_t seen = 0;

    for (;;) {
        const char *data;
        size_t n = preset_available(p, &data);
        preset_consume(p, n);
        seen += n;
        if (p->fcgi.in->isClosed)
            return !preset_failed(p);
        if (seen > DRAIN_MAX || (p->apart && monotonic_seconds() - start > DRAIN_SECONDS))
            return false;
        (void)preset_refill(p); /* its end shows as isClosed */
    }
}

bool preset_drain_now(struct preset *p)
{
    char scratch[4096];
    size_t seen = 0;

    if (!p->apart || p->upload.waits)
        return preset_drain(p);
    for (size_t n = 1; n > 0 && seen <= DRAIN_MAX; seen += n)
        n = upload_read(&p->upload, scratch, sizeof(scratch));
    return p->upload.ended;
}

bool preset_end(struct preset *p, bool keep)
{
    if (!keep)
        (void)shutdown(p->fd, SHUT_WR); /* a process that the app has forked may still have it */
    FCGX_Free(&p->fcgi, !keep);
    free(p->piece);
    p->piece = NULL;
    p->fcgi.envp = NULL; /* who logs may ask for a parameter yet */
    p->fd = -1;
    return keep;
}
