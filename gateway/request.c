/* request.c - see request.h. */
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "http_path.h"
#include "log.h"
#include "stats.h"

enum {
    ID_MADE = 32,           /* hex digits of an id of our own */
    IN_SPARE = 16 * 1024,   /* bytes behind a head that one read may bring */
    HEAD_SLACK = 4096,      /* what an answer's head has more than the worker's: Date, framing, our id */
    OUT_SLACK = 256 * 1024, /* put on top of the ceilings: framing, and what one read of a worker brings */
    TIMING_MAX = 128,
    ERROR_PAGE_MAX = 128 * 1024 /* bytes of our own error pages, an escaped traceback included */
};

/* Unique, not secret: a counter run through the splitmix64 mixer, from a random start. */
void request_identify(struct request *r)
{
    if (r->id[0] != '\0')
        return;
    static uint64_t state[2];
    if (state[0] == 0 && getrandom(state, sizeof(state), GRND_NONBLOCK) != (ssize_t)sizeof(state))
        state[1] = (uint64_t)time(NULL);
    state[0] += 0x9e3779b97f4a7c15u;
    uint64_t z = state[0];
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    uint64_t words[2] = {z ^ (z >> 31), state[1] ^ state[0]};
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < ID_MADE; i++)
        r->id[i] = hex[(words[i / 16] >> (4 * (i % 16))) & 15];
    r->id[ID_MADE] = '\0';
}

/* Everything of one exchange but `in`, which may hold the next one already. */
static void reset(struct request *r)
{
    struct conf *conf = r->conf;
    struct task *conn = r->conn;
    struct buf in = r->in;
    *r = (struct request){.conf = conf, .conn = conn, .in = in, .answer_left = -1};
    http_head_init(&r->head);
    body_init(&r->body, (uint32_t)conf->body_memory, UINT64_MAX / 2);
    body_init(&r->out, (uint32_t)conf->response_memory + HEAD_SLACK,
              (uint64_t)conf->response_spool + OUT_SLACK);
    r->out.spare = OUT_SLACK;
}

struct request *request_new(struct conf *conf, struct task *conn)
{
    struct request *r = malloc(sizeof(*r));
    if (r == NULL)
        return NULL;
    r->conf = conf_ref(conf);
    r->conn = conn;
    buf_init(&r->in, (uint32_t)conf->headers + IN_SPARE);
    reset(r);
    return r;
}

static void release(struct request *r)
{
    timeq_stop(&r->queue_deadline);
    body_free(&r->body);
    body_free(&r->out);
    free(r->path_memory);
    r->path_memory = NULL;
    free(r->script_file);
    r->script_file = NULL;
    stats_unref(r->stats);
    r->stats = NULL;
}

void request_free(struct request *r)
{
    release(r);
    buf_free(&r->in);
    conf_unref(r->conf);
    free(r);
}

void request_adopt(struct request *r, struct conf *conf)
{
    struct conf *before = r->conf;
    if (before == conf)
        return;
    r->conf = conf_ref(conf);
    conf_unref(before);
}

void request_next(struct request *r)
{
    release(r);
    buf_consume(&r->in, r->head.size);
    reset(r);
}

bool request_set_path(struct request *r)
{
    const char *raw = r->in.data + r->head.path.off;
    size_t len = r->head.path.len;
    r->path_len = r->head.path.len;
    if (memchr(raw, '%', len) == NULL && memmem(raw, len, "/.", 2) == NULL)
        return true; /* as it came */
    r->path_memory = malloc(len + 1);
    long n = r->path_memory != NULL ? http_path_normalise(raw, len, r->path_memory) : -1;
    r->path_len = n < 0 ? 0 : (uint32_t)n;
    return n >= 0;
}

const char *request_path(const struct request *r)
{
    return r->path_memory != NULL ? r->path_memory : r->in.data + r->head.path.off;
}

const char *request_file_name(const struct request *r, size_t *len)
{
    if (r->script_file == NULL) {
        *len = r->path_len - r->files->prefix_len;
        return request_path(r) + r->files->prefix_len;
    }
    *len = strlen(r->script_file);
    return r->script_file;
}

void request_expect_body(struct request *r)
{
    r->body_left = r->head.has_length ? r->head.content_length : 0;
    r->body_began = timeq_now();
    http_chunked_init(&r->chunked);
}

/* Beyond half of [limits] buffers nothing more is kept in memory: were it used up by slow clients, whatever
 * they load or send, no head of anybody else would be read. */
