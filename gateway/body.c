/* body.c - see body.h. The file is made with O_TMPFILE under $TMPDIR (else /tmp), or made and unlinked where
 * the file system has no O_TMPFILE: it never has a name that could be left behind. */
#include "body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t spooled;

uint64_t body_spooled(void)
{
    return spooled;
}

const char *body_directory(void)
{
    const char *dir = getenv("TMPDIR");
    return dir != NULL && *dir != '\0' ? dir : "/tmp";
}

static int open_unlinked(void)
{
    const char *dir = body_directory();
    char path[4096];
    int fd;
    do
        fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    while (fd == -1 && errno == EINTR);
    if (fd != -1 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    int n = snprintf(path, sizeof(path), "%s/leangate-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd != -1)
        unlink(path);
    return fd;
}

void body_init(struct body *b, uint32_t memory, uint64_t file)
{
    *b = (struct body){.fd = -1, .file_max = file};
    buf_init(&b->mem, memory);
}

static void detach(struct body *b)
{
    if (b->attached.len > 0)
        close(b->attached.fd);
    b->attached.len = 0;
}

void body_free(struct body *b)
{
    buf_free(&b->mem);
    if (b->fd != -1)
        close(b->fd);
    b->fd = -1;
    spooled -= b->file_len;
    b->file_len = b->pos = 0;
    b->to_file = false;
    detach(b);
}

void body_to_file(struct body *b)
{
    b->to_file = true;
}

uint64_t body_len(const struct body *b)
{
    return b->mem.len + b->file_len + b->attached.len;
}

uint64_t body_left(const struct body *b)
{
    return body_len(b) - b->pos;
}

/* Bytes that may still go into memory: nothing stands there behind what is in the file. */
static uint32_t memory_room(const struct body *b)
{
    if (b->file_len > 0 || b->attached.len > 0)
        return 0;
    return (b->to_file && !b->no_file ? b->mem.cap : b->mem.max) - b->mem.len;
}

uint64_t body_room(const struct body *b)
{
    return b->attached.len > 0 ? 0 : b->file_max - b->file_len + memory_room(b);
}

/* All of it, or nothing. */
static bool file_put(struct body *b, const char *data, size_t len)
{
    uint64_t end = b->file_len;
    if (len > b->file_max - b->file_len) {
        errno = EFBIG;
        return false;
    }
    if (b->fd == -1 && (b->fd = open_unlinked()) == -1)
        return false;
    while (len > 0) {
        ssize_t n = pwrite(b->fd, data, len, (off_t)end);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return false;
        }
        end += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    spooled += end - b->file_len;
    b->file_len = end;
    return true;
}

/* Where no byte can be put into a file the memory has its spare. errno stays what the file system said. */
static bool do_without_file(struct body *b)
{
    if (b->spare == 0 || b->file_len > 0)
        return false;
    b->mem.max += b->spare;
    b->spare = 0;
    b->file_max = 0;
    b->no_file = true;
    return true;
}

bool body_put(struct body *b, const void *data, size_t len)
{
    const char *bytes = data;
    if (len > body_room(b)) {
        errno = EFBIG;
        return false;
    }
    size_t room = memory_room(b);
    size_t n = len < room ? len : room;
    if (!buf_put(&b->mem, bytes, n)) {
        errno = ENOMEM;
        return false;
    }
    bytes += n;
    len -= n;
    return len == 0 || file_put(b, bytes, len) || (do_without_file(b) && buf_put(&b->mem, bytes, len));
}

void body_attach(struct body *b, int fd, uint64_t offset, uint64_t len)
{
    b->attached.fd = fd;
    b->attached.offset = offset;
    b->attached.len = len;
}

uint64_t body_file(const struct body *b, int *fd, off_t *offset)
{
    if (b->pos < b->mem.len)
        return 0;
    uint64_t at = b->pos - b->mem.len;
    bool own = at < b->file_len;
    *fd = own ? b->fd : b->attached.fd;
    *offset = (off_t)(own ? at : b->attached.offset + (at - b->file_len));
    return own ? b->file_len - at : body_left(b);
}

long body_peek(struct body *b, char *scratch, size_t size, const char **data)
{
    if (b->pos < b->mem.len) {
        *data = b->mem.data + b->pos;
        return (long)(b->mem.len - b->pos);
    }
    int fd;
    off_t offset;
    uint64_t left = body_file(b, &fd, &offset);
    if (left == 0)
        return 0;
    ssize_t n;
    do
        n = pread(fd, scratch, left < size ? (size_t)left : size, offset);
    while (n == -1 && errno == EINTR);
    if (n == 0) { /* somebody truncated the file */
        errno = EIO;
        n = -1;
    }
    *data = scratch;
    return n;
}

void body_skip(struct body *b, size_t n)
{
    b->pos += n;
}

void body_rewind(struct body *b)
{
    b->pos = 0;
}

void body_reuse(struct body *b)
{
    if (b->pos == body_len(b)) {
        b->mem.len = 0;
        b->pos = 0;
        if (b->to_file)
            buf_free(&b->mem);
        b->to_file = false;
        spooled -= b->file_len;
        if (b->file_len > 0 && ftruncate(b->fd, 0) == -1) {
            close(b->fd);
            b->fd = -1;
        }
        b->file_len = 0;
        detach(b);
    } else if (b->file_len == 0 && b->pos > b->mem.len / 2 && b->pos <= b->mem.len) {
        buf_consume(&b->mem, (uint32_t)b->pos);
        b->pos = 0;
    }
}
