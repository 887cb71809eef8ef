/* access.c - see access.h. */
#include "access.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

enum { TEXT_MAX = 2048, JSON_STRING_MAX = 1024, STATUS_CLIENT_GONE = 499 };

/* Durations in seconds; where a phase was not reached it is 0. */
struct phases {
    double total;
    double queue; /* complete, until a worker took it */
    double start; /* of that, waiting for a worker to start */
    double app;   /* the worker's time to the head of its answer */
};

static struct phases measure(const struct request *r, double ended)
{
    struct phases p = {.total = ended - r->began};
    if (r->sent > r->started) {
        *(r->cold ? &p.start : &p.queue) = r->sent - r->started;
        if (r->headed > r->sent)
            p.app = r->headed - r->sent;
    }
    return p;
}

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

static bool put_text(struct buf *out, const struct request *r, const struct phases *p)
{
    char line[TEXT_MAX];
    size_t n = put_request_line(line, r);
    const char *app = r->app_conf != NULL ? r->app_conf->name : "-";
    bool ok =
        buf_printf(out, "%s%s%s - \"%.*s\" %u %s %.1fms %s", peer(r), r->remote_port[0] != '\0' ? ":" : "",
                   r->remote_port, (int)n, line, status_of(r), phrase_of(r), p->total * 1e3, app);
    if (ok && r->app_conf != NULL && r->sent != 0 && r->cold)
        ok = buf_printf(out, " cold (start %.1f app %.1f)", p->start * 1e3, p->app * 1e3);
    else if (ok && r->app_conf != NULL)
        ok = buf_printf(out, " %s", start_of(r));
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
                      status_of(r), (unsigned long long)r->answer_bytes, (int)referer_len, referer,
                      (int)agent_len, agent);
}

/* A JSON string of bytes that may be anything: what is not printable ASCII becomes \u00NN (as Latin-1). Cut
 * after JSON_STRING_MAX bytes of the original. */
static bool put_json_string(struct buf *out, const char *name, const char *text, size_t len)
{
    bool ok = buf_printf(out, ",\"%s\":\"", name);
    for (size_t i = 0; ok && i < len && i < JSON_STRING_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            ok = buf_putc(out, '\\') && buf_putc(out, (char)c);
        else if (c < 0x20 || c >= 0x7f)
            ok = buf_printf(out, "\\u%04x", c);
        else
            ok = buf_putc(out, (char)c);
    }
    return ok && buf_putc(out, '"');
}

static bool put_json(struct buf *out, const struct request *r, const struct phases *p, time_t now)
{
    char stamp[40] = "";
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL)
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    const char *base = r->in.data;
    bool whole = r->head.size > 0;
    bool ok = buf_printf(out, "{\"time\":\"%s\",\"status\":%u,\"bytes_in\":%llu,\"bytes_out\":%llu", stamp,
                         status_of(r), (unsigned long long)body_len(&r->body),
                         (unsigned long long)r->answer_bytes) &&
              buf_printf(out, ",\"duration_s\":%.6f,\"queue_s\":%.6f,\"start_s\":%.6f,\"app_s\":%.6f",
                         p->total, p->queue, p->start, p->app) &&
              put_json_string(out, "client", peer(r), strlen(peer(r))) &&
              put_json_string(out, "id", r->id, strlen(r->id));
    if (ok && whole)
        ok = put_json_string(out, "method", base + r->head.method.off, r->head.method.len) &&
             put_json_string(out, "target", base + r->head.target.off, r->head.target.len);
    if (ok && r->app_conf != NULL)
        ok = put_json_string(out, "app", r->app_conf->name, strlen(r->app_conf->name)) &&
             buf_printf(out, ",\"start\":\"%s\"", start_of(r));
    return ok && buf_puts(out, "}\n");
}

bool access_line(struct buf *out, int format, const struct request *r, double ended, time_t now)
{
    struct phases p = measure(r, ended);
    switch (format) {
    case CONF_FORMAT_COMBINED:
        return put_combined(out, r, now);
    case CONF_FORMAT_JSON:
        return put_json(out, r, &p, now);
    default:
        return put_text(out, r, &p);
    }
}
