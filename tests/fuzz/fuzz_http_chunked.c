/* fuzz_http_chunked.c - any bytes as a chunked body: data, verdict and position must not depend on how they
 * are cut; what is accepted, coded anew as one chunk, decodes to the same data. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum http_parse result;
    const char *reason;
    size_t consumed;
    size_t produced;
    char *body;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static char *copy_of(const void *data, size_t size)
{
    char *copy = malloc(size + (size == 0));
    check(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* Decodes in pieces of `step` bytes; each piece is an allocation of its own. */
static struct outcome decode(const void *data, size_t size, size_t step)
{
    struct outcome o = {.result = HTTP_MORE, .body = copy_of(NULL, 0)};
    struct http_chunked c;
    http_chunked_init(&c);
    o.body = realloc(o.body, size + 1);
    check(o.body != NULL);
    for (size_t at = 0; at < size && o.result == HTTP_MORE; at += step) {
        size_t n = step < size - at ? step : size - at, consumed, produced;
        char *piece = copy_of((const char *)data + at, n);
        o.result = http_chunked_decode(&c, piece, n, &consumed, &produced);
        check(produced <= consumed && consumed <= n && (o.result != HTTP_MORE || consumed == n));
        check(memcmp(piece + consumed, (const char *)data + at + consumed, n - consumed) == 0);
        memcpy(o.body + o.produced, piece, produced);
        o.consumed += consumed;
        o.produced += produced;
        free(piece);
    }
    check(c.extensions <= HTTP_CHUNKED_EXTENSIONS_MAX + 1 && c.trailers <= HTTP_CHUNKED_TRAILERS_MAX + 1);
    check((o.result == HTTP_BAD) == (c.reason != NULL));
    o.reason = c.reason != NULL ? c.reason : "";
    return o;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    check(a->result == b->result && a->consumed == b->consumed && a->produced == b->produced);
    check(memcmp(a->body, b->body, a->produced) == 0 && strcmp(a->reason, b->reason) == 0);
}

static void check_coded_anew(const struct outcome *o)
{
    char *coded = malloc(o->produced + 64);
    check(coded != NULL);
    int head = o->produced > 0 ? snprintf(coded, 32, "%zx\r\n", o->produced) : 0;
    memcpy(coded + head, o->body, o->produced);
    size_t len = (size_t)head + o->produced;
    int tail = snprintf(coded + len, 32, "%s0\r\n\r\n", o->produced > 0 ? "\r\n" : "");
    len += (size_t)tail;
    struct outcome again = decode(coded, len, len);
    check(again.result == HTTP_DONE && again.consumed == len && again.produced == o->produced);
    check(memcmp(again.body, o->body, o->produced) == 0);
    free(again.body);
    free(coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 2, 3, 7, 64};
    struct outcome whole = decode(data, size, size);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct outcome other = decode(data, size, steps[i]);
        check_same(&whole, &other);
        free(other.body);
    }
    if (whole.result == HTTP_DONE)
        check_coded_anew(&whole);
    free(whole.body);
    return 0;
}