static bool keep(const struct request *r, struct body *b, const void *data, size_t len)
{
    if (buf_allocated() >= (uint64_t)r->conf->buffers / 2)
        body_to_file(b);
    return body_put(b, data, len);
}

/* As keep(), within [limits] spool. */
static bool keep_body(struct request *r, const char *data, size_t len)
{
    uint64_t before = r->body.file_len;
    if (!keep(r, &r->body, data, len))
        return false;
    if (r->body.file_len == before || body_spooled() <= (uint64_t)r->conf->spool)
        return true;
    errno = EDQUOT;
    return false;
}

enum request_intake request_take(struct request *r, char *data, size_t len, size_t *consumed)
{
    int64_t max = r->app_conf->body_size;
    size_t produced = len < r->body_left ? len : (size_t)r->body_left;
    enum http_parse parsed;
    if (r->head.chunked) {
        parsed = http_chunked_decode(&r->chunked, data, len, consumed, &produced);
    } else {
        *consumed = produced;
        r->body_left -= produced;
        parsed = r->body_left == 0 ? HTTP_DONE : HTTP_MORE;
    }
    if (parsed == HTTP_BAD)
        return REQUEST_INTAKE_BAD;
    if (max != CONF_OFF && produced > (uint64_t)max - body_len(&r->body))
        return REQUEST_INTAKE_TOO_LARGE;
    if (!keep_body(r, data, produced))
        return REQUEST_INTAKE_NO_ROOM;
    return parsed == HTTP_DONE ? REQUEST_INTAKE_WHOLE : REQUEST_INTAKE_MORE;
}

bool request_field(const struct request *r, const char *name, struct slice *value)
{
    uint32_t cursor = 0;
    return r->head.size > 0 && http_head_next_named(&r->head, r->in.data, name, &cursor, value);
}

bool request_method_is(const struct request *r, const char *method)
{
    return http_head_method_is(&r->head, r->in.data, method);
}

static double between(double least, double value, double most)
{
    return value < least ? least : value > most ? most : value;
}

struct request_phases request_phases(const struct request *r)
{
    struct request_phases p = {0};
    if (r->app == NULL || r->started == 0)
        return p;
    double taken = r->sent > 0 ? r->sent : r->headed;
    double wait = taken > r->started ? taken - r->started : 0;
    if (r->cold) {
        double from = r->spawned > r->started ? r->spawned : r->started;
        p.start = between(0, (r->ready > 0 ? r->ready : taken) - from, wait);
    }
    p.queue = wait - p.start;
    if (r->sent > 0 && r->headed > r->sent)
        p.app = r->headed - r->sent;
    return p;
}

/* `timing` as the value of Server-Timing, milliseconds. */
static void describe_timing(const struct request *r, char timing[TIMING_MAX])
{
    struct request_phases p = request_phases(r);
    snprintf(timing, TIMING_MAX, "queue;dur=%.3f, start;dur=%.3f, app;dur=%.3f", p.queue * 1e3, p.start * 1e3,
             p.app * 1e3);
}

static void cut_short(struct request *r)
{
    log_error("an answer was cut, no room to keep it: %s (id %s)", strerror(errno), r->id);
    request_cut(r);
}

bool request_head(struct request *r, const struct http_reply *given)
{
    char timing[TIMING_MAX];
    struct http_reply reply = *given;
    request_identify(r);
    r->headed = timeq_clock();
    if (r->conf->server_timing && r->app != NULL) {
        describe_timing(r, timing);
        reply.timing = timing;
    }
    reply.head_request = request_method_is(r, "HEAD");
    reply.minor = r->head.minor;
    reply.keep_alive = r->keep_alive;
    reply.server = r->conf->server_header ? "leangate" : NULL;
    reply.id_name = r->conf->request_id[0] != '\0' ? r->conf->request_id : NULL;
    reply.id = r->id;
    reply.now = time(NULL);
    r->status = reply.status;
    if (!http_reply_head(&r->out.mem, &reply, &r->framing, &r->keep_alive)) {
        cut_short(r);
        return false;
    }
    r->head_sent = true;
    r->answer_left = r->framing == HTTP_FRAMING_LENGTH ? reply.content_length : -1;
    task_wake(r->conn);
    return true;
}

static bool put(struct request *r, const void *data, size_t len)
{
    if (!keep(r, &r->out, data, len))
        return false;
    r->answer_bytes += len;
    return true;
}

