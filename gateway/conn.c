/* conn.c - see conn.h.
 *
 *   IDLE --byte--> HEAD --whole head--> [BODY] --whole body--> EXCHANGE --answer complete--> FLUSH
 *                   |                     |                     |                            |
 *                   +----- error page ----+---------------------|--------------------------->|
 *                                                               +-- client gone --> CLOSED   |
 *   FLUSH leads to IDLE, to HEAD when the next request is there already, to LINGER when input is left
 *   unread, else to CLOSED; LINGER leads to CLOSED.
 *
 * With proxy_protocol = on a connection begins in PROXY, which its PROXY header ends: then it is IDLE, or
 * HEAD when more has come. A new head waits in WAIT while [limits] buffers is used up; then it is IDLE's byte
 * again.
 *
 * Callbacks only wake the task. step() says what a state does next; update() alone derives watcher and
 * deadline from the state. After an error nothing that was buffered is looked at again: such an answer always
 * closes. */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "access.h"
#include "client.h"
#include "file.h"
#include "file_rules.h"
#include "log.h"
#include "memory.h"
#include "request.h"
#include "status.h"
#include "timeq.h"
#include "units.h"

enum conn_state {
    CONN_IDLE,
    CONN_PROXY,
    CONN_WAIT,
    CONN_HEAD,
    CONN_BODY,
    CONN_EXCHANGE,
    CONN_FLUSH,
    CONN_LINGER,
    CONN_CLOSED
};

enum {
    HEAD_READ = 16 * 1024,     /* one read that may bring bytes of a following request */
    LINGER_MS = 2000,          /* how long unread input is discarded before the socket is closed */
    LINGER_BYTES = 256 * 1024, /* and how much of it */
    BODY_RATE = 500,           /* bytes per second that a body must bring on average, after `body` */
    ACCESS_LINE_MAX = 16 * 1024,
    SEND_TURN = 1024 * 1024, /* bytes written in one turn before others get theirs */
    TURN_STEPS = 8           /* states passed in one turn before others get theirs */
};

struct conn {
    ev_io io;
    struct task task;
    struct timeq_entry deadline;
    struct list node; /* pool->idle, pool->waiting or pool->active */
    struct conn_pool *pool;
    struct request *request; /* NULL in IDLE and WAIT; in PROXY only its `in` is used */
    const struct conn_origin *origin;
    uint32_t discarded; /* LINGER: bytes thrown away so far */
    int armed;          /* events that `io` waits for */
    uint8_t state;
    bool readable; /* a read may bring something */
    bool touched;  /* bytes moved since the deadline was set */
    bool unread;   /* input is left that nobody will read */
    bool moved;    /* the state was entered since the deadline was set */
    bool timed;    /* a deadline is set */
    union client_peer peer;
};

static void run(struct task *task);

/* ---- deadlines and watchers ---- */

static bool output_pending(const struct conn *c)
{
    return c->request != NULL && body_left(&c->request->out) > 0;
}

static int64_t deadline_of(const struct conn *c)
{
    const struct conf *conf = c->pool->conf;
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
        return conf->keepalive;
    case CONN_PROXY:
    case CONN_WAIT:
    case CONN_HEAD:
        return conf->header;
    case CONN_BODY:
        return conf->body;
    case CONN_EXCHANGE:
    case CONN_FLUSH:
        return output_pending(c) ? conf->send : CONF_OFF;
    case CONN_LINGER:
        return LINGER_MS;
    case CONN_CLOSED:
        break;
    }
    return CONF_OFF;
}

static int events_of(const struct conn *c)
{
    const struct buf *in = c->request != NULL ? &c->request->in : NULL;
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
    case CONN_PROXY:
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_LINGER:
        return EV_READ;
    case CONN_EXCHANGE:
        return (buf_full(in, 1) ? 0 : EV_READ) | (output_pending(c) ? EV_WRITE : 0);
    case CONN_FLUSH:
        return EV_WRITE;
    case CONN_WAIT:
    case CONN_CLOSED:
        break;
    }
    return 0;
}

