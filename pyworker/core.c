/* core.c - the epoll loop.
 *
 *   epoll_wait ─┬─ listener ── accept, check the peer, add
 *               ├─ control ─── STOP or end of file: stopping
 *               ├─ wake ────── SIGTERM: stopping
 *               └─ connection ─ hung up: close
 *                               else conn.c: wait on, close, or a request has begun: the caller's
 *
 * One event at a time, so that what it says of a connection (RDHUP) is true when the app is called.
 * Connections are edge-triggered: half a head costs nothing until more of it comes. An edge that comes while
 * another thread serves the connection is noted and asked for again when that request ends. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "conn.h"
#include "control.h"
#include "inherit.h"
#include "peer.h"

enum {
    ACCEPTS_AT_ONCE = 16, /* per event, so that requests get their turn */
    ACCEPT_PAUSE_MS = 100 /* without free descriptors */
};

static const uint32_t CONN_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET;

/* Of the SIGTERM handler, which has no other way to reach the one core of a process: what to write to, and
 * that it ran. The flag counts at once; the descriptor may queue behind connections that are ready. */
static volatile sig_atomic_t wake_descriptor = -1;
static volatile sig_atomic_t sigterm_came;
static pid_t owner;         /* of the core */
static struct core *opened; /* what fork() must know of; NULL in a child */
static bool forked;         /* set in a child by fork(), at no cost to a request */

static void on_sigterm(int signal_number)
{
    int saved = errno;
    uint64_t one = 1;

    if (getpid() != owner) {
        /* A child that the app forked, maybe before it had run at all: multiprocessing ends its own so. */
        (void)signal(signal_number, SIG_DFL);
        (void)raise(signal_number); /* comes when this handler returns */
        return;
    }
    sigterm_came = 1;
    /* It can only fail when the counter is full, that is when the loop will wake anyway. */
    ssize_t written = write(wake_descriptor, &one, sizeof(one));
    (void)written;
    errno = saved;
}

bool core_is_child(void)
{
    return forked;
}

void core_init(struct core *core)
{
    *core = (struct core){.epoll = -1,
                          .listener = -1,
                          .control = -1,
                          .wake = -1,
                          .foreign = -1,
                          .gateway = -1,
                          .limit = CONN_MAX};
    (void)pthread_mutex_init(&core->lock, NULL); /* glibc's cannot fail without attributes */
}

static void lock(struct core *core)
{
    (void)pthread_mutex_lock(&core->lock); /* fails for a thread that holds it already, and none does */
}

static void unlock(struct core *core)
{
    (void)pthread_mutex_unlock(&core->lock);
}

/* --- fork --- */

static void before_fork(void)
{
    if (opened != NULL)
        lock(opened);
}

static void after_fork(void)
{
    if (opened != NULL)
        unlock(opened);
}

/* In a child: a request ends with the process that serves it, whoever lives on. To what is left here of the
 * request its peer has gone; a number that is merely free would be the next file's. */
static void leave_connections(struct core *core)
{
    int ends[2];

    if (core->open == 0)
        return;
    bool made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
    if (made)
        (void)close(ends[1]);
    for (size_t fd = 0; fd < core->conns_size; fd++)
        if (core->conns[fd].open && (!made || dup3(ends[0], (int)fd, O_CLOEXEC) == -1))
            (void)close((int)fd);
    if (made)
        (void)close(ends[0]);
}

static void become_child(void)
{
    forked = true;
    if (opened == NULL)
        return;
    leave_connections(opened);
    opened->stopping = true;
    unlock(opened);
    opened = NULL;
}

/* --- events --- */

static bool set_events(struct core *core, int operation, int fd, uint32_t events, uint32_t generation)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
    return epoll_ctl(core->epoll, operation, fd, &event) == 0;
}

static bool watch(struct core *core, int fd, uint32_t events, uint32_t generation)
{
    return set_events(core, EPOLL_CTL_ADD, fd, events, generation);
}

static void listener_pause(struct core *core)
{
    core->listening = epoll_ctl(core->epoll, EPOLL_CTL_DEL, core->listener, NULL) != 0;
}

static void listener_resume(struct core *core)
{
    if (!core->listening && !core->stopping && core->open < core->limit)
        core->listening = watch(core, core->listener, EPOLLIN, 0);
}

/* --- start --- */

void core_take_control(struct core *core)
{
    core->control = inherit_control();
    core->guarded = core->control != -1;
    if (core->guarded)
        core->gateway_uid = peer_uid(core->control);
}

void core_become_copy(struct core *core, int control)
{
    if (core->control != -1)
        (void)close(core->control);
    core->control = control;
    core->single = true;
    core->limit = 1;
}

