/* upload.c - STDIN records from a socket: header, content, padding, and the empty one that ends them. */
#define _GNU_SOURCE
#include "upload.h"

#include <errno.h>
#include <sys/socket.h>
#include <fastcgi.h>

void upload_begin(struct upload *u, int fd, uint16_t id, bool waits)
{
    *u = (struct upload){.fd = fd, .id = id, .waits = waits};
}

/* As much of `len` as is there. */
static size_t take(struct upload *u, void *out, size_t len)
{
    ssize_t n;
    do {
        n = recv(u->fd, out, len, u->waits ? 0 : MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);
    if (n == 0 || (n == -1 && (u->waits || errno != EAGAIN)))
        u->failed = true;
    return n > 0 ? (size_t)n : 0;
}

/* Reads on in the header of the next record; returns whether it is there. */
static bool take_header(struct upload *u)
{
    u->have += take(u, u->header + u->have, RECORD_HEADER - u->have);
    if (u->have < RECORD_HEADER)
        return false;
    u->have = 0;
    const uint8_t *h = u->header;
    if (h[0] != FCGI_VERSION_1 || h[1] != FCGI_STDIN || (h[2] << 8 | h[3]) != u->id) {
        u->failed = true;
        return false;
    }
    u->content = (size_t)(h[4] << 8 | h[5]);
    u->padding = h[6];
    u->last = u->content == 0;
    return true;
}

/* Reads on in the padding of a record; returns whether it is over. */
static bool skip_padding(struct upload *u)
{
    uint8_t scratch[UINT8_MAX];

    if (u->padding > 0)
        u->padding -= take(u, scratch, u->padding);
    return u->padding == 0;
}

/* Takes what it can of the record under way, or begins the next one. False: nothing was there. */
static bool step(struct upload *u, char *out, size_t len, size_t *done)
{
    if (u->content > 0) {
        *done = take(u, out, u->content < len ? u->content : len);
        u->content -= *done;
        return *done > 0;
    }
    if (!skip_padding(u))
        return false;
    u->ended = u->last;
    return u->last || take_header(u);
}

size_t upload_read(struct upload *u, void *out, size_t len)
{
    size_t done = 0;

    while (!u->ended && !u->failed && done < len && !(u->waits && done > 0)) {
        size_t n = 0;
        if (!step(u, (char *)out + done, len - done, &n) && !u->waits)
            break;
        done += n;
    }
    return done;
}
