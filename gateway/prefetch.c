/* prefetch.c - see prefetch.h.
 *
 * One thread that goes through the list in its order does: it stays ahead of an interpreter that executes
 * what it reads. While everything is in memory the list is read and three files are looked at, some 30 us. */
#include "prefetch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    LIST_MAX = 4 * 1024 * 1024,  /* bytes of a list */
    FILE_MAX = 64 * 1024 * 1024, /* bytes that are read ahead of one file */
    PROBES = 3,
    CHILD_FDS = 4 /* what the worker inherits, and the reader does not need */
};

/* The list, each of its lines terminated, and where it ends; NULL: there is none, or it is not this user's
 * own. */
static char *read_list(const char *path, const char **end)
{
    struct stat st;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0 &&
        st.st_size > 0 && st.st_size <= LIST_MAX)
        text = malloc((size_t)st.st_size + 1);
    if (text != NULL) {
        ssize_t n = read(fd, text, (size_t)st.st_size);
        size_t len = n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        *end = text + len;
        for (char *at = text; (at = memchr(at, '\n', (size_t)(*end - at))) != NULL;)
            *at = '\0';
    }
    close(fd);
    return text;
}

/* A regular file, for reading; -1: it is none. */
static int open_file(const char *path, off_t *size)
{
    struct stat st;
    if (path[0] != '/' || stat(path, &st) == -1 || !S_ISREG(st.st_mode))
        return -1;
    *size = st.st_size < FILE_MAX ? st.st_size : FILE_MAX;
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* Whether the file's beginning would have to be read. Where the kernel or the file system cannot tell, it
 * would not. */
static bool is_cold(const char *path)
{
#ifdef RWF_NOWAIT /* musl before 1.2.5 has no preadv2() */
    char byte;
    off_t size;
    struct iovec one = {&byte, 1};
    int fd = open_file(path, &size);
    if (fd == -1)
        return false;
    bool cold = preadv2(fd, &one, 1, 0, RWF_NOWAIT) == -1 && errno == EAGAIN;
    close(fd);
    return cold;
#else
    (void)path;
    return false;
#endif
}

/* What stands behind a line, or behind the end of the list. */
static const char *next_line(const char *line)
{
    return line + strlen(line) + 1;
}

/* The path of an `r` line, and how much of it is worth reading; 0: all. */
static const char *path_in(const char *line, size_t *limit)
{
    size_t digits = strspn(line + 1, "0123456789");
    *limit = digits > 0 ? strtoul(line + 1, NULL, 10) : 0;
    return line + 1 + digits;
}

/* Looks at files from the beginning, the middle and the end of the list. */
static bool any_cold(const char *text, const char *end)
{
    size_t limit;
    for (size_t i = 0; i < PROBES; i++) {
        const char *line = text + (size_t)(end - text) * i / PROBES;
        line = i > 0 ? next_line(line) : line; /* not from the middle of one */
        while (line < end && *line != 'r')
            line = next_line(line);
        if (line < end && is_cold(path_in(line, &limit)))
            return true;
    }
    return false;
}

static void read_ahead(const char *text, const char *end)
{
    struct stat st;
    off_t size;
    size_t limit;
    for (const char *line = text; line < end; line = next_line(line)) {
        if (*line == 's') {
            (void)stat(line + 1, &st); /* its inode is what is read */
            continue;
        }
        int fd = *line == 'r' ? open_file(path_in(line, &limit), &size) : -1;
        if (fd == -1)
            continue;
        (void)readahead(fd, 0, limit > 0 && limit < (size_t)size ? limit : (size_t)size);
        close(fd);
    }
}

/* fork, but the child is a child of this process's parent. No libc would know how to; the process has one
 * thread. */
static pid_t fork_sibling(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

void prefetch_begin(const char *list)
{
    const char *end = NULL;
    char *text = *list != '\0' ? read_list(list, &end) : NULL;
    if (text != NULL && any_cold(text, end) && fork_sibling() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int fd = 0; fd < CHILD_FDS; fd++)
            close(fd);
        read_ahead(text, end);
        _exit(0);
    }
    free(text);
}
