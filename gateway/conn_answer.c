/* conn_answer.c - see conn_answer.h. */
#include "conn_answer.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "log.h"
#include "memory.h"

enum { SEND_TURN = 1024 * 1024 }; /* bytes written in one turn before others get theirs */

/* Whether there is input that nobody will read: closed upon it, the socket would send a reset, which can take
 * the answer away from the client. */
static bool input_left(const struct conn *c)
{
    const struct request *r = c->request;
    char byte;
    return c->unread || r->in.len > r->head.size || recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void start_linger(struct conn *c)
{
    shutdown(c->io.fd, SHUT_WR);
    request_free(c->request);
    c->request = NULL;
    c->linger_began = timeq_now();
    conn_state_move(c, CONN_LINGER);
}

/* The exchange is over and all of its answer was written. */
static void finish_exchange(struct conn *c)
{
    struct request *r = c->request;
    conn_state_log(c);
    if (r->cut) {
        if (r->framing == HTTP_FRAMING_CLOSE)
            conn_state_close_by_reset(c);
        conn_state_move(c, CONN_CLOSED);
    } else if (!r->keep_alive) {
        if (input_left(c))
            start_linger(c);
        else
            conn_state_move(c, CONN_CLOSED);
    } else if (r->in.len > r->head.size) {
        request_next(r);
        r->began = timeq_clock();
        conn_state_move(c, CONN_HEAD);
    } else {
        conn_state_rest(c);
    }
}

/* Sends the next bytes of the answer: out of a file by sendfile, else, and where its file system has no such
 * thing, from memory. *wanted: how many that were. The bytes sent, 0 when none are left, -1 with errno: EIO
 * where a file is shorter by now or cannot be read. */
static ssize_t send_piece(const struct conn *c, size_t *wanted)
{
    struct body *out = &c->request->out;
    const char *data;
    off_t offset;
    int fd;
    uint64_t len = body_file(out, &fd, &offset);
    *wanted = len < SEND_TURN ? (size_t)len : SEND_TURN;
    if (len > 0) {
        ssize_t sent = sendfile(c->io.fd, fd, &offset, *wanted);
        if (sent == 0)
            errno = EIO;
        if (sent >= 0 || (errno != EINVAL && errno != ENOSYS))
            return sent > 0 ? sent : -1;
    }
    long n = body_peek(out, memory_scratch, MEMORY_SCRATCH, &data);
    if (n <= 0)
        return n;
    *wanted = (size_t)n;
    int more = *wanted < body_left(out) ? MSG_MORE : 0; /* a head waits for the file's first bytes */
    return send(c->io.fd, data, *wanted, MSG_NOSIGNAL | more);
}

/* Writes what there is of the answer; after SEND_TURN bytes others have their turn. False: the client is
 * gone, or must go. */
static bool write_answer(struct conn *c)
{
    struct request *r = c->request;
    size_t wanted, done = 0;
    ssize_t sent = 0;
    while (done < SEND_TURN) {
        sent = send_piece(c, &wanted);
        if (sent == -1 && errno == EINTR)
            continue;
        if (sent <= 0)
            break;
        c->touched = true;
        done += (size_t)sent;
        body_skip(&r->out, (size_t)sent);
        body_reuse(&r->out);
        if ((size_t)sent < wanted)
            break;
    }
    if (sent == -1 && errno == EIO)
        log_error("%s: an answer was cut: its file cannot be read, or is shorter than it was (id %s)",
                  r->app_conf != NULL ? r->app_conf->name : "the gateway", r->id);
    if (sent == -1 && (errno == ENOMEM || errno == ENOBUFS))
        log_error("an answer was cut: the kernel has no memory to send it (id %s)", r->id);
    return sent != -1 || errno == EAGAIN;
}

/* Looks whether the client is still there, into spare room only. False: it is gone. */
static bool watch_client(struct conn *c)
{
    struct request *r = c->request;
    size_t n, room = conn_state_spare(c);
    if (room == 0)
        return true;
    int got = conn_state_receive(c, memory_scratch, room < CONN_READ ? room : CONN_READ, &n);
    if (got <= 0)
        return got == 0;
    return buf_put(&r->in, memory_scratch, n);
}

bool conn_answer_exchange(struct conn *c)
{
    struct request *r = c->request;
    if (!write_answer(c)) {
        conn_state_reset(c);
        return true;
    }
    if (r->ended || r->cut) {
        conn_state_move(c, CONN_FLUSH);
        return true;
    }
    if (!watch_client(c)) { /* which may still read: half of a connection can end */
        conn_state_reset(c);
        return true;
    }
    if (r->starved && request_room(r) && r->handler != NULL)
        r->handler->resume(r);
    return false;
}

bool conn_answer_flush(struct conn *c)
{
    if (!write_answer(c)) {
        conn_state_reset(c);
        return true;
    }
    if (body_left(&c->request->out) > 0)
        return false;
    finish_exchange(c);
    return true;
}

/* ---- LINGER ----
 *
 * A client may read its answer only when all of its body is out, and may be far away: so what still comes is
 * bounded by time, however much it is. */

bool conn_answer_linger(struct conn *c)
{
    size_t n;
    double most = (conn_state_hurries(c) ? LINGER_HURRY : LINGER_MAX) / 1e3;
    int got = conn_state_receive(c, memory_scratch, MEMORY_SCRATCH, &n);
    if (got == 0)
        return false;
    if (got < 0 || timeq_now() - c->linger_began > most)
        conn_state_move(c, CONN_CLOSED);
    return true;
}
