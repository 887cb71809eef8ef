/* inherit.c - see inherit.h. */
#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3 /* SD_LISTEN_FDS_START */ };

__attribute__((format(printf, 2, 3))) static int fail(char error[NET_ERROR_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error, NET_ERROR_MAX, format, args);
    va_end(args);
    return -1;
}

static int number(const char *text, long *value)
{
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' ? -1 : 0;
}

static int option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == -1 ? -1 : value;
}

/* Adds one descriptor to fds[0..count). Returns the new count, or -1. */
static int take(int fd, int fds[INHERIT_MAX], int count, char error[NET_ERROR_MAX])
{
    static int taken[INHERIT_MAX];
    static int taken_count;
    for (int i = 0; i < taken_count; i++) /* first: closed again, its number may be anybody's */
        if (taken[i] == fd)
            return fail(error,
                        "descriptor %d is listened on already, or a reload has closed it: restart leangate",
                        fd);
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1)
        return fail(error, "descriptor %d is not open", fd);
    int domain = option(fd, SO_DOMAIN);
    if (domain == -1)
        return fail(error, "descriptor %d is not a socket", fd);
    if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
        return fail(error, "descriptor %d is neither a TCP nor a unix socket", fd);
    if (option(fd, SO_TYPE) != SOCK_STREAM)
        return fail(error, "descriptor %d is not a stream socket", fd);
    if (option(fd, SO_ACCEPTCONN) != 1)
        return fail(error, "descriptor %d is not listening (Accept=no is needed)", fd);
    if (taken_count == INHERIT_MAX)
        return fail(error, "more than %d sockets", INHERIT_MAX);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 || fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return fail(error, "descriptor %d: %s", fd, strerror(errno));
    fds[count] = taken[taken_count++] = fd;
    return count + 1;
}

/* How many descriptors systemd has passed to this very process, or -1. */
static int passed(char error[NET_ERROR_MAX])
{
    const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    long count, owner;
    if (fds == NULL)
        return fail(error, "no sockets were passed (LISTEN_FDS is not set)");
    if (pid == NULL || number(pid, &owner) == -1)
        return fail(error, "no sockets were passed (LISTEN_PID is not set)");
    if (owner != (long)getpid())
        return fail(error, "the sockets were passed to process %ld, this one is %ld (LISTEN_PID)", owner,
                    (long)getpid());
    if (number(fds, &count) == -1 || count < 1 || count > INHERIT_MAX)
        return fail(error, "no sockets were passed (LISTEN_FDS is \"%.20s\")", fds);
    return (int)count;
}

/* Whether the index-th of the names in $LISTEN_FDNAMES, which are separated by colons, is this one. */
static bool has_name(const char *names, int index, const char *name)
{
    while (index-- > 0) {
        names += strcspn(names, ":");
        names += *names == ':';
    }
    size_t len = strcspn(names, ":");
    return len == strlen(name) && memcmp(names, name, len) == 0;
}

static int take_passed(const char *name, int fds[INHERIT_MAX], char error[NET_ERROR_MAX])
{
    const char *names = getenv("LISTEN_FDNAMES");
    int most = passed(error), count = 0;
    for (int i = 0; i < most; i++) {
        if (name != NULL && !has_name(names != NULL ? names : "", i, name))
            continue;
        count = take(FIRST + i, fds, count, error);
        if (count == -1)
            return -1;
    }
    if (most != -1 && count == 0)
        return fail(error, "no socket of that name was passed (LISTEN_FDNAMES is \"%.128s\")",
                    names != NULL ? names : "");
    return most == -1 ? -1 : count;
}

bool inherit_meant(const char *spec)
{
    return strncmp(spec, "fd:", 3) == 0 || strcmp(spec, "systemd") == 0 || strncmp(spec, "systemd:", 8) == 0;
}

int inherit_take(const char *spec, int fds[INHERIT_MAX], char error[NET_ERROR_MAX])
{
    long fd;
    if (strncmp(spec, "fd:", 3) != 0)
        return take_passed(spec[7] == ':' ? spec + 8 : NULL, fds, error);
    if (number(spec + 3, &fd) == -1 || fd < FIRST || fd > INT16_MAX)
        return fail(error, "not a descriptor");
    return take((int)fd, fds, 0, error);
}

void inherit_forget(void)
{
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}