static void update(struct conn *c)
{
    int events = events_of(c);
    if (events != c->armed) {
        int fd = c->io.fd;
        ev_io_stop(c->pool->loop, &c->io);
        ev_io_set(&c->io, fd, events);
        ev_io_start(c->pool->loop, &c->io);
        c->armed = events;
    }
    /* PROXY and HEAD have one deadline for the whole head, LINGER one for all; the others start anew with
     * every byte. */
    bool fixed = c->state == CONN_PROXY || c->state == CONN_HEAD || c->state == CONN_LINGER;
    int64_t ms = deadline_of(c);
    if (c->moved || (c->touched && !fixed) || c->timed != (ms >= 0))
        timeq_start(timeq_get(ms), &c->deadline, &c->task);
    c->timed = ms >= 0;
    c->moved = c->touched = false;
}

static void on_event(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct conn *c = io->data;
    c->readable = c->readable || (events & EV_READ) != 0;
    task_wake(&c->task);
}

/* ---- the end ---- */

static void write_access(const struct conn *c)
{
    static struct buf line = {.max = ACCESS_LINE_MAX};
    const struct conf *conf = c->pool->conf;
    line.len = 0;
    if (strcmp(conf->access, "off") != 0 &&
        access_line(&line, conf->log_format, c->request, timeq_clock(), time(NULL)))
        log_access(line.data, line.len);
}

static struct list *home_of(const struct conn *c)
{
    struct conn_pool *pool = c->pool;
    if (c->state == CONN_IDLE || c->state == CONN_PROXY)
        return &pool->idle;
    return c->state == CONN_WAIT ? &pool->waiting : &pool->active;
}

static void move_to(struct conn *c, enum conn_state state)
{
    const struct list *before = home_of(c);
    c->state = (uint8_t)state;
    c->moved = true;
    if (home_of(c) == before)
        return;
    list_remove(&c->node);
    list_append(home_of(c), &c->node);
    if (state == CONN_IDLE && c->pool->count >= (uint64_t)c->pool->conf->connections)
        task_wake(c->pool->closed); /* it can make room for one that waits */
}

static void destroy(struct conn *c)
{
    struct conn_pool *pool = c->pool;
    ev_io_stop(pool->loop, &c->io);
    timeq_stop(&c->deadline);
    task_cancel(&c->task);
    list_remove(&c->node);
    if (c->request != NULL)
        request_free(c->request);
    close(c->io.fd);
    free(c);
    pool->count--;
    task_wake(pool->closed);
}

/* The client is gone, or must not be served any longer: its exchange ends without it. */
static void abandon(struct conn *c)
{
    struct request *r = c->request;
    if (r != NULL && r->handler != NULL) {
        r->handler->cancel(r);
        r->handler = NULL;
    }
    if (c->state == CONN_EXCHANGE || c->state == CONN_FLUSH)
        write_access(c);
    move_to(c, CONN_CLOSED);
}

