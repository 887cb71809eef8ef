/* unnamed.c - see unnamed.h. systemd's manual advises SystemCallFilter=~memfd_create to whoever sets
 * MemoryDenyWriteExecute. */
#define _GNU_SOURCE
#include "unnamed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

int unnamed_memory(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    return fd != -1 ? fd : unnamed_file();
}

int unnamed_file(void)
{
    const char *directory = getenv("TMPDIR");
    char path[PATH_MAX];

    if (directory == NULL || *directory != '/')
        directory = "/tmp";
    int len = snprintf(path, sizeof(path), "%s/leangate-XXXXXX", directory);
    int fd = open(directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd != -1 || (errno != EOPNOTSUPP && errno != EISDIR) || len < 0 || (size_t)len >= sizeof(path))
        return fd;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd != -1)
        (void)unlink(path);
    return fd;
}

bool unnamed_put(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n == -1 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}
