/* safe_open.c - see safe_open.h. */
#include "safe_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STEP_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    LINKS_MAX = 16 /* followed on one way */
};

bool safe_open_is_roots(int dir)
{
    struct stat st;
    return fstat(dir, &st) == 0 && st.st_uid == 0 && (st.st_mode & 022) == 0;
}

/* path[..segment) is the way to the directory `dir`, in which `segment` could not be entered; `rest` stands
 * behind it. Writes the way that the link there leads into `path`. False with errno: it is none to follow. */
static bool follow(int dir, char path[PATH_MAX], const char *segment, const char *rest)
{
    char target[PATH_MAX], whole[PATH_MAX];
    ssize_t n = readlinkat(dir, segment, target, sizeof(target));
    if (n == -1 || !safe_open_is_roots(dir)) {
        errno = n == -1 ? ENOTDIR : ELOOP;
        return false;
    }
    int before = target[0] == '/' ? 0 : (int)(segment - path);
    int len = snprintf(whole, sizeof(whole), "%.*s%.*s/%s", before, path, (int)n, target, rest);
    if (len >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(path, whole, (size_t)len + 1);
    return true;
}

static void close_quietly(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
}

/* The directory of what `path` names; *name: its name there, in `path`, which is another one behind a link.
 */
static int enter(char path[PATH_MAX], const char **name)
{
    int dir = open("/", STEP_FLAGS), links = 0;
    char *segment = path;
    while (dir != -1) {
        segment += strspn(segment, "/");
        char *slash = strchr(segment, '/');
        if (slash == NULL)
            break;
        *slash = '\0';
        int next = openat(dir, segment, STEP_FLAGS);
        if (next == -1 && errno == ENOTDIR && links++ < LINKS_MAX && follow(dir, path, segment, slash + 1)) {
            next = open("/", STEP_FLAGS);
            segment = path;
        } else {
            *slash = '/';
            segment = slash + 1;
        }
        close_quietly(dir);
        dir = next;
    }
    *name = segment;
    return dir;
}

static bool is_shared(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1;
}

int safe_open(const char *path, int flags, mode_t mode)
{
    char way[PATH_MAX];
    const char *name;
    if (strlen(path) >= sizeof(way)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(way, path, strlen(path) + 1);
    int dir = enter(way, &name);
    if (dir == -1)
        return -1;
    int fd = openat(dir, name, flags | O_NOFOLLOW, mode);
    close_quietly(dir);
    if (fd != -1 && is_shared(fd)) {
        close(fd);
        errno = EMLINK;
        return -1;
    }
    return fd;
}
