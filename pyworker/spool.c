/* spool.c - see spool.h. The whole of it is read before the script runs, so that none ever gets half a body:
 * a script takes the end of its input for the end of the body. Small ones stay in memory. */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>
#include <sys/mman.h>

#include "unnamed.h"

enum { MEMORY_MAX = 65536 }; /* bytes */

/* Moves what was kept in memory to a file. Takes `memory`, returns the file or -1. */
static int move_to_file(int memory, size_t len)
{
    char *data = mmap(NULL, len, PROT_READ, MAP_SHARED, memory, 0);
    int file = data == MAP_FAILED ? -1 : unnamed_file();
    if (file != -1 && !unnamed_put(file, data, len)) {
        (void)close(file);
        file = -1;
    }
    if (data != MAP_FAILED)
        (void)munmap(data, len);
    (void)close(memory);
    return file;
}

/* Reads the rest of the body into `fd`, which it takes; returns the descriptor that holds it, or -1. */
static int fill(struct preset *request, int fd, long long *size)
{
    bool in_memory = true;

    do {
        const char *data;
        size_t n = preset_available(request, &data);
        if (in_memory && *size + (long long)n > MEMORY_MAX && *size > 0) {
            fd = move_to_file(fd, (size_t)*size);
            in_memory = false;
        }
        if (fd == -1 || !unnamed_put(fd, data, n)) {
            if (fd != -1)
                (void)close(fd);
            return -1;
        }
        preset_consume(request, n);
        *size += (long long)n;
    } while (preset_refill(request));
    return fd;
}

int spool_body(struct preset *request, long long *size)
{
    const char *data;

    *size = 0;
    if (preset_available(request, &data) == 0 && !preset_refill(request) && !preset_failed(request))
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = unnamed_memory("body");
    if (fd != -1)
        fd = fill(request, fd, size);
    if (fd == -1)
        return -1;
    if (preset_failed(request) || lseek(fd, 0, SEEK_SET) == -1) {
        (void)close(fd);
        errno = EPIPE;
        return -1;
    }
    return fd;
}
