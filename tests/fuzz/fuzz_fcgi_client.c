/* fuzz_fcgi_client.c - any bytes as a FastCGI application's answers; links fcgi_client.
 *
 * The first byte seeds the sizes of the pieces, the rest is the stream. What is told may not depend on the
 * pieces, and slices lie within what was handed in. After END the next request begins, with the next id. */
#include "fcgi_client.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was told: pieces of the same kind that follow each other are one, so only their bytes count. */
struct told {
    uint64_t hash; /* FNV-1a */
    enum fcgi_event_type last;
    uint16_t id;
    bool over;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void mix(struct told *t, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i++)
        t->hash = (t->hash ^ p[i]) * UINT64_C(0x100000001b3);
}

static void tell(struct told *t, struct fcgi_client *c, const struct fcgi_event *e)
{
    bool piece = e->type == FCGI_EVENT_STDOUT || e->type == FCGI_EVENT_STDERR;
    require(piece == (e->len > 0));
    require((e->type == FCGI_EVENT_BAD) == (e->reason != NULL));
    if (!piece || e->type != t->last)
        mix(t, &e->type, sizeof(e->type));
    t->last = e->type;
    mix(t, e->data, e->len);
    t->over = e->type == FCGI_EVENT_BAD;
    if (t->over)
        mix(t, e->reason, strlen(e->reason));
    if (e->type != FCGI_EVENT_END)
        return;
    mix(t, &e->app_status, sizeof(e->app_status));
    mix(t, &e->protocol_status, sizeof(e->protocol_status));
    fcgi_client_begin(c, ++t->id);
}

static void feed(struct told *t, struct fcgi_client *c, const uint8_t *data, size_t len)
{
    struct fcgi_event e = {.type = FCGI_EVENT_END};
    for (size_t at = 0; !t->over && e.type != FCGI_EVENT_MORE;) {
        size_t taken = fcgi_client_next(c, data + at, len - at, &e);
        require(taken <= len - at);
        require(e.len == 0 || (e.data >= data + at && e.data + e.len <= data + at + taken));
        at += taken;
        require(e.type != FCGI_EVENT_MORE || at == len);
        if (e.type != FCGI_EVENT_MORE)
            tell(t, c, &e);
    }
}

static struct told run(const uint8_t *data, size_t size, uint32_t seed)
{
    struct told t = {.id = 1};
    struct fcgi_client c;
    fcgi_client_init(&c);
    fcgi_client_begin(&c, t.id);
    while (size > 0) {
        seed = seed * 1664525 + 1013904223;
        size_t n = 1 + (seed >> 24) % 19;
        n = n < size ? n : size;
        uint8_t *piece = malloc(n); /* of its own, so that a read behind it is seen */
        require(piece != NULL);
        memcpy(piece, data, n);
        feed(&t, &c, piece, n);
        free(piece);
        data += n;
        size -= n;
    }
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct told whole = {.id = 1};
    struct fcgi_client c;
    fcgi_client_init(&c);
    fcgi_client_begin(&c, whole.id);
    feed(&whole, &c, data + 1, size - 1);
    struct told pieces = run(data + 1, size - 1, data[0]);
    require(whole.hash == pieces.hash && whole.id == pieces.id && whole.over == pieces.over);
    return 0;
}