bool core_take_listener(struct core *core, int listener)
{
    core->listener = inherit_listener(listener);
    core->is_unix = core->listener != -1 && peer_is_unix(core->listener);
    return core->listener != -1;
}

static bool take_sigterm(int wake)
{
    struct sigaction action;

    if (sigaction(SIGTERM, NULL, &action) == -1)
        return false;
    if (action.sa_handler != SIG_DFL)
        return true;
    action = (struct sigaction){.sa_handler = on_sigterm, .sa_flags = SA_RESTART};
    wake_descriptor = wake;
    owner = getpid();
    return sigemptyset(&action.sa_mask) == 0 && sigaction(SIGTERM, &action, NULL) == 0;
}

bool core_open(struct core *core, unsigned requests)
{
    if (!core->single) /* a copy is one of those that its zygote has told */
        core->requests = requests;
    core->peek = malloc(CONN_PEEK_MAX);
    core->epoll = epoll_create1(EPOLL_CLOEXEC);
    core->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (core->peek == NULL || core->epoll == -1 || core->wake == -1 || !take_sigterm(core->wake))
        return false;
    opened = core;
    errno = pthread_atfork(before_fork, after_fork, become_child);
    if (errno != 0)
        return false;
    core->listening = watch(core, core->listener, EPOLLIN, 0);
    return core->listening && watch(core, core->wake, EPOLLIN, 0) &&
           (core->control == -1 || watch(core, core->control, EPOLLIN | EPOLLRDHUP, 0));
}

/* --- connections --- */

static bool conns_reach(struct core *core, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need <= core->conns_size)
        return true;
    size_t size = need + need / 2 + 16;
    struct conn *conns = realloc(core->conns, size * sizeof(*conns));
    if (conns == NULL)
        return false;
    memset(conns + core->conns_size, 0, (size - core->conns_size) * sizeof(*conns));
    core->conns = conns;
    core->conns_size = size;
    return true;
}

static bool conn_add(struct core *core, int fd)
{
    if (!conns_reach(core, fd))
        return false;
    struct conn *conn = &core->conns[fd];
    conn->generation =
        conn->generation == UINT32_MAX ? 1 : conn->generation + 1; /* 0 is for what is no connection */
    if (!watch(core, fd, CONN_EVENTS, conn->generation))
        return false;
    conn->open = true;
    conn->busy = conn->missed = conn->waits = false;
    conn->owner = NULL;
    core->open++;
    return true;
}

/* The descriptor is closed already, and with it its place in the set, unless a process that is about to exec
 * still has it; events of it then carry an old generation or find the connection closed. */
static void conn_forget(struct core *core, int fd)
{
    if (core->conns[fd].waits)
        core->waiting--;
    core->conns[fd].open = core->conns[fd].waits = false;
    core->open--;
    listener_resume(core);
}

static void conn_close(struct core *core, int fd)
{
    (void)close(fd); /* nothing to save: what was written is the kernel's */
    conn_forget(core, fd);
}

/* With the lock, which guards `peek`, too, when nobody is in core_next() any more. */
static void refuse(struct core *core, int fd)
{
    conn_refuse(fd, core->peek);
    conn_close(core, fd);
}

/* Returns whether there may be more to accept. */
static bool accept_one(struct core *core)
{
    int fd = accept4(core->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd == -1) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            listener_pause(core);
        return errno == ECONNABORTED || errno == EINTR;
    }
    bool trusted = !core->guarded || !core->is_unix || peer_is_trusted(fd, core->gateway_uid);
    if (!trusted)
        peer_report(core->control, fd);
    if (!trusted || !peer_limit_silence(fd) || !conn_add(core, fd))
        (void)close(fd);
    if (core->open < core->limit)
        return true;
    listener_pause(core);
    if (core->single) {
        core->stopping = true;                        /* whatever comes of this connection, it is the last */
        (void)control_say(core->control, "ACCEPTED"); /* a zygote that is gone kills us */
    }
    return false;
}

static void accept_some(struct core *core)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE && accept_one(core); i++) {
    }
}

/* What happens to a connection with a request: its owner's business, or looked at when the request ends. */
static enum core_event busy_event(struct conn *conn, uint32_t events, struct core_news *news)
{
    conn->missed = true;
    news->owner = conn->owner;
    news->events = events;
    return conn->owner != NULL ? CORE_PEER : CORE_NOTHING;
}

/* Reads a request without the lock: it may have to wait for the peer. */
static enum conn_state conn_look(struct core *core, int fd, struct preset *request)
{
    if (core->draining) {
        conn_refuse(fd, core->peek);
        return CONN_USELESS;
    }
    unlock(core);
    enum conn_state state = conn_begin(fd, core->peek, core->requests, !core->polled, request);
    lock(core);
    return state;
}

