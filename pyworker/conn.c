/* conn.c - what a connection holds is looked at (MSG_PEEK) before libfcgi gets it: record.c says why. The
 * look costs one system call per request, less than can be measured beside the rest. */
#define _GNU_SOURCE
#include "conn.h"

#include <errno.h>
#include <unistd.h>
#include <sys/socket.h>
#include <fastcgi.h>

#include "buffer.h"
#include "peer.h"
#include "record.h"

enum {
    PEEK_FIRST = 8192,         /* holds nearly every head */
    HEAD_MAX = 8 * 1024 * 1024 /* bytes of one that is too long to be peeked at */
};

struct look {
    enum message_kind kind;
    struct message message;
    size_t seen;
};

/* As recv() without waiting. A signal does not end it with nothing: no edge would tell of it again. */
static ssize_t receive_now(int fd, void *out, size_t len, int flags)
{
    ssize_t n;
    do {
        n = recv(fd, out, len, flags | MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);
    return n;
}

static struct look look(int fd, uint8_t *peek)
{
    struct look l = {.kind = MESSAGE_MORE};

    for (size_t limit = PEEK_FIRST;; limit = CONN_PEEK_MAX) {
        ssize_t n = receive_now(fd, peek, limit, MSG_PEEK);
        if (n <= 0) {
            l.kind = n == 0 || errno != EAGAIN ? MESSAGE_BAD : MESSAGE_MORE;
            return l;
        }
        l.seen = (size_t)n;
        l.kind = message_inspect(peek, l.seen, &l.message);
        if (l.kind != MESSAGE_MORE || l.seen < limit || limit == CONN_PEEK_MAX)
            return l;
    }
}

/* Takes up to `len` bytes of what is there; returns whether it was as much. */
static bool skip(int fd, uint8_t *scratch, size_t len)
{
    while (len > 0) {
        ssize_t n = receive_now(fd, scratch, len < CONN_PEEK_MAX ? len : CONN_PEEK_MAX, 0);
        if (n <= 0)
            return false;
        len -= (size_t)n;
    }
    return true;
}

static bool answer_management(int fd, uint8_t *record, size_t len, unsigned requests)
{
    uint8_t reply[RECORD_REPLY_MAX];
    size_t reply_len = message_reply(record, len, CONN_MAX, requests, reply);

    return skip(fd, record, len) && peer_send(fd, reply, reply_len);
}

static void end_request(int fd, uint16_t id, uint8_t protocol_status)
{
    uint8_t end[RECORD_END];

    record_put_end(end, id, 0, protocol_status);
    (void)peer_send(fd, end, sizeof(end)); /* the connection is closed next, whether it arrived or not */
}

/* Takes so many bytes, and waits for each piece as long as peer.c says. */
static bool receive(int fd, uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, out, len, 0);
        if (n == 0 || (n == -1 && errno != EINTR))
            return false;
        out += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool receive_record(int fd, uint8_t *scratch, struct buffer *head, bool *last)
{
    size_t left = RECORD_HEADER;
    size_t start = head->len;

    while (left > 0) {
        size_t n = left < CONN_PEEK_MAX ? left : CONN_PEEK_MAX;
        if (!receive(fd, scratch, n) || !buffer_append(head, scratch, n))
            return false;
        left -= n;
        if (head->len == start + RECORD_HEADER)
            left = record_rest((const uint8_t *)head->data + start, last);
    }
    return true;
}

static bool receive_head(int fd, uint8_t *scratch, struct buffer *head)
{
    struct message m;
    bool last = false;

    while (!last)
        if (!receive_record(fd, scratch, head, &last))
            return false;
    return message_inspect((const uint8_t *)head->data, head->len, &m) == MESSAGE_REQUEST;
}

/* Begins a request whose head is longer than what can be peeked at: it is waited for. */
static bool begin_long(int fd, uint8_t *scratch, bool waits, struct preset *request)
{
    struct buffer head;
    bool begun = false;

    buffer_init(&head, HEAD_MAX);
    if (receive_head(fd, scratch, &head))
        begun = preset_begin_apart(request, fd, head.data, head.len, waits);
    else
        (void)close(fd);
    buffer_free(&head);
    return begun;
}

/* Begins a request whose head has been peeked at. */
static bool begin(int fd, uint8_t *peek, const struct message *m, bool waits, struct preset *request)
{
    if (m->whole && m->len <= PRESET_BUFFER)
        return preset_begin(request, fd);
    if (receive_now(fd, peek, m->head, 0) == (ssize_t)m->head)
        return preset_begin_apart(request, fd, peek, m->head, waits);
    (void)close(fd);
    return false;
}

enum conn_state conn_begin(int fd, uint8_t *peek, unsigned requests, bool waits, struct preset *request)
{
    struct look l = look(fd, peek);

    while (l.kind == MESSAGE_MANAGEMENT) {
        if (!answer_management(fd, peek, l.message.len, requests))
            return CONN_USELESS;
        l = look(fd, peek); /* edge-triggered: what follows it may be here already */
    }
    if (l.kind == MESSAGE_MORE && l.seen < CONN_PEEK_MAX)
        return CONN_WAITS;
    if (l.kind == MESSAGE_BAD || l.message.id == 0)
        return CONN_USELESS; /* also the beginning of a management record: libfcgi must not see it */
    if (l.message.role != FCGI_RESPONDER) {
        end_request(fd, l.message.id, FCGI_UNKNOWN_ROLE);
        return CONN_USELESS;
    }
    bool begun = l.kind == MESSAGE_REQUEST ? begin(fd, peek, &l.message, waits, request)
                                           : begin_long(fd, peek, waits, request);
    return begun ? CONN_BEGUN : CONN_CLOSED;
}

void conn_refuse(int fd, uint8_t *peek)
{
    (void)shutdown(fd,
                   SHUT_RD); /* from now on the peer's writes fail: what is not here it knows to be unsent */
    struct look l = look(fd, peek);
    if (l.kind != MESSAGE_BAD && l.message.id != 0) {
        (void)skip(fd, peek, SIZE_MAX); /* unread bytes would make close() a reset */
        end_request(fd, l.message.id, FCGI_OVERLOADED);
    }
}
