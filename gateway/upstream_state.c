/* upstream_state.c - see upstream_state.h. */
#include "upstream_state.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
    SLOW_TOLD_MAX = 2,       /* how often a request is said to be slow */
    DOOM_MIN_MS = 1000,      /* a copy that was killed has this long to be gone, whatever stop_timeout says */
    KEEP_CAPACITY = 8 * 1024 /* buffers larger than this are given back between requests */
};

bool upstream_goes_on(const struct upstream *up)
{
    return up->link == UPSTREAM_KEPT || up->link == UPSTREAM_TASK;
}

bool upstream_sending(const struct upstream *up)
{
    return up->sent < up->send.len || (up->state == UPSTREAM_BUSY && !up->body_sent);
}

void upstream_send_no_more(struct upstream *up)
{
    up->sent = up->send.len;
    up->body_sent = up->cut = true;
}

void upstream_update(struct upstream *up)
{
    int events = 0;
    if (up->state != UPSTREAM_CLOSED)
        events = (up->paused ? 0 : EV_READ) | (upstream_sending(up) ? EV_WRITE : 0);
    if (events == up->armed)
        return;
    up->armed = events;
    ev_io_stop(up->owner.loop, &up->io);
    ev_io_set(&up->io, up->fd, events);
    if (events != 0)
        ev_io_start(up->owner.loop, &up->io);
}

bool upstream_will_be_slow(const struct upstream *up)
{
    const struct conf_app *app = up->owner.app;
    if (up->state != UPSTREAM_BUSY || app->slow == CONF_OFF || up->slow_told == SLOW_TOLD_MAX)
        return false;
    return app->request_timeout == CONF_OFF || app->slow * (up->slow_told + 1) < app->request_timeout;
}

/* Milliseconds to the next thing that happens to a request without a head: it is told as slow (again), or its
 * time is over. */
static int64_t until_head(const struct upstream *up)
{
    const struct conf_app *app = up->owner.app;
    if (upstream_will_be_slow(up))
        return app->slow;
    if (app->request_timeout == CONF_OFF || up->slow_told == 0)
        return app->request_timeout;
    return app->request_timeout - app->slow * up->slow_told;
}

void upstream_watch_clock(struct upstream *up)
{
    const struct request *r = up->request;
    int64_t ms = CONF_OFF;
    if (up->state == UPSTREAM_DOOMED && up->spared)
        ms = STACKS_MS;
    else if (up->state == UPSTREAM_DOOMED)
        ms = up->owner.app->stop_timeout > DOOM_MIN_MS ? up->owner.app->stop_timeout : DOOM_MIN_MS;
    else if (up->ready && up->state == UPSTREAM_ORPHAN)
        ms = up->owner.app->request_timeout;
    else if (up->ready && r != NULL && !r->head_sent)
        ms = until_head(up);
    else if (up->state == UPSTREAM_BUSY && up->ready && !up->paused)
        ms = up->owner.app->stream_timeout;
    timeq_start(timeq_get(ms), &up->deadline, &up->task);
}

void upstream_empty(const struct upstream *up, struct buf *b)
{
    b->len = 0;
    if (b->cap > KEEP_CAPACITY || buf_allocated() >= (uint64_t)up->owner.conf->buffers)
        buf_free(b);
}

void upstream_tell(struct upstream *up, enum upstream_result result)
{
    up->result = result;
    if (!list_linked(&up->done))
        list_append(up->owner.done, &up->done);
    task_wake(up->owner.task);
}

void upstream_settle(struct upstream *up, enum upstream_state next, enum upstream_result result)
{
    up->state = next;
    up->paused = false;
    up->sent = 0;
    upstream_empty(up, &up->send);
    upstream_empty(up, &up->head);
    timeq_stop(&up->deadline);
    upstream_update(up);
    if (next == UPSTREAM_CLOSED && up->fd != -1) {
        close(up->fd);
        up->fd = -1;
    }
    bool given_up = list_linked(&up->done) && up->result != UPSTREAM_SLOW;
    if (result == UPSTREAM_NOTHING || (result == UPSTREAM_DONE && given_up))
        return; /* the end of what was given up: its owner is yet to look at why */
    upstream_tell(up, result);
}

void upstream_give_up(struct upstream *up, enum upstream_result result)
{
    bool alone = up->link == UPSTREAM_COPY || (up->link == UPSTREAM_TASK && result == UPSTREAM_TIMEOUT);
    bool waits = alone && up->state != UPSTREAM_DOOMED;
    if (waits) { /* who has not begun it lets it be, and a kept connection ends with it */
        upstream_send_no_more(up);
        shutdown(up->fd, SHUT_WR);
    }
    up->spared = up->link == UPSTREAM_COPY && result == UPSTREAM_TIMEOUT;
    upstream_settle(up, waits ? UPSTREAM_DOOMED : UPSTREAM_CLOSED, result);
    if (waits)
        upstream_watch_clock(up);
}

void upstream_release(struct upstream *up, enum upstream_state next)
{
    if (upstream_sending(up)) { /* the rest of the body is gone with the request */
        upstream_send_no_more(up);
        shutdown(up->fd, SHUT_WR);
    }
    upstream_detach(up);
    up->state = next;
    up->paused = false;
    upstream_watch_clock(up);
}

void upstream_orphan(struct upstream *up)
{
    if (up->state != UPSTREAM_BUSY)
        return;
    upstream_release(up, UPSTREAM_ORPHAN);
    shutdown(up->fd, SHUT_WR); /* which the worker sees as RDHUP */
    upstream_update(up);
}
