/* core.c - the epoll loop.
 *
 *   epoll_wait ─┬─ listener ── accept, check the peer, add
 *               ├─ control ─── STOP or end of file: stopping
 *               ├─ wake ────── SIGTERM: stopping
 *               └─ connection ─ hung up: close
 *                               peek: not whole: wait on   management: answer   bad: close
 *                                     a request: libfcgi reads its head, and it is the caller's
 *
 * One event at a time, so that what it says of a connection (RDHUP) is true when the app is called.
 * Connections are edge-triggered: half a head costs nothing until more of it comes. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <fastcgi.h>

#include "control.h"
#include "peer.h"
#include "record.h"

enum {
    CONNECTIONS_MAX = 1024,
    ACCEPTS_AT_ONCE = 16,  /* per event, so that requests get their turn */
    ACCEPT_PAUSE_MS = 100, /* without free descriptors */
    PEEK_FIRST = 8192,     /* holds nearly every head */
    PEEK_MAX =
        131072 /* past this, libfcgi reads the head, waiting for each piece at most as long as peer.c says */
};

/* Of the SIGTERM handler, which has no other way to reach the one core of a process: what to write to, and that it ran.
 * The flag counts at once; the descriptor may have to queue behind connections that are ready. */
static volatile sig_atomic_t wake_descriptor = -1;
static volatile sig_atomic_t sigterm_came;

static void on_sigterm(int signal_number)
{
    int saved = errno;
    uint64_t one = 1;

    (void)signal_number;
    sigterm_came = 1;
    /* It can only fail when the counter is full, that is when the loop will wake anyway. */
    ssize_t written = write(wake_descriptor, &one, sizeof(one));
    (void)written;
    errno = saved;
}

void core_init(struct core *core)
{
    *core = (struct core){.epoll = -1, .listener = -1, .control = -1, .wake = -1};
}

static bool watch(struct core *core, int fd, uint32_t events, uint32_t generation)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
    return epoll_ctl(core->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void listener_pause(struct core *core)
{
    core->listening = epoll_ctl(core->epoll, EPOLL_CTL_DEL, core->listener, NULL) != 0;
}

static void listener_resume(struct core *core)
{
    if (!core->listening && !core->stopping && core->open < CONNECTIONS_MAX) {
        core->listening = watch(core, core->listener, EPOLLIN, 0);
    }
}

/* --- start --- */

static bool replace_stdin(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null == -1) {
        return false;
    }
    bool done =
        null == STDIN_FILENO ? fcntl(null, F_SETFD, 0) == 0 : dup2(null, STDIN_FILENO) == STDIN_FILENO;
    if (null != STDIN_FILENO) {
        (void)close(null);
    }
    return done;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

bool core_take_control(struct core *core)
{
    if (!control_is_channel(CONTROL_FD)) {
        return true;
    }
    core->control = CONTROL_FD;
    core->gateway_uid = control_peer_uid(CONTROL_FD);
    return fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) == 0;
}

bool core_take_listener(struct core *core, int listener)
{
    if (listener == -1) {
        if (!is_listening(STDIN_FILENO)) {
            errno = ENOTSOCK;
            return false;
        }
        listener = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
        if (listener == -1) {
            return false;
        }
    }
    core->listener = listener;
    core->is_unix = peer_is_unix(listener);
    int flags = fcntl(listener, F_GETFL);
    return flags != -1 && fcntl(listener, F_SETFL, flags | O_NONBLOCK) == 0 && replace_stdin();
}

static bool take_sigterm(int wake)
{
    struct sigaction action;

    if (sigaction(SIGTERM, NULL, &action) == -1) {
        return false;
    }
    if (action.sa_handler != SIG_DFL) {
        return true;
    }
    action = (struct sigaction){.sa_handler = on_sigterm, .sa_flags = SA_RESTART};
    wake_descriptor = wake;
    return sigemptyset(&action.sa_mask) == 0 && sigaction(SIGTERM, &action, NULL) == 0;
}

