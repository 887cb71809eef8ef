/* file_open.c - see file_open.h. */
#include "file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    READ_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
    LOOK_FLAGS = O_PATH | O_CLOEXEC,
    STEP_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    TRIES = 4 /* a rename beside the walk makes the kernel give up: EAGAIN; FUSE and NFS know EINTR, too */
};

/* Segment by segment; flags for the last one. */
static int walk(int dir, const char *name, int flags)
{
    char segment[NAME_MAX + 1];
    int at = dir;
    for (;;) {
        size_t n = strcspn(name, "/");
        bool last = name[n] == '\0', climbs = n == 2 && memcmp(name, "..", 2) == 0;
        int next = -1;
        if (n == 0 || n > NAME_MAX || climbs) {
            errno = climbs ? EXDEV : n == 0 ? ENOENT : ENAMETOOLONG;
        } else {
            memcpy(segment, name, n);
            segment[n] = '\0';
            do
                next = openat(at, segment, last ? flags | O_NOFOLLOW : STEP_FLAGS);
            while (next == -1 && errno == EINTR);
        }
        int error = errno;
        if (at != dir)
            close(at);
        errno = error;
        if (next == -1 || last)
            return next;
        at = next;
        name += n + 1;
    }
}

int file_open_walk(int dir, const char *name)
{
    return walk(dir, name, READ_FLAGS);
}

static int open_beneath(int dir, const char *name, int flags)
{
    static bool missing; /* the kernel has no openat2 */
    const struct open_how how = {.flags = (uint64_t)flags,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    errno = ENOSYS;
    for (int i = 0; i < TRIES && !missing; i++) {
        fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
        if (fd != -1 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    if (fd != -1 || (errno != ENOSYS && errno != EPERM)) /* EPERM: the filter of a container forbids it */
        return (int)fd;
    missing = errno == ENOSYS;
    return walk(dir, name, flags);
}

int file_open_place(const char *path, int flags)
{
    int fd;
    do
        fd = open(path, O_PATH | O_CLOEXEC | flags);
    while (fd == -1 && errno == EINTR);
    return fd;
}

bool file_open_is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN || error == EINTR ||
           error == EIO || error == ESTALE;
}

int file_open(int dir, const char *name)
{
    return open_beneath(dir, name, READ_FLAGS);
}

int file_look(int dir, const char *name, struct stat *st)
{
    int fd = open_beneath(dir, name, LOOK_FLAGS);
    if (fd == -1)
        return -1;
    int failed = fstat(fd, st);
    close(fd);
    return failed;
}