/* There is a place for a request that has waited: its event is asked for again. Everybody gets a turn. */
static void let_one_in(struct core *core)
{
    size_t fd = core->turn;
    do {
        fd = fd + 1 < core->conns_size ? fd + 1 : 0;
    } while (!core->conns[fd].waits && fd != core->turn);
    core->turn = fd;
    struct conn *conn = &core->conns[fd];
    if (conn->waits && !set_events(core, EPOLL_CTL_MOD, (int)fd, CONN_EVENTS, conn->generation))
        conn_close(core, (int)fd);
}

/* Something has come on a connection without a request. */
static enum core_event free_event(struct core *core, int fd, uint32_t events, struct preset *request)
{
    bool left = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (!left && core->polled && core->serving >= core->requests) {
        core->conns[fd].waits = true;
        core->waiting++;
        return CORE_NOTHING;
    }
    core->conns[fd].busy = true;
    enum conn_state state = left ? CONN_USELESS : conn_look(core, fd, request);
    if (state == CONN_USELESS)
        conn_close(core, fd);
    else if (state == CONN_CLOSED)
        conn_forget(core, fd);
    else
        core->conns[fd].busy = state == CONN_BEGUN;
    core->serving += state == CONN_BEGUN;
    if (core->waiting > 0 && core->serving < core->requests)
        let_one_in(core); /* it was let in, and did not take its place: half a head, or its peer has left */
    return state == CONN_BEGUN ? CORE_REQUEST : CORE_NOTHING;
}

static enum core_event conn_event(struct core *core, const struct epoll_event *event, struct preset *request,
                                  struct core_news *news)
{
    int fd = (int)(uint32_t)event->data.u64;
    struct conn *conn = &core->conns[fd];

    if (!conn->open || conn->generation != (uint32_t)(event->data.u64 >> 32))
        return CORE_NOTHING;
    if (conn->busy)
        return busy_event(conn, event->events, news);
    if (conn->waits) {
        conn->waits = false;
        core->waiting--;
    }
    return free_event(core, fd, event->events, request);
}

/* --- the loop --- */

static enum core_event own_event(struct core *core, int fd, struct core_news *news)
{
    static const enum core_event events[] = {[CONTROL_NOTHING] = CORE_NOTHING,
                                             [CONTROL_CANCEL] = CORE_CANCEL,
                                             [CONTROL_STACK] = CORE_STACK,
                                             [CONTROL_STOP] = CORE_STOP};

    if (fd == core->listener) {
        accept_some(core);
        return CORE_NOTHING;
    }
    if (fd == core->foreign)
        return CORE_FOREIGN;
    enum core_event found =
        fd == core->wake ? CORE_STOP : events[control_receive(core->control, &news->slot)];
    if (found != CORE_STOP || !core->draining)
        return found;
    /* It was heard, and an end of file would be told for ever. */
    (void)epoll_ctl(core->epoll, EPOLL_CTL_DEL, fd, NULL);
    return CORE_NOTHING;
}

/* What an event amounts to; CORE_NOTHING: it is dealt with. */
static enum core_event look_at(struct core *core, const struct epoll_event *event, struct preset *request,
                               struct core_news *news)
{
    if (event->data.u64 >> 32 != 0)
        return conn_event(core, event, request, news);
    return own_event(core, (int)event->data.u64, news);
}

/* With the lock, which it gives away while it waits. As epoll_wait(). */
static int wait_event(struct core *core, struct epoll_event *event)
{
    int pause = core->listening || core->open >= core->limit ? -1 : ACCEPT_PAUSE_MS;
    unlock(core);
    int n = epoll_wait(core->epoll, event, 1, pause);
    lock(core);
    return n;
}

/* Whether a copy has had its one connection, and no request came of it. */
static bool came_to_nothing(const struct core *core)
{
    return core->single && core->stopping && core->open == 0;
}

static enum core_event next(struct core *core, struct preset *request)
{
    for (;;) {
        struct epoll_event event;
        struct core_news news;

        if (came_to_nothing(core))
            return CORE_STOP;
        int n = wait_event(core, &event);
        if (n == -1 && errno != EINTR)
            return CORE_ERROR;
        if (sigterm_came)
            return CORE_STOP;
        if (n == -1)
            return CORE_SIGNAL;
        if (n == 0) {
            listener_resume(core);
            continue;
        }
        enum core_event found = look_at(core, &event, request, &news);
        if (found == CORE_REQUEST || found == CORE_STOP)
            return found;
    }
}

enum core_event core_next(struct core *core, struct preset *request)
{
    lock(core);
    enum core_event event = next(core, request);
    unlock(core);
    return event;
}

/* Waits so many milliseconds for the next batch of events. As epoll_wait(). */
static int take_batch(struct core *core, int ms)
{
    int n = epoll_wait(core->epoll, core->ready, CORE_BATCH, ms);
    core->ready_count = n > 0 ? n : 0;
    core->ready_next = 0;
    return n;
}

