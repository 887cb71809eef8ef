/* upstream.c - see upstream.h.
 *
 *   CLOSED --start--> BUSY --empty STDOUT--> TAIL --END_REQUEST--> FREE --start--> BUSY ...
 *                      |  \--END_REQUEST--------------------------/
 *                      +--client gone--> ORPHAN --END_REQUEST--> CLOSED
 *   End of file, an error or a timeout leads to CLOSED from everywhere; `result` says what it meant.
 *
 * A SINGLE connection is closed at END_REQUEST. Behind a COPY stands a process: END_REQUEST leads to TAIL and
 * the end of the connection to CLOSED; one that is given up is an ORPHAN until then, for its owner kills by
 * slot. */
#include "upstream.h"

#include <errno.h>
#include <fastcgi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cgi.h"
#include "encode.h"
#include "log.h"
#include "memory.h"

enum {
    SLOW_TOLD_MAX = 2,          /* how often a request is said to be slow */
    READS_PER_TURN = 4,         /* full reads before others get their turn */
    STDERR_MAX = 64 * 1024,     /* bytes of STDERR that are logged for one request */
    ORPHAN_MAX = 1024 * 1024,   /* bytes of an answer that nobody wants before its connection is closed */
    READS_DRAIN = 64,           /* of a worker that has ended */
    SEND_MAX = 4 * 1024 * 1024, /* ceiling of `send`: the largest parameters, or one piece of a body */
    DOOM_MIN_MS = 1000,      /* a copy that was killed has this long to be gone, whatever stop_timeout says */
    KEEP_CAPACITY = 8 * 1024 /* buffers larger than this are given back between requests */
};

static void on_event(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct upstream *up = io->data;
    up->readable = up->readable || (events & EV_READ) != 0;
    task_wake(&up->task);
}

/* ---- state, watchers, deadlines ---- */

static bool goes_on(const struct upstream *up)
{
    return up->link == UPSTREAM_KEPT || up->link == UPSTREAM_TASK;
}

static bool sending(const struct upstream *up)
{
    return up->sent < up->send.len || (up->state == UPSTREAM_BUSY && !up->body_sent);
}

/* The one place that arms and disarms: derived from the state alone. */
static void update(struct upstream *up)
{
    int events = 0;
    if (up->state != UPSTREAM_CLOSED)
        events = (up->paused ? 0 : EV_READ) | (sending(up) ? EV_WRITE : 0);
    if (events == up->armed)
        return;
    up->armed = events;
    ev_io_stop(up->owner.loop, &up->io);
    ev_io_set(&up->io, up->fd, events);
    if (events != 0)
        ev_io_start(up->owner.loop, &up->io);
}

/* Whether a request without a head is said to be slow before its time is over: after `slow`, and at twice
 * that. */
static bool will_be_slow(const struct upstream *up)
{
    const struct conf_app *app = up->owner.app;
    if (up->state != UPSTREAM_BUSY || app->slow == CONF_OFF || up->slow_told == SLOW_TOLD_MAX)
        return false;
    return app->request_timeout == CONF_OFF || app->slow * (up->slow_told + 1) < app->request_timeout;
}

/* How long a request may be without a head from the last time on that it was said to be slow. */
static int64_t until_head(const struct upstream *up)
{
    const struct conf_app *app = up->owner.app;
    if (will_be_slow(up))
        return app->slow;
    if (app->request_timeout == CONF_OFF || up->slow_told == 0)
        return app->request_timeout;
    return app->request_timeout - app->slow * up->slow_told;
}

/* (Re)starts the clock that fits the state. */
static void watch_clock(struct upstream *up)
{
    const struct request *r = up->request;
    int64_t ms = CONF_OFF;
    if (up->doomed)
        ms = up->owner.app->stop_timeout > DOOM_MIN_MS ? up->owner.app->stop_timeout : DOOM_MIN_MS;
    else if (up->ready && up->state == UPSTREAM_ORPHAN)
        ms = up->owner.app->request_timeout;
    else if (up->ready && r != NULL && !r->head_sent)
        ms = until_head(up);
    else if (r != NULL && up->ready && !up->paused)
        ms = up->owner.app->stream_timeout;
    timeq_start(timeq_get(ms), &up->deadline, &up->task);
}

static void shrink(const struct upstream *up, struct buf *b)
{
    b->len = 0;
    if (b->cap > KEEP_CAPACITY || buf_allocated() >= (uint64_t)up->owner.conf->buffers)
        buf_free(b);
}

