/* output.c - gathers FastCGI records and writes them to a blocking socket. */
#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <fastcgi.h>

void output_begin(struct output *o, int fd, uint16_t id)
{
    o->fd = fd;
    o->flags = 0;
    o->id = id;
    o->left[0] = o->left[1] = 0;
    o->closing_len = 0;
    o->next = o->count = 0;
}

void output_add(struct output *o, const void *data, size_t len)
{
    size_t i = o->left[0] > 0 ? 1 : 0;
    o->segment[i] = data;
    o->left[i] = len;
}

void output_close_stream(struct output *o)
{
    record_put_header(o->closing, FCGI_STDOUT, o->id, 0);
    o->closing_len = RECORD_HEADER;
}

void output_close_request(struct output *o, uint32_t app_status)
{
    record_put_end(o->closing + o->closing_len, o->id, app_status, FCGI_REQUEST_COMPLETE);
    o->closing_len += RECORD_END;
}

static void part_add(struct output *o, const void *data, size_t len)
{
    /* iov_base is not const, since the same struct serves for reading. */
    o->parts[o->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
}

/* Takes up to `room` bytes from the segments; returns how many. */
static size_t take_content(struct output *o, size_t room)
{
    size_t taken = 0;
    for (size_t i = 0; i < 2; i++) {
        size_t n = o->left[i] < room - taken ? o->left[i] : room - taken;
        if (n > 0) {
            part_add(o, o->segment[i], n);
            o->segment[i] += n;
            o->left[i] -= n;
            taken += n;
        }
    }
    return taken;
}

/* Sets up the next write. False: there is nothing more. */
static bool gather(struct output *o)
{
    o->next = o->count = 0;
    for (size_t i = 0; i < OUTPUT_RECORDS && o->left[0] + o->left[1] > 0; i++) {
        part_add(o, o->headers[i], RECORD_HEADER);
        size_t n = take_content(o, RECORD_CONTENT_MAX);
        record_put_header(o->headers[i], FCGI_STDOUT, o->id, n);
    }
    if (o->left[0] + o->left[1] == 0 && o->closing_len > 0) {
        part_add(o, o->closing, o->closing_len);
        o->closing_len = 0;
    }
    return o->count > 0;
}

static void advance(struct output *o, size_t written)
{
    while (o->next < o->count && written >= o->parts[o->next].iov_len) {
        written -= o->parts[o->next].iov_len;
        o->next++;
    }
    if (o->next < o->count) {
        struct iovec *part = &o->parts[o->next];
        part->iov_base = (char *)part->iov_base + written;
        part->iov_len -= written;
    }
}

bool output_peer_left(const struct output *o)
{
    struct pollfd p = {.fd = o->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1;
}

int output_run(struct output *o)
{
    while (o->next < o->count || gather(o)) {
        struct msghdr message = {.msg_iov = o->parts + o->next, .msg_iovlen = o->count - o->next};
        ssize_t n = sendmsg(o->fd, &message, MSG_NOSIGNAL | o->flags);
        if (n == -1)
            return errno;
        advance(o, (size_t)n);
    }
    return 0;
}
