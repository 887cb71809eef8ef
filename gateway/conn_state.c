/* conn_state.c - see conn_state.h. */
#include "conn_state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "access.h"
#include "log.h"

enum {
    ACCESS_LINE_MAX = 16 * 1024,
    SPARE_LEAST = 512 /* bytes that may be read behind a request that fills its buffer */
};

static struct list *home_of(const struct conn *c)
{
    struct conn_pool *pool = c->pool;
    if (c->state == CONN_IDLE || c->state == CONN_PROXY)
        return &pool->idle;
    if (c->state == CONN_WAIT)
        return &pool->waiting;
    return c->state == CONN_LINGER ? &pool->lingering : &pool->active;
}

void conn_state_move(struct conn *c, enum conn_state state)
{
    const struct list *before = home_of(c);
    if (c->state == CONN_BODY)              /* in which there is a request */
        app_expect(c->request->app, false); /* NOLINT(clang-analyzer-core.NullDereference) */
    if (state == CONN_BODY)
        app_expect(c->request->app, true);
    c->state = (uint8_t)state;
    c->moved = true;
    if (home_of(c) == before)
        return;
    list_remove(&c->node);
    list_append(home_of(c), &c->node);
    if (state == CONN_IDLE && c->pool->count >= c->pool->limit)
        task_wake(c->pool->closed); /* it can make room for one that waits */
}

int conn_state_receive(struct conn *c, char *data, size_t size, size_t *got)
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
    if (c->state != CONN_EXCHANGE) /* what follows a request moves nothing of its answer */
        c->touched = true;
    *got = (size_t)n;
    return 1;
}

bool conn_state_nothing(struct conn *c, int got)
{
    c->waits = 0; /* nothing had come: it was accepted just now */
    if (got < 0)
        conn_state_abandon(c);
    else if (c->pool->draining && home_of(c) == &c->pool->idle)
        conn_state_move(c, CONN_CLOSED);
    return c->state == CONN_CLOSED;
}

/* While a request is answered, what follows it is read into spare capacity only: if buffers grew for it,
 * requests that wait would hold more than [limits] buffers. While nothing has followed yet there are always
 * SPARE_LEAST bytes, so that the client's end is seen. */
size_t conn_state_spare(const struct conn *c)
{
    const struct request *r = c->request;
    size_t spare = r->in.cap - r->in.len;
    return spare > 0 || r->in.len > r->head.size ? spare : SPARE_LEAST;
}

bool conn_state_open(struct conn *c)
{
    c->request = request_new(c->pool->conf, &c->task);
    if (c->request == NULL) {
        log_warning("a client's connection is closed: no memory for its request");
        conn_state_abandon(c);
        return false;
    }
    c->request->began = c->waits != 0 ? c->waits : timeq_clock();
    c->waits = 0;
    return true;
}

void conn_state_rest(struct conn *c)
{
    request_free(c->request);
    c->request = NULL;
    conn_state_move(c, CONN_IDLE);
}

bool conn_state_hurries(const struct conn *c)
{
    return c->pool->draining || c->pool->count >= c->pool->limit;
}

static void describe_peer(struct conn *c)
{
    struct request *r = c->request;
    client_describe(r, &c->peer);
    r->server_addr = c->origin->address;
    r->server_port = c->origin->port;
}

void conn_state_dispatch(struct conn *c, const struct handler *handler)
{
    struct request *r = c->request;
    describe_peer(c);
    r->keep_alive = r->keep_alive && !c->pool->ending;
    r->started = timeq_clock();
    r->handler = handler;
    conn_state_move(c, CONN_EXCHANGE);
    r->handler->start(r);
}

/* Goes with every 405 (RFC 9110 15.5.6). The one of a head is about no app yet: which of these an app takes,
 * only it knows. */
static const char allowed[] = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";

void conn_state_refuse(struct conn *c, unsigned status, const char *detail)
{
    struct request *r = c->request;
    describe_peer(c);
    if (r->head.size == 0 || http_head_has_body(&r->head) || status == 400) {
        r->keep_alive = false;
        c->unread = true;
    }
    request_refuse(r, status, detail, status == 405 ? allowed : "");
    conn_state_move(c, CONN_FLUSH);
}

void conn_state_log(const struct conn *c)
{
    static struct buf line = {.max = ACCESS_LINE_MAX};
    const struct conf *conf = c->pool->conf;
    double ended = timeq_clock();
    if (c->pool->inside) /* who looks does not change what is seen */
        return;
    c->pool->requests++;
    line.len = 0;
    access_count(c->request, ended);
    if (strcmp(conf->access, "off") != 0 &&
        access_line(&line, conf->log_format, c->request, ended, time(NULL)))
        log_access(line.data, line.len);
}

void conn_state_abandon(struct conn *c)
{
    struct request *r = c->request;
    if (r != NULL && r->handler != NULL) {
        r->handler->cancel(r);
        r->handler = NULL;
    }
    if (r != NULL && c->state == CONN_BODY) {
        describe_peer(c);
        request_identify(r);
    }
    if (c->state == CONN_BODY || c->state == CONN_EXCHANGE || c->state == CONN_FLUSH)
        conn_state_log(c);
    conn_state_move(c, CONN_CLOSED);
}

void conn_state_close_by_reset(const struct conn *c)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void conn_state_reset(struct conn *c)
{
    conn_state_close_by_reset(c);
    conn_state_abandon(c);
}
