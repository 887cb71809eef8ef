/* torture.c - makes the Nth call of a function fail in the gateway that it is linked into (with ld's --wrap,
 * which sends the gateway's calls of NAME to __wrap_NAME).
 *
 * $TORTURE_FILE names a file that is mapped when the program starts: the test writes into it what is to fail
 * when, and reads there whether it has. Only the process that mapped it counts, not its children.
 *
 * The names are those that the linker sees: with _FILE_OFFSET_BITS=64 open() is open64(). */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* In the order of KINDS in tests/integration/test_70_torture.py. */
enum kind {
    NONE,
    MEMORY,
    ACCEPT,
    CONNECT,
    FORK,
    PIPE,
    SOCKETPAIR,
    SOCKET,
    OPEN,
    SEND,
    WRITE,
    PWRITE,
    RECV,
    SENDFILE,
    BIND,
    READ,
    FILE_STATE,
    FCNTL,
    WATCH,
    LOOKUP,
    GROWTH,
    SET
};

struct order {
    volatile int32_t kind;  /* enum kind */
    volatile int32_t error; /* errno of the call that fails */
    volatile int32_t left;  /* calls until it fails; it fails when this becomes 0 */
    volatile int32_t done;  /* 1: it has failed */
};

static struct order *order;
static pid_t owner;

static void __attribute__((constructor)) map_order(void)
{
    const char *path = getenv("TORTURE_FILE");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd == -1)
        return;
    void *page = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return;
    owner = getpid();
    order = page;
}

/* Whether this call is the one; sets errno. */
static bool fails(enum kind kind)
{
    if (order == NULL || order->kind != (int)kind || order->left <= 0 || getpid() != owner)
        return false;
    order->left--;
    if (order->left > 0)
        return false;
    order->kind = NONE;
    order->done = 1;
    errno = order->error;
    return true;
}

#define WRAP(kind, result, name, parameters, arguments, failure)                                             \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters                                                                          \
    {                                                                                                        \
        return fails(kind) ? failure : __real_##name arguments;                                              \
    }

WRAP(MEMORY, void *, malloc, (size_t size), (size), NULL)
WRAP(MEMORY, void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(MEMORY, char *, strdup, (const char *text), (text), NULL)
WRAP(MEMORY, char *, strndup, (const char *text, size_t len), (text, len), NULL)
WRAP(ACCEPT, int, accept4, (int fd, struct sockaddr *peer, socklen_t *len, int flags), (fd, peer, len, flags),
     -1)
WRAP(CONNECT, int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len), -1)
WRAP(SET, int, epoll_create1, (int flags), (flags), -1)
WRAP(FORK, pid_t, fork, (void), (), -1)
WRAP(PIPE, int, pipe2, (int *ends, int flags), (ends, flags), -1)
WRAP(SOCKETPAIR, int, socketpair, (int domain, int type, int protocol, int *ends),
     (domain, type, protocol, ends), -1)
WRAP(SOCKET, int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAP(OPEN, char *, mkdtemp, (char *path), (path), NULL)
WRAP(OPEN, int, mkostemp64, (char *path, int flags), (path, flags), -1)
WRAP(SEND, ssize_t, send, (int fd, const void *data, size_t len, int flags), (fd, data, len, flags), -1)
WRAP(PWRITE, ssize_t, pwrite64, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at), -1)
WRAP(RECV, ssize_t, recv, (int fd, void *data, size_t len, int flags), (fd, data, len, flags), -1)
WRAP(SENDFILE, ssize_t, sendfile64, (int to, int from, off_t *at, size_t len), (to, from, at, len), -1)
WRAP(BIND, int, bind, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len), -1)
WRAP(BIND, int, listen, (int fd, int backlog), (fd, backlog), -1)
WRAP(READ, ssize_t, pread64, (int fd, void *data, size_t len, off_t at), (fd, data, len, at), -1)
WRAP(FILE_STATE, int, fstat64, (int fd, struct stat *st), (fd, st), -1)
WRAP(FILE_STATE, int, ftruncate64, (int fd, off_t len), (fd, len), -1)

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

/* While connections are only opened it is libev's tables alone that grow. */
void *__wrap_realloc(void *old, size_t size)
{
    return fails(MEMORY) || fails(GROWTH) ? NULL : __real_realloc(old, size);
}

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

/* Eight bytes are libev's own wake-up by an eventfd, which does not fail. */
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    return len != sizeof(uint64_t) && fails(WRITE) ? -1 : __real_write(fd, data, len);
}

ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len);

/* The same for what it reads of it. */
ssize_t __wrap_read(int fd, void *data, size_t len)
{
    return len != sizeof(uint64_t) && fails(READ) ? -1 : __real_read(fd, data, len);
}

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

/* Only what needs memory. The two descriptors behind that of the set are libev's own: it puts them in when it
 * begins, and when it makes a new set in the place of one that it has just closed. */
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    bool may_fail = operation == EPOLL_CTL_ADD && fd > epoll + 2;
    return may_fail && fails(WATCH) ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    long argument = va_arg(ap, long); /* what is passed for those that take none does not matter */
    va_end(ap);
    return fails(FCNTL) ? -1 : __real_fcntl64(fd, command, argument);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

/* For want of space only where a file is made. */
int __wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    bool may_fail = makes || order == NULL || order->error != ENOSPC;
    return may_fail && fails(OPEN) ? -1 : __real_open64(path, flags, mode);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* Only the opening of a file that somebody has asked for. */
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list ap;
    va_start(ap, number);
    for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++)
        a[i] = va_arg(ap, long); /* what is passed beyond those that it takes does not matter */
    va_end(ap);
    return number == SYS_openat2 && fails(LOOKUP)
               ? -1
               : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
