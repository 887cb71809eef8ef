/* conn_head.c - see conn_head.h.
 *
 *   byte --> parse --> refused: 400 405 414 417 431 501 505
 *                  --> whose is it? health and ready, then the routes: 404 --> a static file: answered now
 *                                                                          --> an app: its body is awaited
 *
 * What can be refused is refused before the body, and before any Python. */
#include "conn_head.h"

#include "client.h"
#include "conn_body.h"
#include "file.h"
#include "file_rules.h"
#include "log.h"
#include "memory.h"
#include "redirect.h"
#include "script.h"
#include "stats.h"
#include "status.h"

/* ---- WAIT ---- */

/* Whether a new head must wait for memory. With no exchange under way nobody would ever end the wait. */
static bool memory_short(const struct conn_pool *pool)
{
    return buf_allocated() >= (uint64_t)pool->conf->buffers && !list_empty(&pool->active) && !pool->inside;
}

bool conn_head_wait(struct conn *c)
{
    if (memory_short(c->pool))
        return false;
    conn_state_move(c, CONN_IDLE);
    return true;
}

void conn_head_wake_waiting(struct conn_pool *pool)
{
    if (!list_empty(&pool->waiting) && !memory_short(pool))
        task_wake(&LIST_OBJECT(pool->waiting.next, struct conn, node)->task);
}

/* ---- what a head leads to ---- */

static void ask_for_body(struct conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct request *r = c->request;
    if (!r->head.expect_continue || r->in.len > r->head.size)
        return;
    /* A socket that cannot take 25 bytes between two exchanges is not worth waiting for: the client sends
     * anyway. Behind some of them no answer can follow. */
    ssize_t sent = send(c->io.fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL);
    if (sent > 0 && (size_t)sent < sizeof(go_on) - 1)
        conn_state_reset(c);
}

static void refuse_for_memory(struct conn *c)
{
    log_warning("503: no memory for the head of a request");
    conn_state_refuse(c, 503, NULL);
}

/* Answered from the head alone: a body is not waited for, and what comes of it is not looked at. */
static void answer_early(struct conn *c, const struct handler *handler)
{
    if (http_head_has_body(&c->request->head)) {
        c->request->keep_alive = false;
        c->unread = true;
    }
    conn_state_dispatch(c, handler);
}

/* The app that a request was routed to is to answer it, as soon as its body is whole. */
static void await_body(struct conn *c)
{
    struct request *r = c->request;
    const struct http_head *h = &r->head;
    int64_t max = r->app_conf->body_size;
    if (max != CONF_OFF && h->has_length && h->content_length > (uint64_t)max) {
        conn_body_refuse_size(c, h->content_length);
    } else if (http_head_has_body(h)) {
        request_expect_body(r);
        conn_state_move(c, CONN_BODY);
        ask_for_body(c);
    } else {
        conn_state_dispatch(c, &app_handler);
    }
}

/* False: the host and path of the request are nobody's. */
static bool find_app(struct conn *c, uint32_t *index)
{
    struct request *r = c->request;
    struct route route;
    const char *host = r->in.data + r->head.authority.off;
    if (!router_find(c->pool->router, host, r->head.authority.len, request_path(r), r->path_len, &route))
        return false;
    r->app_conf = &c->pool->conf->apps[route.app];
    r->script_len = r->app_conf->strip_path ? route.prefix_len : 0;
    *index = route.app;
    return true;
}

/* NULL: no memory for it. */
static void ask_app(struct conn *c, struct app *app)
{
    c->request->app = app;
    if (app != NULL)
        await_body(c);
    else
        conn_state_refuse(c, 503, NULL);
}

/* The path decides what answers: a script of the app, a file, or nothing. */
static void answer_by_path(struct conn *c, struct app *app)
{
    switch (script_find(c->request)) {
    case SCRIPT_RUN:
        ask_app(c, app);
        break;
    case SCRIPT_SEND:
        answer_early(c, &file_handler);
        break;
    case SCRIPT_DIRECTORY:
        answer_early(c, &redirect_handler);
        break;
    case SCRIPT_MISSING:
        conn_state_refuse(c, 404, NULL);
        break;
    case SCRIPT_SHORTAGE:
        conn_state_refuse(c, 503, NULL);
        break;
    }
}

/* A routed request: one of the app's directories answers it, or the app itself. */
static void answer_routed(struct conn *c, uint32_t index)
{
    struct request *r = c->request;
    struct app *app = conn_pool_app(c->pool, index);
    r->stats = app != NULL ? stats_ref(app->stats) : NULL;
    r->files = file_rules_find(r->app_conf, request_path(r), r->path_len);
    if (r->files != NULL)
        answer_early(c, &file_handler);
    else if (r->app_conf->script_tail != NULL)
        answer_by_path(c, app);
    else
        ask_app(c, app);
}

static void on_head(struct conn *c)
{
    struct request *r = c->request;
    uint32_t app;
    request_adopt(r, c->pool->conf);
    r->keep_alive = r->head.keep_alive && !c->pool->ending;
    client_learn(r, &c->peer, c->pool->forwarded);
    if (!request_set_path(r)) {
        if (r->path_memory == NULL)
            refuse_for_memory(c);
        else
            conn_state_refuse(c, 400, "the path cannot be decoded");
        return;
    }
    if (r->head.websocket) {
        conn_state_refuse(c, 501, "websockets are not supported");
        return;
    }
    r->facts = c->pool->facts;
    const struct handler *handler = c->pool->inside ? status_find_all(r->facts, r) : status_find(r->facts, r);
    if (handler != NULL)
        answer_early(c, handler);
    else if (find_app(c, &app))
        answer_routed(c, app);
    else
        conn_state_refuse(c, 404, NULL);
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
        conn_state_refuse(c, r->head.status, r->head.reason);
        return true;
    case HTTP_MORE:
        break;
    }
    return false;
}

/* Bytes that nobody has parsed: they came behind the last request, or behind a PROXY header. */
static bool has_unparsed(const struct conn *c)
{
    const struct request *r = c->request;
    return r != NULL && r->in.len > 0 && r->head.scanned == 0 && r->head.line == 0;
}

/* n bytes have come. False: there is no room for them, and the state is another one. */
static bool take_bytes(struct conn *c, size_t n)
{
    if (c->request == NULL) {
        if (!conn_state_open(c))
            return false;
        conn_state_move(c, CONN_HEAD);
    } else if (n > c->request->in.cap - c->request->in.len && memory_short(c->pool)) {
        conn_state_refuse(c, 503, NULL); /* it was let in for its first bytes, and holds what it has */
        return false;
    }
    if (buf_put(&c->request->in, memory_scratch, n))
        return true;
    if (buf_full(&c->request->in, n))
        conn_state_refuse(c, 431, NULL);
    else
        refuse_for_memory(c);
    return false;
}

bool conn_head_step(struct conn *c)
{
    size_t n;
    if (has_unparsed(c) && parse_head(c))
        return true;
    if (c->request == NULL && c->readable && memory_short(c->pool)) {
        conn_state_move(c, CONN_WAIT);
        c->waits = c->waits != 0 ? c->waits : timeq_clock();
        return false;
    }
    int got = conn_state_receive(c, memory_scratch, CONN_READ, &n);
    if (got <= 0)
        return conn_state_nothing(c, got);
    return !take_bytes(c, n) || parse_head(c);
}
