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

/* The list, terminated; NULL: there is none, or it is not this user's own. */
static char *read_list(const char *path)
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
        text[n > 0 ? n : 0] = '\0';
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

/* The next line of the list, terminated in place; NULL at its end. */
static char *next_line(char **at)
{
    char *line = *at;
    if (*line == '\0')
        return NULL;
    size_t len = strcspn(line, "\n");
    *at = line + len + (line[len] == '\n' ? 1 : 0);
    line[len] = '\0';
    return line;
}

/* The path of an `r` line, and how much of it is worth reading; 0: all. */
static const char *path_in(const char *line, size_t *limit)
{
    size_t digits = strspn(line + 1, "0123456789");
    *limit = digits > 0 ? strtoul(line + 1, NULL, 10) : 0;
    return line + 1 + digits;
}

/* The first file to be read at or behind `at`, copied; false: there is none. */
static bool file_at(const char *at, char path[4096])
{
    for (; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n' ? 1 : 0) {
        size_t len = strcspn(at, "\n");
        size_t skip = 1 + strspn(at + (len > 0 ? 1 : 0), "0123456789");
        if (*at != 'r' || len >= 4096 || skip >= len)
            continue;
        memcpy(path, at + skip, len - skip);
        path[len - skip] = '\0';
        return true;
    }
    return false;
}

/* Looks at files from the beginning, the middle and the end of the list. */
static bool any_cold(const char *text)
{
    char path[4096];
    size_t len = strlen(text);
    for (size_t i = 0; i < PROBES; i++) {
        size_t start = len * i / PROBES;
        start += i > 0 ? strcspn(text + start, "\n") : 0;
        start += text[start] == '\n' ? 1 : 0;
        if (file_at(text + start, path) && is_cold(path))
            return true;
    }
    return false;
}

static void read_ahead(char *text)
{
    struct stat st;
    off_t size;
    size_t limit;
    for (char *line = next_line(&text); line != NULL; line = next_line(&text)) {
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
    char *text = *list != '\0' ? read_list(list) : NULL;
    if (text != NULL && any_cold(text) && fork_sibling() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int fd = 0; fd < CHILD_FDS; fd++)
            close(fd);
        read_ahead(text);
        _exit(0);
    }
    free(text);
}
