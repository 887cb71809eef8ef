/* access.c - see access.h. */
#include "access.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "stats.h"

enum {
    TEXT_MAX = 2048,
    JSON_STRING_MAX = 1024,
    STATUS_CLIENT_GONE = 499,
    TRACE_START = 3, /* where in "00-TRACE-PARENT-FLAGS" the trace stands */
    TRACE_DIGITS = 32,
    TRACE_END = TRACE_START + TRACE_DIGITS + 1
};

static const double SHOWN_FROM = 1e-3; /* seconds */

static unsigned status_of(const struct request *r)
{
    return r->status != 0 ? r->status : STATUS_CLIENT_GONE;
}

/* What it took to get the app to answer. */
static const char *start_of(const struct request *r)
{
    if (r->files != NULL)
        return "static";
    if (r->sent == 0)
        return "unserved"; /* no worker took it */
    return r->cold ? "cold" : "warm";
}

/* Body bytes that the client has taken, as they went out: of an answer that was broken off not what still
 * waits. */
static uint64_t sent_of(const struct request *r)
{
    uint64_t left = body_left(&r->out);
    return left < r->answer_bytes ? r->answer_bytes - left : 0;
}

static const char *phrase_of(const struct request *r)
{
    return r->status != 0 ? http_reason(r->status) : "Client Gone";
}

/* A slice of the head, escaped; "-" where there is none. */
static size_t put_slice(char out[TEXT_MAX], const struct request *r, struct slice slice)
{
    if (slice.len == 0) {
        out[0] = '-';
        return 1;
    }
    return log_escape(out, TEXT_MAX, r->in.data + slice.off, slice.len);
}

/* "METHOD target HTTP/1.x", or "-" for what was no request. */
static size_t put_request_line(char out[TEXT_MAX], const struct request *r)
{
    if (r->head.size == 0) {
        out[0] = '-';
        return 1;
    }
    char target[TEXT_MAX];
    size_t n = put_slice(target, r, r->head.target);
    if (n > TEXT_MAX - 64)
        n = TEXT_MAX - 64;
    int len = snprintf(out, TEXT_MAX, "%.*s %.*s HTTP/1.%u", (int)r->head.method.len,
                       r->in.data + r->head.method.off, (int)n, target, r->head.minor);
    return len < 0 ? 0 : (size_t)len;
}

static const char *peer(const struct request *r)
{
    return r->remote_addr[0] != '\0' ? r->remote_addr : "unix";
}

/* " cold (queue 2.0 start 20.1 app 0.1)": parts below a millisecond are left out, but for a cold start's. */
static bool put_phases(struct buf *out, const struct request *r)
{
    struct request_phases p = request_phases(r);
    const struct {
        const char *name;
        double seconds;
        bool always;
    } parts[] = {
        {"queue", p.queue, false  },
        {"start", p.start, r->cold},
        {"app",   p.app,   r->cold}
    };
    bool ok = true, any = false;
    for (size_t i = 0; ok && i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i].always || parts[i].seconds >= SHOWN_FROM) {
            ok = buf_printf(out, "%s%s %.1f", any ? " " : " (", parts[i].name, parts[i].seconds * 1e3);
            any = true;
        }
    return ok && (!any || buf_putc(out, ')'));
}

static bool put_text(struct buf *out, const struct request *r, double ended)
{
    char line[TEXT_MAX];
    size_t n = put_request_line(line, r);
    const char *app = r->app_conf != NULL ? r->app_conf->name : "-";
    bool ok =
        buf_printf(out, "%s%s%s - \"%.*s\" %u %s %.1fms %s", peer(r), r->remote_port[0] != '\0' ? ":" : "",
                   r->remote_port, (int)n, line, status_of(r), phrase_of(r), (ended - r->began) * 1e3, app);
    if (ok && r->app_conf != NULL)
        ok = buf_putc(out, ' ') && buf_puts(out, start_of(r));
    if (ok && (r->cold || ended - r->began >= SHOWN_FROM))
        ok = put_phases(out, r);
    return ok && buf_putc(out, '\n');
}

