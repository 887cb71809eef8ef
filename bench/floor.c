/* The most that a gateway with a worker behind a socket can reach beside a server that answers by itself: no
 * HTTP is parsed, nothing is computed, only what the kernel takes for the way is left.
 *
 *   floor direct PORT   client --> this process, which answers
 *   floor relay PORT    client --> this process --(a unix socket pair each)--> its child, which answers
 *
 * A request is expected in one piece, one at a time on a connection, as wrk sends them. More than SLOTS
 * clients are turned away. Ends with its child at SIGINT or SIGTERM. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 256, EVENTS = 64, LISTENER = 2 * SLOTS };

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n"
                             "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: floor\r\n\r\nhello\n";

static struct slot {
    int client; /* -1: free */
    int link;   /* our end of the pair; -1 in mode direct */
    bool owed;  /* the child has a request of it */
} slots[SLOTS];

static char buffer[65536];
static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* What an event says is its place: client n, link SLOTS + n, or LISTENER. */
static bool watch(int epoll, int fd, uint32_t place)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = place};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool send_all(int fd, const char *data, size_t size)
{
    return send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static void leave(struct slot *slot)
{
    if (close(slot->client) == -1)
        die("close");
    slot->client = -1;
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
        int on = 1;
        uint32_t n = 0;
        while (n < SLOTS && (slots[n].client != -1 || slots[n].owed)) /* what is owed goes to nobody else */
            n++;
        if (n == SLOTS || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == -1 ||
            !watch(epoll, fd, n)) {
            if (close(fd) == -1)
                die("close");
            continue;
        }
        slots[n].client = fd;
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        die("accept4");
}

static void from_client(struct slot *slot)
{
    ssize_t got;
    if (slot->client == -1) /* closed by an event before this one */
        return;
    got = recv(slot->client, buffer, sizeof buffer, 0);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0 && slot->link == -1 && send_all(slot->client, answer, sizeof answer - 1))
        return;
    if (got > 0 && slot->link != -1 && send_all(slot->link, buffer, (size_t)got)) {
        slot->owed = true;
        return;
    }
    leave(slot);
}

static void from_child(struct slot *slot)
{
    ssize_t got = recv(slot->link, buffer, sizeof buffer, 0);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        fprintf(stderr, "floor: the child has gone\n");
        exit(1);
    }
    slot->owed = false;
    if (slot->client != -1 && !send_all(slot->client, buffer, (size_t)got))
        leave(slot);
}

/* Ends when the parent has: the pairs end then. */
static _Noreturn void child(const int *ends)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS];
    if (epoll == -1)
        die("epoll_create1");
    for (uint32_t n = 0; n < SLOTS; n++)
        if (!watch(epoll, ends[n], n))
            die("epoll_ctl");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count == -1 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = ends[events[i].data.u32];
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got == -1 && (errno == EAGAIN || errno == EINTR))
                continue;
            if (got <= 0 || !send_all(fd, answer, sizeof answer - 1))
                _exit(got == 0 ? 0 : 1);
        }
    }
}

static pid_t start_child(int listener)
{
    int ends[SLOTS];
    pid_t parent = getpid(), pid;
    for (int n = 0; n < SLOTS; n++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == -1)
            die("socketpair");
        slots[n].link = pair[0];
        ends[n] = pair[1];
    }
    pid = fork();
    if (pid == -1)
        die("fork");
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
            die("prctl");
        if (getppid() != parent)
            _exit(0);
        for (int n = 0; n < SLOTS; n++)
            if (close(slots[n].link) == -1)
                die("close");
        if (close(listener) == -1)
            die("close");
        child(ends);
    }
    for (int n = 0; n < SLOTS; n++)
        if (close(ends[n]) == -1)
            die("close");
    return pid;
}

static int listen_on(in_port_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) == -1 || listen(fd, SLOTS) == -1)
        die("listen");
    return fd;
}

static void serve(int epoll, int listener, const sigset_t *waiting)
{
    struct epoll_event events[EVENTS];
    while (!ended) {
        int count = epoll_pwait(epoll, events, EVENTS, -1, waiting);
        if (count == -1 && errno != EINTR)
            die("epoll_pwait");
        for (int i = 0; i < count; i++) {
            uint32_t place = events[i].data.u32;
            if (place == LISTENER)
                accept_all(epoll, listener);
            else if (place < SLOTS)
                from_client(&slots[place]);
            else
                from_child(&slots[place - SLOTS]);
        }
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = end};
    sigset_t signals, before;
    long port = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    bool relay = argc == 3 && strcmp(argv[1], "relay") == 0;
    int listener, epoll;
    pid_t pid = -1;

    if (port < 1 || port > 65535 || (!relay && strcmp(argv[1], "direct") != 0)) {
        fprintf(stderr, "usage: floor direct|relay PORT\n");
        return 2;
    }
    for (int n = 0; n < SLOTS; n++)
        slots[n] = (struct slot){.client = -1, .link = -1};
    listener = listen_on((in_port_t)port);
    if (relay)
        pid = start_child(listener);
    /* Blocked but while it waits: none comes between the look at `ended` and the wait. */
    if (sigemptyset(&signals) == -1 || sigaddset(&signals, SIGINT) == -1 ||
        sigaddset(&signals, SIGTERM) == -1 || sigprocmask(SIG_BLOCK, &signals, &before) == -1 ||
        sigaction(SIGINT, &action, NULL) == -1 || sigaction(SIGTERM, &action, NULL) == -1)
        die("signals");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll == -1 || !watch(epoll, listener, LISTENER))
        die("epoll");
    for (uint32_t n = 0; relay && n < SLOTS; n++)
        if (!watch(epoll, slots[n].link, SLOTS + n))
            die("epoll_ctl");
    serve(epoll, listener, &before);
    for (int n = 0; n < SLOTS; n++) {
        if (slots[n].client != -1)
            leave(&slots[n]);
        if (slots[n].link != -1 && close(slots[n].link) == -1)
            die("close");
    }
    if (close(listener) == -1 || close(epoll) == -1)
        die("close");
    if (relay && waitpid(pid, NULL, 0) == -1) /* its pairs have ended */
        die("waitpid");
    return 0;
}
