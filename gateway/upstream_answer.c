/* upstream_answer.c - see upstream_answer.h. */
#include "upstream_answer.h"

#include <fastcgi.h>
#include <string.h>

#include "cgi.h"
#include "log.h"

enum {
    STDERR_MAX = 64 * 1024,  /* bytes of STDERR that are logged for one request */
    ORPHAN_MAX = 1024 * 1024 /* bytes of an answer that nobody wants before its connection is closed */
};

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

/* What the worker has said becomes the head of the answer. False: as request_head(). */
static bool pass_head(struct upstream *up, const struct cgi_reply *said, const struct buf *fields)
{
    const struct http_reply reply = {
        .status = said->status,
        .reason = said->reason.len > 0 ? up->head.data + said->reason.off : NULL,
        .reason_len = said->reason.len,
        .fields = fields->data,
        .fields_len = fields->len,
        .content_length = said->content_length,
        .has_date = said->has_date,
        .has_server = said->has_server,
    };
    return request_head(up->request, &reply);
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
        upstream_empty(up, &up->head);
        return len;
    }
    if (len < room && !ends_head(&up->head, had))
        return len;
    enum http_parse parsed = cgi_reply_parse(&reply, up->head.data, up->head.len, &fields);
    if (parsed != HTTP_DONE)
        refuse_head(up, parsed == HTTP_MORE ? "its head is larger than response_headers" : reply.error);
    else if (fields.len > (uint64_t)r->conf->response_memory) /* lines gain blanks and CRs */
        refuse_head(up, "its head is larger than response_memory");
    else if (!pass_head(up, &reply, &fields))
        upstream_orphan(up);
    upstream_empty(up, &up->head);
    upstream_empty(up, &fields);
    return parsed == HTTP_DONE ? reply.size - had : len;
}

static void take_stdout(struct upstream *up, const char *data, size_t len)
{
    /* its next write tells the worker, if it has not looked before */
    if (up->state == UPSTREAM_ORPHAN && (up->discarded += (uint32_t)len) > ORPHAN_MAX)
        upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_DONE);
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
    upstream_release(up, UPSTREAM_TAIL);
}

/* END_REQUEST has been dealt with: the slot is free, or waits for the end of its copy. While READY is still
 * unread, it may be a copy's, whose connection ends with it. */
static void end_exchange(struct upstream *up)
{
    bool whole = !up->cut && !upstream_sending(up);
    bool kept = upstream_goes_on(up) && up->ready && up->state != UPSTREAM_ORPHAN && whole;
    if (up->link != UPSTREAM_COPY) {
        upstream_settle(up, kept ? UPSTREAM_FREE : UPSTREAM_CLOSED, UPSTREAM_DONE);
    } else {
        up->state = UPSTREAM_TAIL;
        up->paused = false;
        upstream_send_no_more(up);
        upstream_watch_clock(up);
    }
}

static void take_end(struct upstream *up, const struct fcgi_event *event)
{
    struct request *r = up->request;
    if (event->protocol_status == FCGI_OVERLOADED && (r == NULL || !r->head_sent)) {
        upstream_settle(up, UPSTREAM_CLOSED, UPSTREAM_OVERLOADED);
        return;
    }
    if (event->protocol_status != FCGI_REQUEST_COMPLETE) {
        up->reason = "it refused the request";
        upstream_give_up(up, UPSTREAM_BROKEN);
        return;
    }
    if (r != NULL) {
        upstream_detach(up);
        if (!r->head_sent) {
            log_error("%s ended a request without an answer (id %s)", up->owner.app->name, r->id);
            request_fail(r, 502, NULL);
        } else if (event->app_status != 0 && up->link != UPSTREAM_SINGLE) { /* whose is an exit status */
            log_error("%s broke off its answer (id %s)", up->owner.app->name, r->id);
            request_cut(r);
        } else {
            request_end(r);
        }
    }
    end_exchange(up);
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

bool upstream_answer_take(struct upstream *up, const uint8_t *data, size_t len)
{
    struct fcgi_event event;
    if (up->state == UPSTREAM_DOOMED)
        return true;
    while (up->fd != -1 && up->state != UPSTREAM_DOOMED) {
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
            upstream_give_up(up, UPSTREAM_BROKEN);
            return false;
        }
    }
    return false;
}
