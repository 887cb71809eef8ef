/* zygote.c - see zygote.h.
 *
 *   epoll ─┬─ control ── STOP, end of file: stopping
 *          │            KILL n: the copy that serves slot n, and what it started
 *          ├─ signals ── SIGCHLD: reap; SIGTERM: stopping
 *          └─ a copy ─── ACCEPTED: the next one may be forked
 *                       SLOT n; STALE: stopping; NOTE: to the gateway; READY, which the gateway has by then
 *                       FAILED, before it has accepted: stopping; to the gateway, unless that has READY
 *
 * A copy hears STOP, which is for the one that still waits: the others serve their request and end. */
#define _GNU_SOURCE
#include "zygote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "control.h"

#define STACKS_SIGNAL (SIGRTMAX - 1) /* __main__.py has it write the stacks of all threads */

enum {
    PAUSE_MS = 100,
    KEY_CONTROL = -1, /* keys of the epoll set; from 0 on: a copy */
    KEY_SIGNALS = -2,
    TEXT_MAX = 512 /* bytes of a message of the gateway that is looked at */
};

struct copy {
    pid_t pid; /* 0: there is none */
    int channel;
    bool first; /* of an app that starts up in it: READY is told by it */
    bool accepted;
    bool killed; /* by us */
    int slot;    /* -1 until it is told */
};

/* --- start and end --- */

static bool watch(struct zygote *z, int fd, int key)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)(int64_t)key};
    return epoll_ctl(z->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static pthread_t forking; /* the thread that makes copies, which blocks what it takes */

/* A library may have threads that block nothing, and a signal is given to any of those: by default SIGCHLD
 * would be lost there, and SIGTERM end the process. */
static void pass_on(int number)
{
    int code = errno;
    (void)pthread_kill(forking, number); /* it lives as long as the process */
    errno = code;
}

static bool set_handlers(bool term)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART | SA_NOCLDSTOP};

    return sigemptyset(&action.sa_mask) == 0 && sigaction(SIGCHLD, &action, NULL) == 0 &&
           (!term || sigaction(SIGTERM, &action, NULL) == 0);
}

/* SIGTERM is the app's if it has a handler of its own. */
static bool take_signals(struct zygote *z)
{
    sigset_t taken;

    forking = pthread_self();
    if (sigaction(SIGTERM, NULL, &z->term) == -1 || sigaction(SIGCHLD, NULL, &z->child) == -1)
        return false;
    bool term = z->term.sa_handler == SIG_DFL;
    if (z->child.sa_handler == SIG_IGN) /* nothing would be left for a copy to reap */
        z->child.sa_handler = SIG_DFL;
    if (sigemptyset(&taken) == -1 || sigaddset(&taken, SIGCHLD) == -1 ||
        (term && sigaddset(&taken, SIGTERM) == -1))
        return false;
    errno = pthread_sigmask(SIG_BLOCK, &taken, &z->before);
    if (errno != 0 || !set_handlers(term))
        return false;
    z->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    return z->signals != -1;
}

bool zygote_open(struct zygote *z, struct core *core, unsigned limit, bool awaited)
{
    *z = (struct zygote){.core = core, .limit = limit, .epoll = -1, .signals = -1, .awaited = awaited};
    core->requests = limit;
    z->copies = calloc(limit, sizeof(*z->copies));
    if (z->copies == NULL || !take_signals(z))
        return false;
    z->epoll = epoll_create1(EPOLL_CLOEXEC);
    return z->epoll != -1 && watch(z, z->signals, KEY_SIGNALS) &&
           (core->control == -1 || watch(z, core->control, KEY_CONTROL));
}

void zygote_close(struct zygote *z)
{
    if (z->epoll != -1)
        (void)close(z->epoll);
    if (z->signals != -1)
        (void)close(z->signals);
    free(z->copies);
    z->copies = NULL;
    z->epoll = z->signals = -1;
}

/* --- copies --- */

static struct copy *free_place(struct zygote *z)
{
    for (unsigned i = 0; i < z->limit; i++)
        if (z->copies[i].pid == 0)
            return &z->copies[i];
    return NULL;
}

static bool wants_copy(const struct zygote *z)
{
    for (unsigned i = 0; i < z->limit; i++)
        if (z->copies[i].pid != 0 && !z->copies[i].accepted)
            return false;
    return z->live < z->limit;
}

/* The one that serves this slot; NULL: there is none, or the slot is -1. */
static struct copy *copy_of(const struct zygote *z, int slot)
{
    for (unsigned i = 0; slot != -1 && i < z->limit; i++)
        if (z->copies[i].pid != 0 && z->copies[i].slot == slot)
            return &z->copies[i];
    return NULL;
}

/* The group is the copy's own: what it has started is killed with it. A copy that was not reaped keeps its
 * number, so nobody else is hit. */
