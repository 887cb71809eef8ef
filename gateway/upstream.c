/* upstream.c - see upstream.h.
 *
 *   CLOSED --start--> BUSY --empty STDOUT--> TAIL --END_REQUEST--> FREE --start--> BUSY ...
 *                      |  \--END_REQUEST--------------------------/
 *                      +--client gone--> ORPHAN --END_REQUEST--> CLOSED
 *   End of file, an error or a timeout leads to CLOSED from everywhere; `result` says what it meant.
 *
 * A SINGLE connection is closed at END_REQUEST. Behind a COPY stands a process: END_REQUEST leads to TAIL and
 * the end of the connection to CLOSED; one that is given up is DOOMED until then, for its owner kills by
 * slot.
 */
#include "upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "encode.h"
#include "log.h"
#include "memory.h"
#include "upstream_answer.h"

enum {
    READS_PER_TURN = 4,        /* full reads before others get their turn */
    READS_DRAIN = 64,          /* of a worker that has ended */
    SEND_TURN = 1024 * 1024,   /* bytes written before others get their turn */
    SEND_MAX = 4 * 1024 * 1024 /* ceiling of `send`: the largest parameters, or one piece of a body */
};

/* It is of no more use, for a reason that is not the worker's. What has come of an answer is still read, then
 * its end. */
static void hang_up(struct upstream *up, const char *reason)
{
    if (up->delivered || *up->owner.app->address == '\0') /* else it is told as one that cannot be reached */
        log_warning("%s: a connection to a worker is given up: %s", up->owner.app->name, reason);
    up->hung_up = true;
    shutdown(up->fd, SHUT_RDWR);
}

static void on_event(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct upstream *up = io->data;
    if ((events & EV_ERROR) != 0) {
        up->error = ENOMEM;
        hang_up(up, "it cannot be watched (no memory, or fs.epoll.max_user_watches)");
    }
    up->readable = up->readable || (events & EV_READ) != 0;
    task_wake(&up->task);
}

/* ---- sending ---- */

/* Writes until all is out, the socket is full or others are to have their turn: a worker may read as fast as
 * it gets. That the worker has closed it decides nothing: it may have answered without reading to the end,
 * and what it left to read tells. After another error (no memory) the worker would wait for the rest, and we
 * for its answer. */
static void send_more(struct upstream *up)
{
    size_t done = 0;
    while (upstream_sending(up) && done < SEND_TURN) {
        if (up->sent == up->send.len) {
            up->send.len = up->sent = 0;
            if (!encode_body(&up->send, &up->request->body, up->id, &up->body_sent)) {
                log_error("%s: a request body could not be read back: %s (id %s)", up->owner.app->name,
                          strerror(errno), up->request->id);
                request_fail(up->request, 503, NULL);
                upstream_orphan(up);
                return;
            }
        }
        ssize_t n = send(up->fd, up->send.data + up->sent, up->send.len - up->sent, MSG_NOSIGNAL);
        if (n > 0) {
            up->sent += (uint32_t)n;
            done += (size_t)n;
            up->delivered = true;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            up->error = errno;
            upstream_send_no_more(up);
            if (errno != EPIPE && errno != ECONNRESET)
                hang_up(up, strerror(errno));
            return;
        }
    }
}

static int open_connection(struct upstream *up)
{
    up->fd = net_connect(up->owner.address);
    if (up->fd == -1)
        return -1;
    fcgi_client_init(&up->decoder);
    up->hung_up = false;
    up->state = UPSTREAM_FREE;
    return 0;
}

/* Whether a kept connection had been closed at its other end, as a worker does behind a request whose body
 * was not read: before END_REQUEST, so that nothing of the next one arrives. Or it is dying. */
static bool was_closed(const struct upstream *up)
{
    return !up->delivered && (up->error == EPIPE || up->error == ECONNRESET);
}

int upstream_start(struct upstream *up, struct request *r, bool ready)
{
    bool kept = up->state == UPSTREAM_FREE;
    if (up->state == UPSTREAM_CLOSED && open_connection(up) == -1)
        return -1;
    body_rewind(&r->body);
    up->send.len = up->sent = 0;
    up->body_sent = false;
    if (!encode_head(&up->send, r, up->id, upstream_goes_on(up))) {
        upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
        errno = ENOMEM;
        return -1;
    }
    up->state = UPSTREAM_BUSY;
    up->request = r;
    up->ignored = r->ignored;
    if (body_left(&r->body) <= ENCODE_PIECE) /* in one write with the head; a failure shows in send_more */
        (void)encode_body(&up->send, &r->body, up->id, &up->body_sent);
    up->cut = up->delivered = false;
    up->error = 0;
    up->stderr_bytes = up->discarded = 0;
    up->slow_told = 0;
    r->up = up;
    up->ready = ready;
    fcgi_client_begin(&up->decoder, up->id);
    if (ready)
        r->sent = timeq_clock();
    send_more(up);
    if (kept && was_closed(up)) {
        upstream_detach(up);
        r->sent = 0;
        upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
        errno = EPIPE;
        return -1;
    }
    upstream_watch_clock(up);
    upstream_update(up);
    return 0;
}