bool core_open(struct core *core)
{
    core->peek = malloc(PEEK_MAX);
    core->epoll = epoll_create1(EPOLL_CLOEXEC);
    core->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (core->peek == NULL || core->epoll == -1 || core->wake == -1 || !take_sigterm(core->wake)) {
        return false;
    }
    core->listening = watch(core, core->listener, EPOLLIN, 0);
    return core->listening && watch(core, core->wake, EPOLLIN, 0) &&
           (core->control == -1 || watch(core, core->control, EPOLLIN | EPOLLRDHUP, 0));
}

/* --- connections --- */

static bool conns_reach(struct core *core, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need <= core->conns_size) {
        return true;
    }
    size_t size = need + need / 2 + 16;
    struct conn *conns = realloc(core->conns, size * sizeof(*conns));
    if (conns == NULL) {
        return false;
    }
    memset(conns + core->conns_size, 0, (size - core->conns_size) * sizeof(*conns));
    core->conns = conns;
    core->conns_size = size;
    return true;
}

static bool conn_add(struct core *core, int fd)
{
    if (!conns_reach(core, fd)) {
        return false;
    }
    struct conn *conn = &core->conns[fd];
    conn->generation =
        conn->generation == UINT32_MAX ? 1 : conn->generation + 1; /* 0 is for what is no connection */
    if (!watch(core, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, conn->generation)) {
        return false;
    }
    conn->open = true;
    core->open++;
    return true;
}

/* The descriptor is closed already, and with it its place in the set; a forked child of the app may hold the
 * connection open all the same, its events then carry an old generation or find the connection closed. */
static void conn_forget(struct core *core, int fd)
{
    core->conns[fd].open = false;
    core->open--;
    listener_resume(core);
}

static void conn_close(struct core *core, int fd)
{
    (void)close(fd); /* nothing to save: what was written is the kernel's */
    conn_forget(core, fd);
}

/* Returns whether there may be more to accept. */
static bool accept_one(struct core *core)
{
    int fd = accept4(core->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd == -1) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            listener_pause(core);
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    bool trusted = core->control == -1 || !core->is_unix || peer_is_trusted(fd, core->gateway_uid);
    if (!trusted) {
        peer_report(core->control, fd);
    }
    if (!trusted || !peer_limit_silence(fd) || !conn_add(core, fd)) {
        (void)close(fd);
    }
    if (core->open >= CONNECTIONS_MAX) {
        listener_pause(core);
        return false;
    }
    return true;
}

static void accept_some(struct core *core)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE && accept_one(core); i++) {
    }
}

/* --- messages --- */

static enum message_kind conn_inspect(struct core *core, int fd, struct message *m, size_t *seen)
{
    enum message_kind kind = MESSAGE_MORE;
    size_t limit = PEEK_FIRST;

    for (;;) {
        ssize_t n = recv(fd, core->peek, limit, MSG_PEEK | MSG_DONTWAIT);
        if (n <= 0) {
            *seen = 0;
            return n == 0 || (errno != EAGAIN && errno != EINTR) ? MESSAGE_BAD : MESSAGE_MORE;
        }
        *seen = (size_t)n;
        kind = message_inspect(core->peek, *seen, m);
        if (kind != MESSAGE_MORE || *seen < limit || limit == PEEK_MAX) {
            return kind;
        }
        limit = PEEK_MAX;
    }
}

/* Takes `len` bytes that are known to be there. */
static bool conn_skip(struct core *core, int fd, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, core->peek, len < PEEK_MAX ? len : PEEK_MAX, MSG_DONTWAIT);
        if (n <= 0) {
            return false;
        }
        len -= (size_t)n;
    }
    return true;
}

static bool conn_manage(struct core *core, int fd, size_t len)
{
    uint8_t reply[RECORD_REPLY_MAX];
    size_t reply_len = message_reply(core->peek, len, CONNECTIONS_MAX, reply);

    return conn_skip(core, fd, len) && peer_send(fd, reply, reply_len);
}

static void conn_refuse(int fd, uint16_t id, uint8_t protocol_status)
{
    uint8_t end[RECORD_END];

    record_put_end(end, id, 0, protocol_status);
    (void)peer_send(fd, end, sizeof(end)); /* the connection is closed next, whether it arrived or not */
}