static void kill_copy(struct copy *copy)
{
    copy->killed = true;
    (void)kill(-copy->pid, SIGKILL);
    (void)kill(copy->pid, SIGKILL);
}

static void tell(const struct zygote *z, const char *note)
{
    if (z->core->control == -1)
        (void)dprintf(STDERR_FILENO, "pyworker: %s\n", note + strlen("NOTE "));
    else
        (void)control_say(z->core->control, note); /* a lost note harms nobody */
}

/* --- messages --- */

/* A copy could not start, nor would the next one: who supervises this process has to know. */
static void fail(struct zygote *z)
{
    z->failed = z->failed || !z->stopping;
    z->stopping = true;
}

static void take_failure(struct zygote *z, const struct copy *copy, const char *text, size_t len)
{
    const char *words = text + strlen("FAILED");
    if (z->awaited && z->core->control != -1)
        (void)control_send(z->core->control, text, len); /* a gateway that is gone shows as end of file */
    else
        (void)dprintf(STDERR_FILENO, "pyworker: %s\n", *words == '\n' ? words + 1 : words);
    if (!copy->accepted)
        fail(z);
}

/* A copy's word. A slot is served by one copy at a time: one that told it before only has its end to do. */
static void take_word(struct zygote *z, struct copy *copy, const char *text, size_t len)
{
    int slot = control_slot(text, "SLOT");
    struct copy *before = copy_of(z, slot);

    if (strcmp(text, "ACCEPTED") == 0) {
        copy->accepted = true;
    } else if (strcmp(text, "STALE") == 0) {
        z->stopping = true;
    } else if (strncmp(text, "NOTE ", 5) == 0) {
        tell(z, text);
    } else if (strncmp(text, "FAILED", 6) == 0) {
        take_failure(z, copy, text, len);
    } else if (strcmp(text, "READY") == 0) {
        z->awaited = false;
        z->core->told_ready = true;
    } else if (slot != -1) {
        if (before != NULL)
            before->slot = -1;
        copy->slot = slot;
    }
}