static bool put_framed(struct request *r, const void *data, size_t len)
{
    char size[24];
    if (r->framing != HTTP_FRAMING_CHUNKED)
        return put(r, data, len);
    int n = snprintf(size, sizeof(size), "%zx\r\n", len);
    return put(r, size, (size_t)n) && put(r, data, len) && put(r, "\r\n", 2);
}

/* How much of a piece the promised length still has room for. */
static size_t within_length(struct request *r, size_t len)
{
    if (len <= (uint64_t)r->answer_left)
        return len;
    if (!r->excess)
        log_warning("%s sent more than its Content-Length; the excess was cut (id %s)",
                    r->app_conf != NULL ? r->app_conf->name : "the handler", r->id);
    r->excess = true;
    return (size_t)r->answer_left;
}

bool request_body(struct request *r, const void *data, size_t len)
{
    if (r->framing == HTTP_FRAMING_NONE || len == 0)
        return true;
    if (r->answer_left >= 0) {
        len = within_length(r, len);
        if (len == 0)
            return true;
        r->answer_left -= (int64_t)len;
    }
    if (!put_framed(r, data, len)) {
        cut_short(r);
        return false;
    }
    task_wake(r->conn);
    return true;
}

void request_file(struct request *r, int fd, uint64_t offset, uint64_t len)
{
    if (r->framing != HTTP_FRAMING_LENGTH || r->answer_left < (int64_t)len || len == 0) {
        close(fd);
        return;
    }
    r->answer_left -= (int64_t)len;
    r->answer_bytes += len;
    body_attach(&r->out, fd, offset, len);
    task_wake(r->conn);
}

bool request_room(struct request *r)
{
    /* An answer that has nothing in its file goes on even then: nobody would tell it when others are done. */
    bool spool_full = r->out.file_len > 0 && body_spooled() >= (uint64_t)r->conf->spool;
    r->starved = r->out.no_file ? body_left(&r->out) > 0 : spool_full || body_room(&r->out) < OUT_SLACK;
    return !r->starved;
}

static void finish(struct request *r)
{
    r->handler = NULL;
    task_wake(r->conn);
}

void request_end(struct request *r)
{
    if (r->framing == HTTP_FRAMING_LENGTH && r->answer_left > 0) {
        log_error("%s ended %lld bytes short of its Content-Length; the answer was cut (id %s)",
                  r->app_conf != NULL ? r->app_conf->name : "the handler", (long long)r->answer_left, r->id);
        request_cut(r);
        return;
    }
    if (r->framing == HTTP_FRAMING_CHUNKED) {
        static const char last[] = "0\r\n\r\n";
        if (!body_put(&r->out, last, sizeof(last) - 1)) {
            cut_short(r);
            return;
        }
        r->answer_bytes += sizeof(last) - 1;
    }
    r->ended = true;
    finish(r);
}

void request_cut(struct request *r)
{
    r->cut = true;
    r->keep_alive = false;
    finish(r);
}

void request_nothing(struct request *r)
{
    (void)r;
}

void request_fail(struct request *r, unsigned status, const char *detail)
{
    request_refuse(r, status, detail, "");
}

void request_refuse(struct request *r, unsigned status, const char *detail, const char *extra)
{
    struct slice accept;
    struct buf page;
    if (r->head_sent) {
        request_cut(r);
        return;
    }
    request_identify(r);
    bool html =
        request_field(r, "Accept", &accept) && http_accept_prefers_html(r->in.data + accept.off, accept.len);
    buf_init(&page, ERROR_PAGE_MAX);
    char fields[256];
    int n = snprintf(fields, sizeof(fields), "Content-Type: text/%s; charset=utf-8\r\n%s%s",
                     html ? "html" : "plain", status == 503 ? "Retry-After: 1\r\n" : "", extra);
    if (n < 0 || (size_t)n >= sizeof(fields) || !http_reply_error_body(&page, status, detail, r->id, html)) {
        cut_short(r);
    } else {
        const struct http_reply reply = {
            .status = (uint16_t)status,
            .fields = fields,
            .fields_len = (size_t)n,
            .content_length = page.len,
        };
        if (request_head(r, &reply) && request_body(r, page.data, page.len))
            request_end(r);
    }
    buf_free(&page);
}

bool request_fetches(const struct request *r)
{
    return request_method_is(r, "GET") || request_method_is(r, "HEAD");
}

bool request_repeats(const struct request *r)
{
    return request_fetches(r) || request_method_is(r, "OPTIONS");
}