static void tell_owner(struct upstream *up, enum upstream_result result)
{
    up->result = result;
    if (!list_linked(&up->done))
        list_append(up->owner.done, &up->done);
    task_wake(up->owner.task);
}

/* The connection's current request is over in one way or another; `next` is CLOSED or FREE. */
static void settle(struct upstream *up, enum upstream_state next, enum upstream_result result)
{
    up->state = next;
    up->paused = false;
    up->sent = 0;
    shrink(up, &up->send);
    shrink(up, &up->head);
    timeq_stop(&up->deadline);
    update(up);
    if (next == UPSTREAM_CLOSED && up->fd != -1) {
        close(up->fd);
        up->fd = -1;
    }
    bool given_up = list_linked(&up->done) && up->result != UPSTREAM_SLOW;
    if (result == UPSTREAM_NOTHING || (result == UPSTREAM_DONE && given_up))
        return; /* the end of what was given up: its owner is yet to look at why */
    tell_owner(up, result);
}

/* It did not do what it should. The owner kills a COPY and cancels a TASK by the number of its slot, so that
 * is free only when it has ended. */
static void give_up(struct upstream *up, enum upstream_result result)
{
    bool alone = up->link == UPSTREAM_COPY || (up->link == UPSTREAM_TASK && result == UPSTREAM_TIMEOUT);
    bool waits = alone && !up->doomed;
    up->doomed = waits;
    if (waits)
        up->body_sent = up->cut = true;
    settle(up, waits ? UPSTREAM_ORPHAN : UPSTREAM_CLOSED, result);
    if (waits)
        watch_clock(up);
}

/* The request has its whole answer, or an error page: the slot goes on without it. */
static void release_request(struct upstream *up, enum upstream_state next)
{
    up->request->up = NULL;
    up->request = NULL;
    up->state = next;
    up->paused = false;
    if (!up->body_sent || up->sent < up->send.len) { /* the rest of the body is gone with the request */
        shutdown(up->fd, SHUT_WR);
        up->sent = up->send.len;
        up->body_sent = up->cut = true;
    }
    watch_clock(up);
}

void upstream_orphan(struct upstream *up)
{
    if (up->state != UPSTREAM_BUSY)
        return;
    release_request(up, UPSTREAM_ORPHAN);
    shutdown(up->fd, SHUT_WR); /* which the worker sees as RDHUP */
    update(up);
}

/* ---- sending ---- */

/* Writes until all is out or the socket is full. An error here decides nothing: the worker may have answered
 * without reading to the end, and what it left to read tells. */