/* Takes one message; returns whether there was one. */
static bool hear(struct zygote *z, struct copy *copy)
{
    char text[CONTROL_MESSAGE_MAX + 1];
    ssize_t n = recv(copy->channel, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n > 0) {
        text[n] = '\0';
        take_word(z, copy, text, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        (void)epoll_ctl(z->epoll, EPOLL_CTL_DEL, copy->channel, NULL); /* SIGCHLD tells the rest */
    }
    return n > 0;
}

/* Takes one message of the gateway; returns whether there was one. */
static bool hear_gateway(struct zygote *z)
{
    char text[TEXT_MAX];
    ssize_t n = recv(z->core->control, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return false;
    text[n > 0 ? n : 0] = '\0';
    struct copy *copy = copy_of(z, control_slot(text, "KILL"));
    if (copy != NULL)
        kill_copy(copy);
    copy = copy_of(z, control_slot(text, "STACK"));
    if (copy != NULL)
        (void)kill(copy->pid, STACKS_SIGNAL);
    if (n <= 0 || strcmp(text, "STOP") == 0)
        z->stopping = true;
    if (n <= 0)
        (void)epoll_ctl(z->epoll, EPOLL_CTL_DEL, z->core->control, NULL); /* the gateway is gone */
    return n > 0;
}

/* A copy tells its slot behind ACCEPTED. It is heard before a KILL, which may be for it. What a copy says
 * that is not known to have accepted comes in its turn: a KILL that waits is for who had the slot before it.
 * The very first copy is nobody's successor. */
static void hear_slots(struct zygote *z)
{
    for (unsigned i = 0; i < z->limit; i++) {
        struct copy *copy = &z->copies[i];

        while (copy->pid != 0 && copy->slot == -1 && (copy->first || copy->accepted) && hear(z, copy)) {
        }
    }
}

/* All that was said: a KILL is not meant for the copy that has the slot next. */
static void control_event(struct zygote *z)
{
    hear_slots(z);
    while (hear_gateway(z)) {
    }
}

/* --- the end of a copy --- */

static void reap(struct zygote *z, struct copy *copy)
{
    char note[96];
    int status = 0;

    if (waitpid(copy->pid, &status, WNOHANG) != copy->pid)
        return;
    while (hear(z, copy)) { /* what it said last */
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        (void)snprintf(note, sizeof(note), "NOTE copy %ld had not ended %d s after its request",
                       (long)copy->pid, ZYGOTE_PATIENCE);
        tell(z, note);
    } else if (WIFSIGNALED(status) && !copy->killed) {
        (void)snprintf(note, sizeof(note), "NOTE copy %ld was ended by signal %d%s", (long)copy->pid,
                       WTERMSIG(status),
                       WTERMSIG(status) == SIGKILL ? ", maybe out of memory"
                       : WCOREDUMP(status)         ? ", core dumped"
                                                   : "");
        tell(z, note);
    }
    z->paused = z->paused || (!copy->accepted && !z->stopping);
    if (!copy->accepted && z->awaited)
        fail(z);
    (void)close(copy->channel);
    *copy = (struct copy){0};
    z->live--;
}

static void reap_all(struct zygote *z)
{
    struct signalfd_siginfo info;

    while (read(z->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        z->stopping = z->stopping || info.ssi_signo == SIGTERM;
    for (unsigned i = 0; i < z->limit; i++)
        if (z->copies[i].pid != 0)
            reap(z, &z->copies[i]);
}

/* --- the loop --- */

static void dispatch(struct zygote *z, int key)
{
    if (key == KEY_CONTROL)
        control_event(z);
    else if (key == KEY_SIGNALS)
        reap_all(z);
    else if (z->copies[key].pid != 0)
        (void)hear(z, &z->copies[key]);
}

/* Nothing more is begun: the copy that waits leaves, and what has arrived goes elsewhere. */
static bool stop(struct zygote *z)
{
    for (unsigned i = 0; i < z->limit; i++)
        if (z->copies[i].pid != 0 &&
            send(z->copies[i].channel, "STOP", strlen("STOP"), MSG_NOSIGNAL | MSG_DONTWAIT) == -1 &&
            errno != EPIPE && errno != ECONNRESET) /* then it is at its end already */
            (void)kill(z->copies[i].pid, SIGTERM);
    if (!core_open(z->core, z->limit))
        return false;
    core_close(z->core);
    return true;
}

/* What the gateway has said meanwhile comes first: behind a STOP nothing is begun. */
static bool may_begin(struct zygote *z)
{
    if (z->core->control != -1)
        control_event(z);
    return !z->stopping;
}

enum zygote_event zygote_next(struct zygote *z)
{
    for (;;) {
        struct epoll_event event;

        bool never_ready = z->failed && z->awaited; /* then nothing was accepted, and FAILED says it all */
        if (z->stopping && !never_ready && z->core->listener != -1 && !stop(z))
            return ZYGOTE_ERROR;
        if (z->stopping && z->live == 0)
            return ZYGOTE_STOP;
        if (!z->stopping && !z->paused && wants_copy(z)) {
            if (may_begin(z))
                return ZYGOTE_FORK;
            continue;
        }
        int n = epoll_wait(z->epoll, &event, 1, z->paused ? PAUSE_MS : -1);
        if (n == -1)
            return errno == EINTR ? ZYGOTE_SIGNAL : ZYGOTE_ERROR;
        if (n == 0)
            z->paused = false;
        else
            dispatch(z, (int)(int64_t)event.data.u64);
    }
}

/* --- fork --- */

/* In the copy, first of all: it dies with the zygote, is its own group, and has none of its descriptors. */
static void become_copy(struct zygote *z, pid_t zygote, int channel)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != zygote || setpgid(0, 0) == -1)
        _exit(EXIT_FAILURE);
    (void)sigaction(SIGCHLD, &z->child, NULL); /* cannot fail: what is set came from there */
    (void)sigaction(SIGTERM, &z->term, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &z->before, NULL);
    for (unsigned i = 0; i < z->limit; i++)
        if (z->copies[i].pid != 0)
            (void)close(z->copies[i].channel);
    z->core->awaited = z->awaited;
    if (z->awaited) {
        z->core->gateway = z->core->control;
        z->core->control = -1;
    }
    core_become_copy(z->core, channel);
    zygote_close(z);
}

/* Its errno says why. Requests wait meanwhile: who looks for the reason is told it, once. */
static pid_t no_copy(struct zygote *z)
{
    char note[160];

    (void)snprintf(note, sizeof(note), "NOTE cannot make a copy (tried again until it can): %s",
                   strerror(errno));
    if (!z->without)
        tell(z, note);
    z->paused = z->without = true;
    return -1;
}

pid_t zygote_fork(struct zygote *z)
{
    struct copy *copy = free_place(z);
    pid_t zygote = getpid();
    int ends[2];

    if (copy == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == -1)
        return no_copy(z);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        become_copy(z, zygote, ends[1]);
        return 0;
    }
    int code = errno;
    (void)close(ends[1]);
    if (pid == -1) {
        (void)close(ends[0]);
        errno = code;
        return no_copy(z);
    }
    z->without = false;
    (void)setpgid(pid, pid); /* so that it is true at once; the copy does it, too */
    *copy = (struct copy){.pid = pid, .channel = ends[0], .first = z->awaited, .slot = -1};
    z->live++;
    if (!watch(z, copy->channel, (int)(copy - z->copies)))
        kill_copy(copy); /* it could not be heard */
    return pid;
}

void zygote_limit_end(void)
{
    (void)signal(SIGALRM, SIG_DFL); /* cannot fail */
    (void)alarm(ZYGOTE_PATIENCE);
}
