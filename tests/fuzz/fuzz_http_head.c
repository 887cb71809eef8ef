/* fuzz_http_head.c - any bytes as a request head: the verdict must not depend on how they are cut, every
 * slice lies in the head, and what is accepted has the properties that the rest of the gateway builds on. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http_head.h"
#include "http_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Request lines of fewer bytes than a method may have are not promised to be judged alike (http_head.c). */
static const struct http_head_limits all_limits[] = {
    {8192, 32768, 100},
    {64,   256,   4  },
    {300,  200,   2  }
};

static void check_in_head(const struct http_head *h, struct slice slice)
{
    check(slice.off <= h->size && slice.len <= h->size - slice.off);
}

static void check_normalised(const char *path, long n, size_t raw_len)
{
    check(n >= 1 && (size_t)n <= raw_len && path[0] == '/');
    check(memchr(path, '\0', (size_t)n) == NULL);
    for (long start = 0, end; start < n; start = end) {
        for (end = start + 1; end < n && path[end] != '/';)
            end++;
        check(!(end - start == 2 && path[start + 1] == '.'));
        check(!(end - start == 3 && path[start + 1] == '.' && path[start + 2] == '.'));
    }
}

static void check_path(const char *raw, size_t len)
{
    char *first = malloc(len + 1), *second = malloc(len + 1);
    check(first != NULL && second != NULL);
    long n = http_path_normalise(raw, len, first);
    if (n == 1 && first[0] == '*') {
        check(len == 1 && raw[0] == '*');
    } else if (n != -1) {
        check_normalised(first, n, len);
        if (memchr(first, '%', (size_t)n) == NULL) {
            check(http_path_normalise(first, (size_t)n, second) == n);
            check(memcmp(first, second, (size_t)n) == 0);
        }
    }
    free(first);
    free(second);
}

static void check_fields(const struct http_head *h, const char *data)
{
    struct http_field field;
    uint32_t cursor = 0, count = 0, hosts = 0;
    check_in_head(h, h->fields);
    while (http_head_next_field(h, data, &cursor, &field)) {
        check_in_head(h, field.name);
        check_in_head(h, field.value);
        check(field.name.len > 0 && field.name.off + field.name.len < field.value.off + field.value.len + 1);
        for (uint32_t i = 0; i < field.value.len; i++) {
            uint8_t c = (uint8_t)data[field.value.off + i];
            check((c >= ' ' && c != 0x7f) || c == '\t');
        }
        hosts += field.name.len == 4 && http_list_has(data + field.name.off, 4, "host");
        count++;
    }
    check(cursor == h->fields.len && count == h->field_count);
    check(hosts <= 1 && (hosts == 1 || h->minor == 0));
}

static void check_accepted(const struct http_head *h, const char *data, const struct http_head_limits *limits)
{
    check(h->size >= sizeof("T / HTTP/1.0\r\n\r\n") - 1 && h->size <= limits->size &&
          memcmp(data + h->size - 4, "\r\n\r\n", 4) == 0);
    check(h->field_count <= limits->field_count);
    check(h->method.len >= 1 && h->method.len <= 32 && h->target.len >= 1);
    check_in_head(h, h->method);
    check_in_head(h, h->target);
    check_in_head(h, h->path);
    check_in_head(h, h->query);
    check_in_head(h, h->authority);
    check(h->path.len >= 1 && (data[h->path.off] == '/' || (h->path.len == 1 && data[h->path.off] == '*')));
    check(h->minor <= 1 && !(h->has_length && h->chunked) && !(h->chunked && h->minor == 0));
    check(!h->has_length || h->content_length <= INT64_MAX);
    check(h->authority.len > 0 || h->minor == 0);
    check_fields(h, data);
    check_path(data + h->path.off, h->path.len);
}

static void check_refused(const struct http_head *h)
{
    static const uint16_t statuses[] = {400, 405, 414, 417, 431, 501, 505};
    bool known = false;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        known |= h->status == statuses[i];
    check(known && h->reason != NULL && h->reason[0] != '\0');
}

/* The same bytes one at a time; a byte that has not come is 0 in `copy`. */
static void check_byte_by_byte(const struct http_head *whole, enum http_parse expected, const char *data,
                               size_t size, const struct http_head_limits *limits)
{
    struct http_head h;
    enum http_parse result = HTTP_MORE;
    char *copy = calloc(1, size + 1);
    check(copy != NULL);
    http_head_init(&h);
    for (size_t i = 0; i < size && result == HTTP_MORE; i++) {
        copy[i] = data[i];
        result = http_head_parse(&h, copy, i + 1, limits);
        check(result != HTTP_DONE || h.size == i + 1);
    }
    free(copy);
    check(result == expected);
    if (result == HTTP_BAD)
        check(h.status == whole->status && strcmp(h.reason, whole->reason) == 0);
    if (result == HTTP_DONE)
        check(h.size == whole->size && h.field_count == whole->field_count && h.chunked == whole->chunked &&
              h.has_length == whole->has_length && h.content_length == whole->content_length &&
              h.keep_alive == whole->keep_alive && h.expect_continue == whole->expect_continue &&
              h.websocket == whole->websocket && h.path.off == whole->path.off &&
              h.path.len == whole->path.len && h.authority.off == whole->authority.off &&
              h.authority.len == whole->authority.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size); /* ends where the input ends, so that the sanitizer sees a byte too many */
    check(exact != NULL || size == 0);
    if (size > 0)
        memcpy(exact, data, size);
    for (size_t i = 0; i < sizeof(all_limits) / sizeof(all_limits[0]); i++) {
        struct http_head h;
        http_head_init(&h);
        enum http_parse result = http_head_parse(&h, exact, size, &all_limits[i]);
        if (result == HTTP_DONE)
            check_accepted(&h, exact, &all_limits[i]);
        if (result == HTTP_BAD)
            check_refused(&h);
        check(result != HTTP_MORE || (h.size == 0 && size < all_limits[i].size));
        check_byte_by_byte(&h, result, exact, size, &all_limits[i]);
    }
    check_path(exact, size);
    free(exact);
    return 0;
}