/* close() will send a reset: the end of the connection must not look like the end of the answer. */
static void close_by_reset(const struct conn *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* The client must see that its answer is not whole, also where only the end of the connection ends it. */
static void reset(struct conn *c)
{
    close_by_reset(c);
    abandon(c);
}

static void start_linger(struct conn *c)
{
    shutdown(c->io.fd, SHUT_WR);
    request_free(c->request);
    c->request = NULL;
    c->discarded = 0;
    move_to(c, CONN_LINGER);
}

/* The exchange is over and all of its answer was written. */
static void finish_exchange(struct conn *c)
{
    struct request *r = c->request;
    write_access(c);
    if (r->cut) {
        if (r->framing == HTTP_FRAMING_CLOSE)
            close_by_reset(c);
        move_to(c, CONN_CLOSED);
    } else if (!r->keep_alive) {
        if (c->unread || r->in.len > r->head.size)
            start_linger(c);
        else
            move_to(c, CONN_CLOSED);
    } else if (r->in.len > r->head.size) {
        request_next(r);
        r->began = timeq_clock();
        move_to(c, CONN_HEAD);
    } else {
        request_free(r);
        c->request = NULL;
        move_to(c, CONN_IDLE);
    }
}

/* ---- answers of our own ---- */

static void describe_peer(struct conn *c)
{
    struct request *r = c->request;
    client_describe(r, &c->peer);
    r->server_addr = c->origin->address;
    r->server_port = c->origin->port;
}

static bool expects_body(const struct http_head *h)
{
    return h->chunked || (h->has_length && h->content_length > 0);
}

/* Answers with an error. The connection goes on only where the request was whole and nothing was wrong with
 * its form; else what the client still sends is not looked at. */
static void refuse(struct conn *c, unsigned status, const char *detail)
{
    struct request *r = c->request;
    describe_peer(c);
    if (r->head.size == 0 || expects_body(&r->head) || status == 400) {
        r->keep_alive = false;
        c->unread = true;
    }
    request_fail(r, status, detail);
    move_to(c, CONN_FLUSH);
}

/* `length`: what was announced; 0 for a chunked body, which only shows to be too large. */
static void refuse_size(struct conn *c, uint64_t length)
{
    const struct conf_app *app = c->request->app_conf;
    char limit[UNITS_TEXT];
    units_size_text(app->body_size, limit);
    if (length > 0)
        log_info("413: %.1f MB > body_size %s; raise it in [app:%s]", (double)length / 1e6, limit, app->name);
    else
        log_info("413: chunked body > body_size %s; raise it in [app:%s]", limit, app->name);
    refuse(c, 413, NULL);
}

/* ---- WAIT ---- */

/* Whether a new head must wait for memory. With no exchange under way nobody would ever end the wait. */
static bool memory_short(const struct conn_pool *pool)
{
    return buf_allocated() >= (uint64_t)pool->conf->buffers && !list_empty(&pool->active);
}

static bool step_wait(struct conn *c)
{
    if (memory_short(c->pool))
        return false;
    move_to(c, CONN_IDLE);
    return true;
}

/* Whoever waits longest is next; its own turn wakes the one behind it. */
static void wake_waiting(struct conn_pool *pool)
{
    if (!list_empty(&pool->waiting) && !memory_short(pool))
        task_wake(&LIST_OBJECT(pool->waiting.next, struct conn, node)->task);
}

/* ---- HEAD ---- */

/* Reads what there is. 1: bytes, 0: nothing now, -1: the client is gone. */
static int receive(struct conn *c, char *data, size_t size, size_t *got)
{
    ssize_t n;
    if (!c->readable)
        return 0;
    do
        n = recv(c->io.fd, data, size, 0);
    while (n == -1 && errno == EINTR);
    c->readable = n == (ssize_t)size; /* less than asked for: nothing is left, the loop tells of more */
    if (n == -1 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return -1;
    c->touched =
        c->touched || c->state != CONN_EXCHANGE; /* what follows a request moves nothing of its answer */
    *got = (size_t)n;
    return 1;
}

static struct app *app_for(struct conn_pool *pool, uint32_t index)
{
    if (pool->apps[index] == NULL)
        pool->apps[index] = app_new(pool->app_shared, pool->conf, &pool->conf->apps[index]);
    return pool->apps[index];
}

static void dispatch(struct conn *c, const struct handler *handler)
{
    struct request *r = c->request;
    describe_peer(c);
    r->keep_alive = r->keep_alive && !c->pool->draining;
    r->started = timeq_clock();
    r->handler = handler;
    move_to(c, CONN_EXCHANGE);
    r->handler->start(r);
}

static void ask_for_body(struct conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct request *r = c->request;
    if (!r->head.expect_continue || r->in.len > r->head.size)
        return;
    /* A socket that cannot take 25 bytes between two exchanges is not worth waiting for: the client sends
     * anyway. */
    (void)!send(c->io.fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL);
}

/* Answered from the head alone: a body is not waited for, and what comes of it is not looked at. */
static void answer_early(struct conn *c, const struct handler *handler)
{
    if (expects_body(&c->request->head)) {
        c->request->keep_alive = false;
        c->unread = true;
    }
    dispatch(c, handler);
}

/* The app that a request was routed to is to answer it, as soon as its body is whole. */
static void await_body(struct conn *c)
{
    struct request *r = c->request;
    const struct http_head *h = &r->head;
    int64_t max = r->app_conf->body_size;
    if (max != CONF_OFF && h->has_length && h->content_length > (uint64_t)max) {
        refuse_size(c, h->content_length);
    } else if (expects_body(h)) {
        request_expect_body(r);
        ask_for_body(c);
        move_to(c, CONN_BODY);
    } else {
        dispatch(c, &app_handler);
    }
}

/* Who answers a routed request; NULL: no memory. */
static const struct handler *choose_handler(struct conn *c, uint32_t app)
{
    struct request *r = c->request;
    r->files = file_rules_find(r->app_conf, request_path(r), r->path_len);
    if (r->files != NULL)
        return &file_handler;
    r->app = app_for(c->pool, app);
    return r->app != NULL ? &app_handler : NULL;
}

/* The head is whole: what can be refused is refused before the body, and before any Python. */
static void on_head(struct conn *c)
{
    struct request *r = c->request;
    struct route route;
    const struct http_head *h = &r->head;
    r->keep_alive = h->keep_alive && !c->pool->draining;
    client_learn(r, &c->peer, c->pool->forwarded);
    if (!request_set_path(r)) {
        if (r->path_memory != NULL)
            refuse(c, 400, "the path cannot be decoded");
        else
            refuse(c, 503, NULL);
        return;
    }
    if (h->websocket) {
        refuse(c, 501, "websockets are not supported");
        return;
    }
    const struct handler *handler = status_find(c->pool->conf, c->pool->apps, c->pool->draining, r);
    if (handler != NULL) {
        answer_early(c, handler);
        return;
    }
    if (!router_find(c->pool->router, r->in.data + h->authority.off, h->authority.len, request_path(r),
                     r->path_len, &route)) {
        refuse(c, 404, NULL);
        return;
    }
    r->app_conf = &c->pool->conf->apps[route.app];
    r->script_len = r->app_conf->strip_path ? route.prefix_len : 0;
    handler = choose_handler(c, route.app);
    if (handler == NULL)
        refuse(c, 503, NULL);
    else if (handler == &app_handler)
        await_body(c);
    else
        answer_early(c, handler);
}

static bool parse_head(struct conn *c)
{
    const struct conf *conf = c->pool->conf;
    const struct http_head_limits limits = {
        .request_line = (uint32_t)conf->request_line,
        .size = (uint32_t)conf->headers,
        .field_count = (uint32_t)conf->header_count,
    };
    struct request *r = c->request;
    switch (http_head_parse(&r->head, r->in.data, r->in.len, &limits)) {
    case HTTP_DONE:
        on_head(c);
        return true;
    case HTTP_BAD:
        refuse(c, r->head.status, r->head.reason);
        return true;
    case HTTP_MORE:
        break;
    }
    return false;
}

/* Its first byte has come. False: no memory, the connection is given up. */
static bool open_request(struct conn *c)
{
    c->request = request_new(c->pool->conf, &c->task);
    if (c->request == NULL) {
        abandon(c);
        return false;
    }
    c->request->began = timeq_clock();
    return true;
}

static bool step_head(struct conn *c)
{
    size_t n;
    if (c->request != NULL && c->request->in.len > 0 && c->request->head.scanned == 0 &&
        c->request->head.line == 0 && parse_head(c)) /* a request that came behind the last one */
        return true;
    if (c->request == NULL && c->readable && memory_short(c->pool)) {
        move_to(c, CONN_WAIT);
        return false;
    }
    int got = receive(c, memory_scratch, HEAD_READ, &n);
    if (got < 0)
        abandon(c);
    else if (got == 0 && c->state == CONN_IDLE && c->pool->draining)
        move_to(c, CONN_CLOSED);
    if (got <= 0)
        return c->state == CONN_CLOSED;
    if (c->request == NULL) {
        if (!open_request(c))
            return true;
        move_to(c, CONN_HEAD);
    }
    if (!buf_put(&c->request->in, memory_scratch, n)) {
        refuse(c, 431, NULL);
        return true;
    }
    return parse_head(c);
}

/* ---- PROXY ---- */

/* The PROXY header is whole; what follows it is HTTP. */
static void on_proxy_header(struct conn *c, const struct proxy_protocol *header)
{
    struct request *r = c->request;
    client_proxied(&c->peer, c->pool->forwarded, header);
    buf_consume(&r->in, header->size);
    r->began = timeq_clock();
    if (r->in.len > 0) {
        move_to(c, CONN_HEAD);
    } else {
        request_free(r);
        c->request = NULL;
        move_to(c, CONN_IDLE);
    }
}

static bool step_proxy(struct conn *c)
{
    struct proxy_protocol header;
    size_t n;
    int got = receive(c, memory_scratch, PROXY_PROTOCOL_MAX, &n);
    if (got < 0)
        abandon(c);
    else if (got == 0 && c->pool->draining)
        move_to(c, CONN_CLOSED);
    if (got <= 0)
        return c->state == CONN_CLOSED;
    if (c->request == NULL && !open_request(c))
        return true;
    if (!buf_put(&c->request->in, memory_scratch, n)) {
        abandon(c);
        return true;
    }
    switch (proxy_protocol_parse(c->request->in.data, c->request->in.len, &header)) {
    case HTTP_DONE:
        on_proxy_header(c, &header);
        return true;
    case HTTP_BAD:
        client_unproxied(&c->peer);
        abandon(c);
        return true;
    case HTTP_MORE:
        break;
    }
    return false;
}

/* ---- BODY ---- */

/* Acts on what became of body bytes. 1: the body is whole, 0: more must come, -1: it was refused. */
static int on_intake(struct conn *c, enum request_intake intake)
{
    switch (intake) {
    case REQUEST_INTAKE_MORE:
        return 0;
    case REQUEST_INTAKE_WHOLE:
        return 1;
    case REQUEST_INTAKE_BAD:
        refuse(c, 400, c->request->chunked.reason);
        break;
    case REQUEST_INTAKE_TOO_LARGE:
        refuse_size(c, 0);
        break;
    case REQUEST_INTAKE_NO_ROOM:
        log_error("a request body cannot be kept: %s",
                  errno == EDQUOT ? "[limits] spool is used up" : strerror(errno));
        refuse(c, 503, NULL);
        break;
    }
    return -1;
}

/* What dribbles in faster than `body` between two reads must still bring BODY_RATE on average. */
static bool too_slow(const struct conn *c)
{
    const struct request *r = c->request;
    double allowed = (double)c->pool->conf->body / 1e3 + (double)body_len(&r->body) / BODY_RATE;
    return timeq_now() - r->body_began > allowed;
}

static bool step_body(struct conn *c)
{
    struct request *r = c->request;
    size_t consumed, n;
    int whole;
    if (r->in.len > r->head.size) { /* what came with the head */
        char *data = r->in.data + r->head.size;
        size_t len = r->in.len - r->head.size;
        whole = on_intake(c, request_take(r, data, len, &consumed));
        if (whole >= 0) {
            memmove(data, data + consumed, len - consumed);
            r->in.len -= (uint32_t)consumed;
        }
    } else {
        size_t want = r->head.chunked                 ? HEAD_READ
                      : r->body_left < MEMORY_SCRATCH ? (size_t)r->body_left
                                                      : MEMORY_SCRATCH;
        int got = receive(c, memory_scratch, want, &n);
        if (got <= 0) {
            if (got < 0)
                abandon(c);
            return got < 0;
        }
        whole = on_intake(c, request_take(r, memory_scratch, n, &consumed));
        if (whole > 0 && !buf_put(&r->in, memory_scratch + consumed, n - consumed)) {
            refuse(c, 431, NULL);
            whole = -1;
        }
    }
    if (whole > 0)
        dispatch(c, &app_handler);
    else if (whole == 0 && too_slow(c))
        refuse(c, 408, "the request's body came too slowly");
    return true;
}

/* ---- EXCHANGE and FLUSH ---- */

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
    return sent != -1 || errno == EAGAIN;
}

/* Looks whether the client is still there, into spare room only. False: it is gone. */
static bool watch_client(struct conn *c)
{
    struct request *r = c->request;
    size_t n;
    size_t room = r->in.max - r->in.len;
    if (room == 0)
        return true;
    int got = receive(c, memory_scratch, room < HEAD_READ ? room : HEAD_READ, &n);
    if (got <= 0)
        return got == 0;
    return buf_put(&r->in, memory_scratch, n);
}

static bool step_exchange(struct conn *c)
{
    struct request *r = c->request;
    if (!write_answer(c)) {
        abandon(c);
        return true;
    }
    if (r->ended || r->cut) {
        move_to(c, CONN_FLUSH);
        return true;
    }
    if (!watch_client(c)) {
        abandon(c);
        return true;
    }
    if (r->starved && request_room(r) && r->handler != NULL)
        r->handler->resume(r);
    return false;
}

static bool step_flush(struct conn *c)
{
    if (!write_answer(c)) {
        abandon(c);
        return true;
    }
    if (output_pending(c))
        return false;
    finish_exchange(c);
    return true;
}

/* ---- LINGER ---- */

static bool step_linger(struct conn *c)
{
    size_t n;
    int got = receive(c, memory_scratch, MEMORY_SCRATCH, &n);
    if (got == 0)
        return false;
    if (got > 0)
        c->discarded += (uint32_t)n;
    if (got < 0 || c->discarded > LINGER_BYTES)
        move_to(c, CONN_CLOSED);
    return true;
}

/* ---- the machine ---- */

static bool only_empty_line(const struct buf *in)
{
    return in->len <= 2 && memcmp(in->data, "\r\n", in->len) == 0;
}

static void on_deadline(struct conn *c)
{
    c->deadline.expired = false;
    switch ((enum conn_state)c->state) {
    case CONN_HEAD:
        if (only_empty_line(&c->request->in)) { /* behind a body, as old clients send it (RFC 9112 2.2) */
            move_to(c, CONN_CLOSED);
            break;
        }
        refuse(c, 408, "the request's head did not come in time");
        break;
    case CONN_BODY:
        refuse(c, 408, "the request's body did not come in time");
        break;
    case CONN_EXCHANGE:
    case CONN_FLUSH:
        reset(c);
        break;
    default:
        move_to(c, CONN_CLOSED);
    }
}

/* One step of the current state. True: go on at once; false: wait for an event. */
static bool step(struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_PROXY:
        return step_proxy(c);
    case CONN_WAIT:
        return step_wait(c);
    case CONN_IDLE:
    case CONN_HEAD:
        return step_head(c);
    case CONN_BODY:
        return step_body(c);
    case CONN_EXCHANGE:
        return step_exchange(c);
    case CONN_FLUSH:
        return step_flush(c);
    case CONN_LINGER:
        return step_linger(c);
    case CONN_CLOSED:
        break;
    }
    return false;
}