static void send_more(struct upstream *up)
{
    while (sending(up)) {
        if (up->sent == up->send.len) {
            up->send.len = up->sent = 0;
            if (!encode_body(&up->send, &up->request->body, up->id, &up->body_sent)) {
                log_error("a request body could not be read back: %s", strerror(errno));
                up->body_sent = up->cut = true; /* the worker sees the missing end as a cut body */
                shutdown(up->fd, SHUT_WR);
                return;
            }
        }
        ssize_t n = send(up->fd, up->send.data + up->sent, up->send.len - up->sent, MSG_NOSIGNAL);
        if (n > 0) {
            up->sent += (uint32_t)n;
            up->delivered = true;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            up->error = errno;
            up->sent = up->send.len;
            up->body_sent = up->cut = true;
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
    up->state = UPSTREAM_FREE;
    return 0;
}

int upstream_start(struct upstream *up, struct request *r, bool ready)
{
    if (up->state == UPSTREAM_CLOSED && open_connection(up) == -1)
        return -1;
    body_rewind(&r->body);
    up->send.len = up->sent = 0;
    up->body_sent = false;
    if (!encode_head(&up->send, r, up->id, goes_on(up))) {
        settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
        errno = ENOMEM;
        return -1;
    }
    up->state = UPSTREAM_BUSY;
    up->request = r;
    up->ignored = r->ignored;
    if (body_left(&r->body) <= ENCODE_PIECE) /* in one write with the head; a failure shows in send_more */
        (void)encode_body(&up->send, &r->body, up->id, &up->body_sent);
    up->cut = up->delivered = up->doomed = false;
    up->error = 0;
    up->stderr_bytes = up->discarded = 0;
    up->slow_told = 0;
    r->up = up;
    up->ready = ready;
    fcgi_client_begin(&up->decoder, up->id);
    if (ready)
        r->sent = timeq_clock();
    send_more(up);
    watch_clock(up);
    update(up);
    return 0;
}

/* ---- receiving ---- */

/* The head is not one. The client has its 502 at once; what the worker may still write has until
 * request_timeout. */
static void refuse_head(struct upstream *up, const char *why)
{
    struct request *r = up->request;
    log_error("%s answered what is not HTTP: %s (id %s)", up->owner.app->name, why, r->id);
    request_fail(r, 502, NULL);
    upstream_orphan(up);
}

/* Whether the bytes from `had` on end a header block: a cheap look, so that a head in many pieces is parsed
 * once. */
static bool ends_head(const struct buf *head, size_t had)
{
    const char *data = head->data, *end = data + head->len;
    for (const char *p = data + had; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++) {
        size_t i = (size_t)(p - data);
        if (i > 0 && data[i - 1] == '\r')
            i--;
        if (i == 0 || data[i - 1] == '\n')
            return true;
    }
    return false;
}

/* The answer's first bytes, until its header block is whole. Returns how many bytes of data belong to the
 * head; the request may have failed afterwards (up->request is NULL). */
static size_t take_head(struct upstream *up, const char *data, size_t len)
{
    static struct buf fields;
    struct request *r = up->request;
    struct cgi_reply reply;
    size_t had = up->head.len, room = up->head.max - had;
    fields.max = up->head.max * 2;
    fields.len = 0;
    if (r->sent == 0) /* READY is still unread: the answer overtook it */
        r->sent = timeq_clock();
    if (!buf_put(&up->head, data, len < room ? len : room)) {
        refuse_head(up, "no memory for its head");
        return len;
    }
    if (len < room && !ends_head(&up->head, had))
        return len;
    enum http_parse parsed = cgi_reply_parse(&reply, up->head.data, up->head.len, &fields);
    if (parsed != HTTP_DONE) {
        refuse_head(up, parsed == HTTP_MORE ? "its head is larger than response_headers" : reply.error);
        return len;
    }
    if (!request_head(r, reply.status, reply.reason.len > 0 ? up->head.data + reply.reason.off : NULL,
                      reply.reason.len, fields.data, fields.len, reply.content_length, reply.has_date,
                      reply.has_server))
        upstream_orphan(up);
    shrink(up, &up->head);
    shrink(up, &fields);
    return reply.size - had;
}

static void take_stdout(struct upstream *up, const char *data, size_t len)
{
    if (up->state == UPSTREAM_ORPHAN && (up->discarded += (uint32_t)len) > ORPHAN_MAX)
        settle(up, UPSTREAM_CLOSED,
               UPSTREAM_DONE); /* its next write tells the worker, if it has not looked before */
    if (up->state != UPSTREAM_BUSY)
        return;
    if (!up->request->head_sent) {
        size_t n = take_head(up, data, len);
        data += n;
        len -= n;
    }
    if (len > 0 && up->state == UPSTREAM_BUSY && !request_body(up->request, data, len))
        upstream_orphan(up);
}

static void take_stdout_end(struct upstream *up)
{
    if (up->state != UPSTREAM_BUSY || !up->request->head_sent)
        return;
    request_end(up->request);
    release_request(up, UPSTREAM_TAIL);
}

/* END_REQUEST has been dealt with: the slot is free, or waits for the end of its copy. While READY is still
 * unread, it may be a copy's, whose connection ends with it. */
static void end_exchange(struct upstream *up, bool whole)
{
    bool kept = goes_on(up) && up->ready && up->state != UPSTREAM_ORPHAN && whole;
    if (up->link != UPSTREAM_COPY) {
        settle(up, kept ? UPSTREAM_FREE : UPSTREAM_CLOSED, UPSTREAM_DONE);
    } else {
        up->state = UPSTREAM_TAIL;
        up->paused = false;
        up->sent = up->send.len;
        up->body_sent = true;
        watch_clock(up);
    }
}

static void take_end(struct upstream *up, const struct fcgi_event *event)
{
    bool whole = !up->cut && up->body_sent && up->sent == up->send.len;
    struct request *r = up->request;
    if (event->protocol_status == FCGI_OVERLOADED && (r == NULL || !r->head_sent)) {
        settle(up, UPSTREAM_CLOSED, UPSTREAM_OVERLOADED);
        return;
    }
    if (event->protocol_status != FCGI_REQUEST_COMPLETE) {
        up->reason = "it refused the request";
        give_up(up, UPSTREAM_BROKEN);
        return;
    }
    if (r != NULL) {
        r->up = NULL;
        up->request = NULL;
        if (!r->head_sent) {
            log_error("%s ended a request without an answer (id %s)", up->owner.app->name, r->id);
            request_fail(r, 502, NULL);
        } else if (event->app_status != 0 &&
                   up->link != UPSTREAM_SINGLE) { /* elsewhere it is an exit status */
            log_error("%s broke off its answer (id %s)", up->owner.app->name, r->id);
            request_cut(r);
        } else {
            request_end(r);
        }
    }
    end_exchange(up, whole);
}

static void take_stderr(struct upstream *up, const char *data, size_t len)
{
    while (len > 0 && data[len - 1] == '\n')
        len--;
    if (len == 0 || up->stderr_bytes > STDERR_MAX)
        return;
    if (up->stderr_bytes == 0)
        log_error("%s (id %s):", up->owner.app->name, up->request != NULL ? up->request->id : "-");
    up->stderr_bytes += (uint32_t)len;
    log_text(data, len);
    if (up->stderr_bytes > STDERR_MAX)
        log_error("%s: the rest of what it says about this request is dropped", up->owner.app->name);
}

/* Feeds what was read to the decoder and acts on its facts. False once the request is settled; what a doomed
 * copy still says is not looked at. */
static bool take_bytes(struct upstream *up, const uint8_t *data, size_t len)
{
    struct fcgi_event event;
    if (up->doomed)
        return true;
    while (up->fd != -1 && !up->doomed) {
        size_t n = fcgi_client_next(&up->decoder, data, len, &event);
        data += n;
        len -= n;
        switch (event.type) {
        case FCGI_EVENT_MORE:
            return true;
        case FCGI_EVENT_STDOUT:
            take_stdout(up, (const char *)event.data, event.len);
            break;
        case FCGI_EVENT_STDERR:
            take_stderr(up, (const char *)event.data, event.len);
            break;
        case FCGI_EVENT_STDOUT_END:
            take_stdout_end(up);
            break;
        case FCGI_EVENT_END:
            take_end(up, &event);
            break;
        case FCGI_EVENT_BAD:
            up->reason = event.reason;
            give_up(up, UPSTREAM_BROKEN);
            return false;
        }
    }
    return false;
}

/* End of file or a read error. */
static void take_close(struct upstream *up)
{
    if (up->state == UPSTREAM_FREE)
        settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
    else if (up->state == UPSTREAM_BUSY)
        settle(up, UPSTREAM_CLOSED, up->delivered ? UPSTREAM_DIED : UPSTREAM_UNREACHED);
    else
        settle(up, UPSTREAM_CLOSED, UPSTREAM_DONE);
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
        if (!take_bytes(up, (const uint8_t *)memory_scratch, (size_t)n))
            return;
        if (up->state == UPSTREAM_BUSY && up->request->head_sent) {
            up->paused = !request_room(up->request);
            watch_clock(up);
        }
    }
}

/* False: its time is over. */
static bool on_deadline(struct upstream *up)
{
    if (up->request != NULL && !up->request->head_sent && will_be_slow(up)) {
        up->slow_told++;
        watch_clock(up);
        tell_owner(up, UPSTREAM_SLOW);
        return true;
    }
    give_up(up, up->doomed ? UPSTREAM_HUNG : UPSTREAM_TIMEOUT);
    return false;
}

static void run(struct task *task)
{
    struct upstream *up = LIST_OBJECT(task, struct upstream, task);
    if (up->fd == -1)
        return;
    if (up->deadline.expired && !on_deadline(up))
        return;
    if (sending(up))
        send_more(up);
    receive_more(up, READS_PER_TURN);
    if (up->fd != -1)
        update(up);
}

void upstream_resume(struct upstream *up)
{
    up->paused = false;
    up->readable = true;
    watch_clock(up);
    task_wake(&up->task);
}

void upstream_set_ready(struct upstream *up, enum upstream_link link)
{
    up->link = link;
    up->ready = true;
    if (up->request != NULL)
        up->request->sent = timeq_clock();
    if (up->state == UPSTREAM_BUSY || up->state == UPSTREAM_ORPHAN)
        watch_clock(up);
}

void upstream_drain(struct upstream *up)
{
    up->paused = false;
    for (int reads = 0; up->fd != -1; reads++) {
        ssize_t n = recv(up->fd, memory_scratch, MEMORY_SCRATCH, 0);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0 ||
            reads == READS_DRAIN) { /* the end, an error, or somebody else still holds the other end */
            take_close(up);
            return;
        }
        take_bytes(up, (const uint8_t *)memory_scratch, (size_t)n);
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
    settle(up, UPSTREAM_CLOSED, UPSTREAM_NOTHING);
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