static bool put_combined(struct buf *out, const struct request *r, time_t now)
{
    char line[TEXT_MAX], referer[TEXT_MAX], agent[TEXT_MAX], stamp[40] = "-";
    struct slice field = {0, 0};
    struct tm tm;
    if (localtime_r(&now, &tm) != NULL)
        strftime(stamp, sizeof(stamp), "%d/%b/%Y:%H:%M:%S %z", &tm);
    size_t n = put_request_line(line, r);
    size_t referer_len =
        put_slice(referer, r, request_field(r, "Referer", &field) ? field : (struct slice){0, 0});
    size_t agent_len =
        put_slice(agent, r, request_field(r, "User-Agent", &field) ? field : (struct slice){0, 0});
    return buf_printf(out, "%s - - [%s] \"%.*s\" %u %llu \"%.*s\" \"%.*s\"\n", peer(r), stamp, (int)n, line,
                      status_of(r), (unsigned long long)sent_of(r), (int)referer_len, referer, (int)agent_len,
                      agent);
}

static bool put_member(struct buf *out, const char *name, const char *text, size_t len)
{
    return buf_printf(out, ",\"%s\":", name) &&
           json_string(out, text, len < JSON_STRING_MAX ? len : JSON_STRING_MAX);
}

/* The trace that the request belongs to, out of its traceparent (W3C Trace Context, version 00). */
static bool put_trace(struct buf *out, const struct request *r)
{
    static const char digits[] = "0123456789abcdef";
    struct slice field;
    if (!request_field(r, "traceparent", &field) || field.len < TRACE_END)
        return true;
    const char *text = r->in.data + field.off;
    size_t n = 0;
    while (n < TRACE_DIGITS && memchr(digits, text[TRACE_START + n], sizeof(digits) - 1) != NULL)
        n++;
    if (n < TRACE_DIGITS || text[TRACE_START - 1] != '-' || text[TRACE_END - 1] != '-')
        return true;
    return put_member(out, "trace_id", text + TRACE_START, TRACE_DIGITS);
}

static bool put_json_app(struct buf *out, const struct request *r)
{
    if (r->app_conf == NULL)
        return true;
    bool ok = put_member(out, "app", r->app_conf->name, strlen(r->app_conf->name)) &&
              buf_printf(out, ",\"start\":\"%s\"", start_of(r));
    return ok && (r->worker == 0 || buf_printf(out, ",\"pid\":%d", (int)r->worker));
}

static bool put_json(struct buf *out, const struct request *r, double ended, time_t now)
{
    struct request_phases p = request_phases(r);
    char stamp[40] = "";
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL)
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    const char *base = r->in.data;
    bool ok =
        buf_printf(out, "{\"time\":\"%s\",\"status\":%u,\"bytes_in\":%llu,\"bytes_out\":%llu", stamp,
                   status_of(r), (unsigned long long)body_len(&r->body), (unsigned long long)sent_of(r)) &&
        buf_printf(out, ",\"duration_s\":%.6f,\"queue_s\":%.6f,\"start_s\":%.6f,\"app_s\":%.6f",
                   ended - r->began, p.queue, p.start, p.app) &&
        put_member(out, "client", peer(r), strlen(peer(r))) && put_member(out, "id", r->id, strlen(r->id));
    if (ok && r->head.size > 0)
        ok = put_member(out, "method", base + r->head.method.off, r->head.method.len) &&
             put_member(out, "target", base + r->head.target.off, r->head.target.len) && put_trace(out, r);
    return ok && put_json_app(out, r) && buf_puts(out, "}\n");
}

bool access_line(struct buf *out, int format, const struct request *r, double ended, time_t now)
{
    switch (format) {
    case CONF_FORMAT_COMBINED:
        return put_combined(out, r, now);
    case CONF_FORMAT_JSON:
        return put_json(out, r, ended, now);
    default:
        return put_text(out, r, ended);
    }
}

void access_count(const struct request *r, double ended)
{
    struct stats *s = r->stats != NULL ? r->stats : &stats_unrouted;
    struct request_phases p = request_phases(r);
    s->counts[r->status == 0 ? STATS_GONE : STATS_2XX + r->status / 100 - 2]++;
    s->counts[STATS_COLD] += r->cold;
    s->counts[STATS_RECEIVED] += body_len(&r->body);
    s->counts[STATS_SENT] += sent_of(r);
    stats_observe(s, STATS_DURATION, ended - r->began);
    if (r->sent > 0)
        stats_observe(s, STATS_QUEUE, p.queue);
    if (r->cold && r->headed > 0 && r->sent > 0)
        stats_cold_answer(s, r->spawned, r->started, p.app);
}