enum core_event core_poll(struct core *core, struct preset *request, struct core_news *news)
{
    enum core_event found = CORE_NOTHING;

    lock(core);
    core->polled = true;
    /* One batch, then the loop has its turn: what is left keeps the epoll set readable. */
    if (core->ready_count == 0)
        (void)take_batch(core, 0);
    else if (core->ready_next == core->ready_count)
        core->ready_next = core->ready_count = 0;
    while (found == CORE_NOTHING && core->ready_next < core->ready_count) {
        const struct epoll_event *event = &core->ready[core->ready_next];
        found = look_at(core, event, request, news);
        /* All that the gateway has said comes first: a CANCEL is not for the next request of its slot. */
        bool may_say_more = found != CORE_NOTHING && event->data.u64 == (uint32_t)core->control;
        core->ready_next += may_say_more ? 0 : 1;
    }
    if (found == CORE_NOTHING && came_to_nothing(core) && !core->draining)
        found = CORE_STOP;
    unlock(core);
    return found;
}

bool core_watch(struct core *core, int fd)
{
    core->foreign = fd;
    return watch(core, fd, EPOLLIN, 0);
}

bool core_wait(struct core *core, int ms)
{
    if (core->ready_next < core->ready_count) /* there was no memory for a request of the last batch */
        return true;
    return take_batch(core, ms) != -1;
}

int core_pause(struct core *core)
{
    lock(core);
    if (core->polled)
        listener_resume(core);
    int pause = core->listening || core->stopping || core->open >= core->limit ? -1 : ACCEPT_PAUSE_MS;
    unlock(core);
    return pause;
}

void core_own(struct core *core, int fd, void *told)
{
    lock(core);
    core->conns[fd].owner = told;
    unlock(core);
}

bool core_want_room(struct core *core, int fd)
{
    lock(core);
    core->conns[fd].missed = true; /* and so EPOLLOUT is taken back when the request ends */
    bool done = set_events(core, EPOLL_CTL_MOD, fd, CONN_EVENTS | EPOLLOUT, core->conns[fd].generation);
    unlock(core);
    return done;
}

void core_drain(struct core *core)
{
    lock(core);
    core->draining = true;
    bool shared = !core->guarded || core->single; /* other workers, or copies, are behind the socket */
    if (shared && core->listening)
        listener_pause(core);
    core->stopping = shared;
    unlock(core);
}

void core_tell_slot(const struct core *core, uint16_t id)
{
    char slot[sizeof("SLOT 65535")];

    if (!core->single)
        return;
    (void)snprintf(slot, sizeof(slot), "SLOT %u", (unsigned)id);
    (void)control_say(core->control, slot); /* a zygote that is gone kills us */
}

void core_wake(const struct core *core)
{
    (void)eventfd_write(core->wake, 1); /* fails only when the counter is full: the loop will wake anyway */
}

void core_end(struct core *core, struct preset *request, bool keep)
{
    int fd = request->fd;
    lock(core);
    struct conn *conn = &core->conns[fd];
    conn->busy = false;
    conn->owner = NULL;
    core->serving--;
    /* The lock is held over the close: its descriptor may be the next one that is accepted. */
    if (!preset_end(request, keep))
        conn_forget(core, fd);
    else if (core->stopping)
        refuse(core, fd);
    else if (conn->missed && !set_events(core, EPOLL_CTL_MOD, fd, CONN_EVENTS, conn->generation))
        conn_close(core, fd);
    conn->missed = false;
    if (core->waiting > 0)
        let_one_in(core);
    unlock(core);
}

/* --- end --- */

static void refuse_all(struct core *core)
{
    core->stopping = true;
    if (core->listening)
        listener_pause(core);
    if (core->guarded && !core->single) {
        /* Ours alone: no more connects. A web server's socket may have other workers behind it. */
        (void)shutdown(core->listener, SHUT_RD);
        while (core->open < core->limit && accept_one(core)) {
        }
    }
    for (size_t fd = 0; fd < core->conns_size; fd++)
        if (core->conns[fd].open && !core->conns[fd].busy)
            refuse(core, (int)fd);
}

void core_refuse(struct core *core)
{
    lock(core);
    refuse_all(core);
    unlock(core);
}

static void close_all(struct core *core)
{
    refuse_all(core);
    (void)close(core->listener);
    (void)close(core->epoll);
    free(core->conns);
    free(core->peek);
    core->listener = core->epoll = -1;
    core->conns = NULL;
    core->conns_size = 0;
    core->peek = NULL;
}

void core_close(struct core *core)
{
    lock(core); /* threads of the app may live, and fork */
    if (core->epoll != -1)
        close_all(core);
    unlock(core);
}
