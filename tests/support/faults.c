/* faults.c - a library to be loaded before libc (LD_PRELOAD): every other call of a function fails, the first
 * one to begin with, and does nothing. $FAULT_RECV, $FAULT_SEND, $FAULT_READ and $FAULT_WRITE are the errno
 * that recv(), send(), read() of a pipe and write() fail with. $SHORT_SEND: a send() of so many bytes takes
 * half of them. $SLOW_PREAD: the microseconds that a pread() takes. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool fails(const char *name, atomic_uint *calls)
{
    const char *error = getenv(name);
    if (error == NULL || atomic_fetch_add(calls, 1) % 2 != 0)
        return false;
    errno = atoi(error);
    return true;
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    static atomic_uint calls;
    return fails("FAULT_RECV", &calls) ? -1 : recvfrom(fd, data, len, flags, NULL, NULL);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    static atomic_uint calls;
    const char *victim = getenv("SHORT_SEND");
    size_t taken = victim != NULL && len == (size_t)atoi(victim) ? len / 2 : len;
    return fails("FAULT_SEND", &calls) ? -1 : sendto(fd, data, taken, flags, NULL, 0);
}

ssize_t read(int fd, void *data, size_t len)
{
    static atomic_uint calls;
    struct stat st;
    bool pipe = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode); /* libfcgi bears no EINTR of what it reads */
    return pipe && fails("FAULT_READ", &calls) ? -1 : syscall(SYS_read, fd, data, len);
}

ssize_t write(int fd, const void *data, size_t len)
{
    static atomic_uint calls;
    return fails("FAULT_WRITE", &calls) ? -1 : syscall(SYS_write, fd, data, len);
}

/* The name that pread() has where offsets have 64 bits. */
ssize_t pread64(int fd, void *data, size_t len, off64_t at)
{
    const char *pause = getenv("SLOW_PREAD");
    if (pause != NULL)
        (void)usleep((useconds_t)atoi(pause));
    return syscall(SYS_pread64, fd, data, len, at);
}