/* Returns whether a request has begun. */
static bool conn_ready(struct core *core, int fd, struct preset *request)
{
    for (;;) {
        struct message m;
        size_t seen;
        enum message_kind kind = conn_inspect(core, fd, &m, &seen);

        if (kind == MESSAGE_MANAGEMENT && conn_manage(core, fd, m.len)) {
            continue; /* edge-triggered: what follows it may be here already */
        }
        if (kind == MESSAGE_MORE && seen < PEEK_MAX) {
            return false;
        }
        if (kind == MESSAGE_BAD || kind == MESSAGE_MANAGEMENT) {
            conn_close(core, fd);
            return false;
        }
        if (m.role != FCGI_RESPONDER) {
            conn_refuse(fd, m.id, FCGI_UNKNOWN_ROLE);
            conn_close(core, fd);
            return false;
        }
        if (!preset_begin(request, fd, m.whole ? m.len : 0)) {
            conn_forget(core, fd);
            return false;
        }
        return true;
    }
}

static bool conn_event(struct core *core, const struct epoll_event *event, struct preset *request)
{
    int fd = (int)(uint32_t)event->data.u64;
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);

    if (!core->conns[fd].open || core->conns[fd].generation != generation) {
        return false;
    }
    if ((event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        conn_close(core, fd);
        return false;
    }
    return conn_ready(core, fd, request);
}

/* --- the loop --- */

static bool own_event(struct core *core, int fd)
{
    if (fd == core->listener) {
        accept_some(core);
        return false;
    }
    return fd == core->wake || control_receive(core->control) == CONTROL_STOP;
}

enum core_event core_next(struct core *core, struct preset *request)
{
    for (;;) {
        struct epoll_event event;
        bool full = core->open >= CONNECTIONS_MAX;
        int n = epoll_wait(core->epoll, &event, 1, core->listening || full ? -1 : ACCEPT_PAUSE_MS);

        if (n == -1 && errno != EINTR) {
            return CORE_ERROR;
        }
        if (sigterm_came) {
            return CORE_STOP;
        }
        if (n == -1) {
            return CORE_SIGNAL;
        }
        if (n == 0) {
            listener_resume(core);
        } else if (event.data.u64 >> 32 != 0) {
            if (conn_event(core, &event, request)) {
                return CORE_REQUEST;
            }
        } else if (own_event(core, (int)event.data.u64)) {
            return CORE_STOP;
        }
    }
}

void core_end(struct core *core, struct preset *request, bool keep)
{
    int fd = request->fd;
    if (!preset_end(request, keep)) {
        conn_forget(core, fd);
    }
}

/* --- end --- */

/* After shutdown() nothing can be added to a connection: what is there is refused, what is not there the
 * gateway knows to be unsent. */
static void conn_finish(struct core *core, int fd)
{
    struct message m;
    size_t seen;

    (void)shutdown(fd, SHUT_RD);
    enum message_kind kind = conn_inspect(core, fd, &m, &seen);
    if (kind != MESSAGE_BAD && m.id != 0) {
        (void)conn_skip(core, fd, SIZE_MAX); /* unread bytes would make close() a reset */
        conn_refuse(fd, m.id, FCGI_OVERLOADED);
    }
    conn_close(core, fd);
}

void core_close(struct core *core)
{
    core->stopping = true;
    if (core->epoll == -1) {
        return;
    }
    if (core->listening) {
        listener_pause(core);
    }
    if (core->control != -1) {
        /* Ours alone: no more connects. A web server's socket may have other workers behind it. */
        (void)shutdown(core->listener, SHUT_RD);
        while (core->open < CONNECTIONS_MAX && accept_one(core)) {
        }
    }
    for (size_t fd = 0; fd < core->conns_size; fd++) {
        if (core->conns[fd].open) {
            conn_finish(core, (int)fd);
        }
    }
    (void)close(core->listener);
    (void)close(core->epoll);
    free(core->conns);
    free(core->peek);
    core->listener = core->epoll = -1;
    core->conns = NULL;
    core->conns_size = 0;
    core->peek = NULL;
}
