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
 * again, or, when its time is over, 503.
 *
 * Callbacks only wake the task. step() says what a state does next; update() alone derives watcher and
 * deadline from the state. After an error nothing that was buffered is looked at again: such an answer always
 * closes. */
#include "conn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_answer.h"
#include "conn_body.h"
#include "conn_head.h"
#include "conn_proxy.h"
#include "conn_state.h"
#include "log.h"
#include "stats.h"

enum { TURN_STEPS = 8 }; /* states passed in one turn before others get theirs */

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
        return conn_state_hurries(c) ? LINGER_HURRY : LINGER_MS;
    case CONN_CLOSED:
        break;
    }
    return CONF_OFF;
}

static int events_of(const struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
    case CONN_PROXY:
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_LINGER:
        return EV_READ;
    case CONN_EXCHANGE:
        return (conn_state_spare(c) == 0 ? 0 : EV_READ) | (output_pending(c) ? EV_WRITE : 0);
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
    /* PROXY and HEAD have one deadline for the whole head; the others start anew with every byte. */
    bool fixed = c->state == CONN_PROXY || c->state == CONN_HEAD;
    int64_t ms = deadline_of(c);
    if (c->moved || (c->touched && !fixed) || timeq_waiting(&c->deadline) != (ms >= 0))
        timeq_start(timeq_get(ms), &c->deadline, &c->task);
    c->moved = c->touched = false;
}

static void on_event(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct conn *c = io->data;
    c->readable = c->readable || (events & EV_READ) != 0;
    c->deaf = c->deaf || (events & EV_ERROR) != 0;
    task_wake(&c->task);
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
    conn_origin_unref(c->origin);
    free(c);
    pool->count--;
    task_wake(pool->closed);
}

/* ---- the machine ---- */

static bool only_empty_line(const struct buf *in)
{
    return in->len <= 2 && memcmp(in->data, "\r\n", in->len) == 0;
}

/* Memory was short for too long. Where nothing has come there is nothing to answer. */
static void end_waiting(struct conn *c)
{
    char byte;
    if (recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        conn_state_move(c, CONN_CLOSED);
    else if (conn_state_open(c))
        conn_state_refuse(c, 503, NULL);
}

static void on_deadline(struct conn *c)
{
    c->deadline.expired = false;
    switch ((enum conn_state)c->state) {
    case CONN_HEAD:
        if (only_empty_line(&c->request->in)) { /* behind a body, as old clients send it (RFC 9112 2.2) */
            conn_state_move(c, CONN_CLOSED);
            break;
        }
        conn_state_refuse(c, 408, "the request's head did not come in time");
        break;
    case CONN_WAIT:
        end_waiting(c);
        break;
    case CONN_BODY:
        conn_state_refuse(c, 408, "the request's body did not come in time");
        break;
    case CONN_EXCHANGE:
    case CONN_FLUSH:
        conn_state_reset(c);
        break;
    default:
        conn_state_move(c, CONN_CLOSED);
    }
}

static void give_up(struct conn *c)
{
    log_warning("a client's connection is closed: it cannot be watched (no memory, or "
                "fs.epoll.max_user_watches)");
    if (c->state == CONN_EXCHANGE || c->state == CONN_FLUSH)
        conn_state_reset(c);
    else
        conn_state_abandon(c);
}

/* One step of the current state. True: go on at once; false: wait for an event. */
static bool step(struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_PROXY:
        return conn_proxy_step(c);
    case CONN_WAIT:
        return conn_head_wait(c);
    case CONN_IDLE:
    case CONN_HEAD:
        return conn_head_step(c);
    case CONN_BODY:
        return conn_body_step(c);
    case CONN_EXCHANGE:
        return conn_answer_exchange(c);
    case CONN_FLUSH:
        return conn_answer_flush(c);
    case CONN_LINGER:
        return conn_answer_linger(c);
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
    if (c->deaf && c->state != CONN_CLOSED)
        give_up(c);
    if (c->state == CONN_CLOSED) {
        destroy(c);
    } else {
        if (steps == TURN_STEPS)
            task_wake(&c->task);
        update(c);
    }
    conn_head_wake_waiting(pool);
}

/* ---- life ---- */

void conn_origin_unref(struct conn_origin *origin)
{
    if (--origin->refs == 0)
        free(origin);
}

bool conn_accept(struct conn_pool *pool, int fd, const struct sockaddr *peer, socklen_t peer_len,
                 struct conn_origin *origin)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        log_warning("a client's connection is closed: no memory");
        close(fd);
        return false;
    }
    c->pool = pool;
    c->origin = origin;
    origin->refs++;
    c->state = pool->conf->proxy_protocol && !pool->inside ? CONN_PROXY : CONN_IDLE;
    client_peer_init(&c->peer, peer, peer_len);
    ev_io_init(&c->io, on_event, fd, EV_READ);
    c->io.data = c;
    c->moved = true;
    task_init(&c->task, run);
    list_append(&pool->idle, &c->node);
    pool->count++;
    pool->made++;
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
        stats_globals[STATS_CLOSED_IDLE] += !pool->inside;
        destroy(c);
        return true;
    }
    return false;
}

void conn_end_all(struct conn_pool *pool)
{
    struct list *node, *after;
    pool->ending = true;
    LIST_EACH (node, after, &pool->active) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        if (c->request != NULL && !c->request->head_sent)
            c->request->keep_alive = false;
    }
}

static void close_soon(struct conn *c, bool now)
{
    if (now)
        destroy(c);
    else
        task_wake(&c->task);
}

void conn_close_all(struct conn_pool *pool, bool now)
{
    struct list *node, *after;
    LIST_EACH (node, after, &pool->idle) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        c->readable = true; /* a request may have come: its step looks, and closes where there is none */
        close_soon(c, now);
    }
    LIST_EACH (node, after, &pool->lingering) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        c->moved = true; /* its deadline is another one now */
        close_soon(c, now);
    }
    if (!now)
        return;
    LIST_EACH (node, after, &pool->waiting)
        destroy(LIST_OBJECT(node, struct conn, node));
    LIST_EACH (node, after, &pool->active) {
        struct conn *c = LIST_OBJECT(node, struct conn, node);
        conn_state_reset(c);
        destroy(c);
    }
}
