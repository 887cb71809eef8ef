/* conn.c - what a connection holds is looked at (MSG_PEEK) before libfcgi reads it: record.c says why. The
 * look costs one system call per request, less than can be measured beside the rest. */
#define _GNU_SOURCE
#include "conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <fastcgi.h>

#include "peer.h"
#include "record.h"

enum { PEEK_FIRST = 8192 }; /* holds nearly every head */

struct look {
    enum message_kind kind;
    struct message message;
    size_t seen;
};

static struct look look(int fd, uint8_t *peek)
{
    struct look l = {.kind = MESSAGE_MORE};

    for (size_t limit = PEEK_FIRST;; limit = CONN_PEEK_MAX) {
        ssize_t n = recv(fd, peek, limit, MSG_PEEK | MSG_DONTWAIT);
        if (n <= 0) {
            l.kind = n == 0 || (errno != EAGAIN && errno != EINTR) ? MESSAGE_BAD : MESSAGE_MORE;
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
        ssize_t n = recv(fd, scratch, len < CONN_PEEK_MAX ? len : CONN_PEEK_MAX, MSG_DONTWAIT);
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

enum conn_state conn_begin(int fd, uint8_t *peek, unsigned requests, bool apart, struct preset *request)
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
    size_t len = l.message.whole ? l.message.len : 0;
    apart = apart && l.kind == MESSAGE_REQUEST && (len == 0 || len > PRESET_BUFFER);
    bool begun =
        apart ? preset_begin_apart(request, fd, peek, l.message.head) : preset_begin(request, fd, len);
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
