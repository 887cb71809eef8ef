/* http_head_shim.c - the HTTP parsers as one flat call, for tests that compare them with others' (ctypes). */
#include <string.h>

#include "http_chunked.h"
#include "http_head.h"

enum { FIELDS_MAX = 100 };

/* Offsets count from the start of the data. The same struct stands in tests/support/http_oracles.py. */
struct shim_message {
    uint32_t head; /* enum http_parse */
    uint32_t body; /* the same, of the body; HTTP_DONE where there is none */
    uint32_t status;
    uint32_t minor;
    uint32_t keep_alive;
    uint32_t chunked;
    uint32_t head_size;
    struct slice method;
    struct slice target;
    uint32_t field_count;
    struct http_field fields[FIELDS_MAX];
    uint64_t consumed; /* bytes of the whole message */
    uint64_t body_len; /* decoded bytes in the caller's buffer */
    char reason[80];
};

void shim_parse(const char *data, size_t len, char *body, struct shim_message *out);

static void take_fields(const struct http_head *h, const char *data, struct shim_message *out)
{
    uint32_t cursor = 0;
    while (out->field_count < FIELDS_MAX &&
           http_head_next_field(h, data, &cursor, &out->fields[out->field_count]))
        out->field_count++;
}

static void explain(struct shim_message *out, const char *reason)
{
    size_t n = strlen(reason);
    if (n >= sizeof(out->reason))
        n = sizeof(out->reason) - 1;
    memcpy(out->reason, reason, n);
}

static void take_body(const struct http_head *h, const char *data, size_t len, char *body,
                      struct shim_message *out)
{
    struct http_chunked c;
    size_t consumed = 0, left = len - h->size;
    memcpy(body, data + h->size, left);
    if (h->chunked) {
        size_t produced;
        http_chunked_init(&c);
        out->body = http_chunked_decode(&c, body, left, &consumed, &produced);
        out->body_len = produced;
        if (out->body == HTTP_BAD)
            explain(out, c.reason);
    } else {
        consumed = h->content_length < left ? (size_t)h->content_length : left;
        out->body = consumed == h->content_length ? HTTP_DONE : HTTP_MORE;
        out->body_len = consumed;
    }
    out->consumed = h->size + consumed;
}

/* The first message in data[0..len), with the default limits; `body` has room for len bytes. */
void shim_parse(const char *data, size_t len, char *body, struct shim_message *out)
{
    static const struct http_head_limits limits = {
        .request_line = 8192, .size = 32768, .field_count = FIELDS_MAX};
    struct http_head h;
    memset(out, 0, sizeof(*out));
    http_head_init(&h);
    out->head = http_head_parse(&h, data, len, &limits);
    if (out->head == HTTP_BAD) {
        out->status = h.status;
        explain(out, h.reason);
    }
    if (out->head != HTTP_DONE)
        return;
    out->minor = h.minor;
    out->keep_alive = h.keep_alive;
    out->chunked = h.chunked;
    out->head_size = h.size;
    out->method = h.method;
    out->target = h.target;
    take_fields(&h, data, out);
    take_body(&h, data, len, body, out);
}