static void run(struct task *task)
{
    struct conn *c = LIST_OBJECT(task, struct conn, task);
    struct conn_pool *pool = c->pool;
    int steps = 0;
    if (c->deadline.expired)
        on_deadline(c);
    while (step(c) && ++steps < TURN_STEPS)
        ;
    if (c->state == CONN_CLOSED) {
        destroy(c);
    } else {
        if (steps == TURN_STEPS)
            task_wake(&c->task);
        update(c);
    }
    wake_waiting(pool);
}

/* ---- life ---- */

bool conn_accept(struct conn_pool *pool, int fd, const struct sockaddr *peer, socklen_t peer_len,
                 const struct conn_origin *origin)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        close(fd);
        return false;
    }
    c->pool = pool;
    c->origin = origin;
    c->state = pool->conf->proxy_protocol ? CONN_PROXY : CONN_IDLE;
    client_peer_init(&c->peer, peer, peer_len);
    ev_io_init(&c->io, on_event, fd, EV_READ);
    c->io.data = c;
    c->moved = true;
    task_init(&c->task, run);
    list_append(&pool->idle, &c->node);
    pool->count++;
    c->readable = true; /* the first bytes are mostly there already */
    task_wake(&c->task);
    return true;
}

bool conn_close_idle(struct conn_pool *pool)
{
    struct list *node, *after;
    LIST_EACH (node, after, &pool->idle) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        if (c->readable) /* just accepted, or its next request is there: not looked at yet */
            continue;
        destroy(c);
        return true;
    }
    return false;
}

void conn_close_all(struct conn_pool *pool, bool now)
{
    struct list *node, *after;
    LIST_EACH (node, after, &pool->idle) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        c->readable = true; /* a request may have come: step_head looks, and closes where there is none */
        if (now)
            destroy(c);
        else
            task_wake(&c->task);
    }
    if (now)
        LIST_EACH (node, after, &pool->waiting)
            destroy(LIST_OBJECT(node, struct conn, node));
    LIST_EACH (node, after, &pool->active) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        if (now) {
            reset(c);
            destroy(c);
        } else if (c->request != NULL && !c->request->head_sent) {
            c->request->keep_alive = false;
        }
    }
}
