/* conn_body.c - see conn_body.h. */
#include "conn_body.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "units.h"

enum {
    BODY_RATE = 500, /* bytes per second that a body must bring on average, after `body` */
    MB = 1000 * 1000
};

void conn_body_refuse_size(struct conn *c, uint64_t length)
{
    const struct conf_app *app = c->request->app_conf;
    char limit[UNITS_TEXT], size[UNITS_TEXT] = "chunked body";
    units_size_text(app->body_size, limit);
    if (length >= MB)
        snprintf(size, sizeof(size), "%.1f MB", (double)length / MB);
    else if (length > 0)
        snprintf(size, sizeof(size), "%u bytes", (unsigned)length);
    log_info("413: %s > body_size %s; raise it in [app:%s]", size, limit, app->name);
    conn_state_refuse(c, 413, NULL);
}

/* Acts on what became of body bytes. 1: the body is whole, 0: more must come, -1: it was refused. */
static int on_intake(struct conn *c, enum request_intake intake)
{
    switch (intake) {
    case REQUEST_INTAKE_MORE:
        return 0;
    case REQUEST_INTAKE_WHOLE:
        return 1;
    case REQUEST_INTAKE_BAD:
        conn_state_refuse(c, 400, c->request->chunked.reason);
        break;
    case REQUEST_INTAKE_TOO_LARGE:
        conn_body_refuse_size(c, 0);
        break;
    case REQUEST_INTAKE_NO_ROOM:
        if (errno == EDQUOT)
            log_error("a request body cannot be kept: [limits] spool is used up");
        else
            log_error("a request body cannot be kept in %s: %s", body_directory(), strerror(errno));
        conn_state_refuse(c, 503, NULL);
        break;
    }
    return -1;
}

/* Body bytes that came with the head. What they leave, a following request, moves up behind the head; the
 * memory that they took is given back, for a slow client would hold it for long. The result is on_intake's.
 */
static int take_buffered(struct conn *c)
{
    struct request *r = c->request;
    char *data = r->in.data + r->head.size;
    size_t len = r->in.len - r->head.size, consumed;
    int whole = on_intake(c, request_take(r, data, len, &consumed));
    if (whole >= 0) {
        memmove(data, data + consumed, len - consumed);
        r->in.len -= (uint32_t)consumed;
        buf_shrink(&r->in);
    }
    return whole;
}

/* n body bytes that were just read; as above. Only a chunked body can bring more than its own. */
static int take_fresh(struct conn *c, size_t n)
{
    size_t consumed;
    int whole = on_intake(c, request_take(c->request, memory_scratch, n, &consumed));
    if (whole > 0 && !buf_put(&c->request->in, memory_scratch + consumed, n - consumed)) { /* it has room */
        log_warning("503: no memory for what follows a body");
        conn_state_refuse(c, 503, NULL);
        whole = -1;
    }
    return whole;
}

/* What dribbles in faster than `body` between two reads must still bring BODY_RATE on average. */
static bool too_slow(const struct conn *c)
{
    const struct request *r = c->request;
    double allowed = (double)c->pool->conf->body / 1e3 + (double)body_len(&r->body) / BODY_RATE;
    return timeq_turn() - r->body_began > allowed;
}

static size_t most_to_read(const struct request *r)
{
    if (r->head.chunked)
        return CONN_READ;
    return r->body_left < MEMORY_SCRATCH ? (size_t)r->body_left : MEMORY_SCRATCH;
}

bool conn_body_step(struct conn *c)
{
    struct request *r = c->request;
    int whole;
    if (r->in.len > r->head.size) {
        whole = take_buffered(c);
    } else {
        size_t n;
        int got = conn_state_receive(c, memory_scratch, most_to_read(r), &n);
        if (got < 0)
            conn_state_abandon(c);
        if (got <= 0)
            return got < 0;
        whole = take_fresh(c, n);
    }
    if (whole > 0)
        conn_state_dispatch(c, &app_handler);
    else if (whole == 0 && too_slow(c))
        conn_state_refuse(c, 408, "the request's body came too slowly");
    return true;
}