/* ---- receiving ---- */

/* End of file or a read error. */
static void take_close(struct upstream *up)
{
    if (up->state == UPSTREAM_FREE)
        upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
    else if (up->state == UPSTREAM_BUSY)
        upstream_settle(up, UPSTREAM_CLOSED, up->delivered ? UPSTREAM_DIED : UPSTREAM_UNREACHED);
    else
        upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_DONE);
}

static void receive_more(struct upstream *up, int reads)
{
    while (up->fd != -1 && !up->paused && up->readable) {
        if (reads-- == 0) {
            task_wake(&up->task);
            return;
        }
        ssize_t n = recv(up->fd, memory_scratch, MEMORY_SCRATCH, 0);
        up->readable = n == MEMORY_SCRATCH || (n == -1 && errno == EINTR); /* else the loop tells of more */
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (n == -1 && up->error == 0)
                up->error = errno;
            take_close(up);
            return;
        }
        if (!upstream_answer_take(up, (const uint8_t *)memory_scratch, (size_t)n))
            return;
        if (up->state == UPSTREAM_BUSY && up->request->head_sent) {
            up->paused = !request_room(up->request);
            upstream_watch_clock(up);
        }
    }
}

/* False: its time is over. */
static bool on_deadline(struct upstream *up)
{
    if (up->request != NULL && !up->request->head_sent && upstream_will_be_slow(up)) {
        up->slow_told++;
        upstream_watch_clock(up);
        upstream_tell(up, UPSTREAM_SLOW);
        return true;
    }
    if (up->state == UPSTREAM_DOOMED && up->spared) {
        up->spared = false;
        upstream_watch_clock(up);
        upstream_tell(up, UPSTREAM_DUE);
        return true;
    }
    upstream_give_up(up, up->state == UPSTREAM_DOOMED ? UPSTREAM_HUNG : UPSTREAM_TIMEOUT);
    return false;
}

static void run(struct task *task)
{
    struct upstream *up = LIST_OBJECT(task, struct upstream, task);
    if (up->fd == -1)
        return;
    if (up->deadline.expired && !on_deadline(up))
        return;
    if (upstream_sending(up))
        send_more(up);
    up->readable = up->readable || up->hung_up;
    receive_more(up, READS_PER_TURN);
    if (up->fd == -1)
        return;
    upstream_update(up);
    if (up->hung_up && !up->paused)
        task_wake(&up->task);
}

void upstream_resume(struct upstream *up)
{
    up->paused = false;
    up->readable = true;
    upstream_watch_clock(up);
    task_wake(&up->task);
}

void upstream_set_ready(struct upstream *up, enum upstream_link link)
{
    up->link = link;
    up->ready = true;
    if (up->request != NULL)
        up->request->sent = timeq_clock();
    if (up->state == UPSTREAM_BUSY || up->state == UPSTREAM_ORPHAN)
        upstream_watch_clock(up);
}

void upstream_drain(struct upstream *up)
{
    up->paused = false;
    for (int reads = 0; up->fd != -1; reads++) {
        ssize_t n = recv(up->fd, memory_scratch, MEMORY_SCRATCH, 0);
        if (n == -1 && errno == EINTR)
            continue;
        /* the end, an error, or somebody else still holds the other end */
        if (n <= 0 || reads == READS_DRAIN) {
            take_close(up);
            return;
        }
        upstream_answer_take(up, (const uint8_t *)memory_scratch, (size_t)n);
    }
}

/* ---- life ---- */

struct upstream *upstream_new(const struct upstream_owner *owner, uint16_t id, enum upstream_link link)
{
    struct upstream *up = calloc(1, sizeof(*up));
    if (up == NULL)
        return NULL;
    up->owner = *owner;
    up->id = id;
    up->link = link;
    up->fd = -1;
    up->io.data = up;
    ev_init(&up->io, on_event);
    task_init(&up->task, run);
    buf_init(&up->send, SEND_MAX);
    buf_init(&up->head, (uint32_t)owner->conf->response_headers);
    return up;
}

void upstream_free(struct upstream *up)
{
    upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
    task_cancel(&up->task);
    list_remove(&up->done);
    list_remove(&up->node);
    buf_free(&up->send);
    buf_free(&up->head);
    free(up);
}

enum upstream_result upstream_take_result(struct upstream *up)
{
    enum upstream_result result = up->result;
    up->result = UPSTREAM_NOTHING;
    list_remove(&up->done);
    return result;
}
