/* status.c - see status.h.
 *
 * A long answer is made in batches: each goes to the client before the next is made, so that neither the
 * number of apps nor a client that does not read makes it cost memory, and others have their turn in
 * between. */
#include "status.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "status_json.h"
#include "status_metrics.h"
#include "status_page.h"

enum {
    BATCH_BYTES = 16 * 1024,    /* a batch ends behind so many bytes */
    BATCH_COST = 256,           /* or when its steps have cost so much */
    STEP_BYTES_MAX = 256 * 1024 /* of one step: an app's last error, with every byte escaped */
};

static const char plain[] = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";

/* ---- short answers ---- */

static void answer(struct request *r, uint16_t status, const char *more, const char *text)
{
    char fields[sizeof(plain) + 64];
    size_t len = sizeof(plain) - 1, n = strlen(more);
    memcpy(fields, plain, len);
    memcpy(fields + len, more, n);
    const struct http_reply reply = {
        .status = status, .fields = fields, .fields_len = len + n, .content_length = (int64_t)strlen(text)};
    if (request_head(r, &reply) && request_body(r, text, strlen(text)))
        request_end(r);
}

static void say_ok(struct request *r)
{
    answer(r, 200, "", "ok\n");
}

static void say_draining(struct request *r)
{
    answer(r, 503, "Retry-After: 1\r\n", "draining\n");
}

static void say_failing(struct request *r)
{
    answer(r, 503, "Retry-After: 1\r\n", "no app can start\n");
}

static void say_method(struct request *r)
{
    request_refuse(r, 405, "only GET and HEAD", "Allow: GET, HEAD\r\n");
}

/* OPTIONS *: asked about the server as a whole (RFC 9110 9.3.7). */
static void say_here(struct request *r)
{
    if (request_head(r, &(struct http_reply){.status = 204, .fields = "", .content_length = -1}))
        request_end(r);
}

static void say_nothing_here(struct request *r)
{
    request_fail(r, 404, "there is / /status.json /metrics /livez /readyz");
}

static const struct handler ok = {say_ok, request_nothing, request_nothing};
static const struct handler draining_now = {say_draining, request_nothing, request_nothing};
static const struct handler failing = {say_failing, request_nothing, request_nothing};
static const struct handler wrong_method = {say_method, request_nothing, request_nothing};
static const struct handler here = {say_here, request_nothing, request_nothing};
static const struct handler nothing_here = {say_nothing_here, request_nothing, request_nothing};

/* ---- long answers ---- */

static bool is_path(const struct request *r, const char *path)
{
    size_t len = strlen(path); /* 0: off */
    return len > 0 && r->path_len == len && memcmp(request_path(r), path, len) == 0;
}

/* The long answer at a path of the status listener; NULL: there is none. */
static const struct status_format *format_of(const struct request *r)
{
    if (is_path(r, "/"))
        return &status_page;
    if (is_path(r, "/status.json"))
        return &status_json;
    return is_path(r, "/metrics") ? &status_metrics : NULL;
}

/* To be resumed when the connection has had its turn. */
static void rest(struct request *r)
{
    r->starved = true;
    task_wake(r->conn);
}

/* The next batch. A configuration that was replaced in between leaves nothing to go on with. */
static void go_on(struct request *r)
{
    const struct status_format *format = format_of(r);
    struct buf batch;
    unsigned cost = r->conf == r->facts->conf ? 1 : 0, spent = 0; /* 0 ends it as a step without room does */
    if (body_left(&r->out) >= BATCH_BYTES) { /* the client has not taken the last one yet */
        r->starved = true;
        return;
    }
    buf_init(&batch, BATCH_BYTES + STEP_BYTES_MAX);
    while (cost > 0 && spent < BATCH_COST && batch.len < BATCH_BYTES && r->place.part != STATUS_DONE) {
        cost = format->step(&batch, r->facts, &r->place);
        spent += cost;
    }
    if (cost == 0) {
        log_warning("a status answer was cut: no memory, or another configuration");
        request_cut(r);
    } else if (request_body(r, batch.data, batch.len)) {
        if (r->place.part == STATUS_DONE)
            request_end(r);
        else
            rest(r);
    }
    buf_free(&batch);
}

static void begin(struct request *r)
{
    char fields[256];
    int n = snprintf(fields, sizeof(fields),
                     "Content-Type: %s; charset=utf-8\r\nCache-Control: no-store\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n",
                     format_of(r)->type);
    struct http_reply reply = {
        .status = 200, .fields = fields, .fields_len = (size_t)n, .content_length = -1};
    if (n < 0 || (size_t)n >= sizeof(fields))
        request_fail(r, 500, NULL);
    else if (!request_head(r, &reply))
        return;
    else if (request_method_is(r, "HEAD"))
        request_end(r);
    else
        go_on(r);
}

static const struct handler report = {begin, go_on, request_nothing};

/* ---- who answers ---- */

/* An app that was never called may well start. */
static bool all_failing(const struct status_facts *facts)
{
    for (uint32_t i = 0; i < facts->conf->app_count; i++)
        if (facts->apps[i] == NULL || !app_failing(facts->apps[i]))
            return false;
    return true;
}

static const struct handler *readiness(const struct status_facts *facts)
{
    if (facts->draining)
        return &draining_now;
    return all_failing(facts) ? &failing : &ok;
}

const struct handler *status_find(const struct status_facts *facts, const struct request *r)
{
    bool health = is_path(r, facts->conf->health_path);
    if (is_path(r, "*"))
        return &here;
    if (!health && !is_path(r, facts->conf->ready_path))
        return NULL;
    if (!request_fetches(r))
        return &wrong_method;
    return health ? &ok : readiness(facts);
}

const struct handler *status_find_all(const struct status_facts *facts, const struct request *r)
{
    if (!request_fetches(r))
        return &wrong_method;
    if (format_of(r) != NULL)
        return &report;
    if (is_path(r, "/livez"))
        return &ok;
    if (is_path(r, "/readyz"))
        return readiness(facts);
    const struct handler *short_one = status_find(facts, r);
    return short_one != NULL ? short_one : &nothing_here;
}
