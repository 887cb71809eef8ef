/* A second process before a server, and nothing else: it hands on bytes without a look at them. What a server
 * keeps of its requests/s behind it says what it costs to be two processes.
 *
 *   relay PORT SOCKET COMMAND...
 *
 * COMMAND is started and has to listen on the unix socket SOCKET; then the relay listens on 127.0.0.1:PORT,
 * and each of its connections has one of its own to SOCKET. A request is expected in one piece, one at a time
 * on a connection, as wrk sends them. Ended by a signal; COMMAND ends with it. */

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
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIPTORS = 1024, EVENTS = 64, PATIENCE = 20 /* seconds */ };

static int other[DESCRIPTORS]; /* the other end of each descriptor that is relayed; -1: none */
static char buffer[65536];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static pid_t start(char **command)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == -1)
        die("fork");
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
            die("prctl");
        if (getppid() != parent)
            _exit(1);
        execvp(command[0], command);
        die(command[0]);
    }
    return pid;
}

/* A new connection to the server; -1: it does not listen. */
static int reach(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        die("socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    if (close(fd) == -1)
        die("close");
    return -1;
}

static void wait_for(const struct sockaddr_un *address, pid_t pid)
{
    const struct timespec moment = {.tv_nsec = 50 * 1000 * 1000};
    for (int tries = 0; tries < PATIENCE * 20; tries++) {
        int fd = reach(address);
        if (fd != -1) {
            if (close(fd) == -1)
                die("close");
            return;
        }
        if (waitpid(pid, NULL, WNOHANG) != 0)
            break;
        if (nanosleep(&moment, NULL) == -1 && errno != EINTR)
            die("nanosleep");
    }
    fprintf(stderr, "relay: nobody listens on %s\n", address->sun_path);
    exit(1);
}

static int listen_on(in_port_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) == -1 || listen(fd, 256) == -1)
        die("listen");
    return fd;
}

static bool watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd < DESCRIPTORS && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void accept_all(int epoll, int listener, const struct sockaddr_un *address)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) != -1) {
        int server = reach(address);
        if (server != -1 && setsockopt(fd, SOL_TCP, TCP_NODELAY, &on, sizeof on) == 0 && watch(epoll, fd) &&
            watch(epoll, server)) {
            other[fd] = server;
            other[server] = fd;
        } else if (close(fd) == -1 || (server != -1 && close(server) == -1)) {
            die("close");
        }
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        die("accept4");
}

static void hand_on(int from)
{
    int to = other[from];
    ssize_t got;
    if (to == -1) /* closed by an event before this one */
        return;
    got = recv(from, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0 && send(to, buffer, (size_t)got, MSG_NOSIGNAL) == got)
        return;
    other[from] = other[to] = -1;
    if (close(from) == -1 || close(to) == -1)
        die("close");
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct epoll_event events[EVENTS];
    long port = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
    int listener, epoll;

    if (port < 1 || port > 65535 || strlen(argv[2]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: relay PORT SOCKET COMMAND...\n");
        return 2;
    }
    memcpy(address.sun_path, argv[2], strlen(argv[2]) + 1);
    wait_for(&address, start(argv + 3));
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        other[fd] = -1;
    listener = listen_on((in_port_t)port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll == -1 || !watch(epoll, listener))
        die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count == -1 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener, &address);
            else
                hand_on(events[i].data.fd);
        }
    }
}
