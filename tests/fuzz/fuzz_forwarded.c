/* fuzz_forwarded.c - any bytes as the header fields of a request from a trusted proxy: what is read out of
 * them is well-formed, and what an untrusted client has written in front of it changes nothing. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_head_limits limits = {.request_line = 100, .size = 1 << 16, .field_count = 200};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct forwarded *make_trust(void)
{
    static const char *const proxies[] = {"10.0.0.0/8", "private", "2001:db8::/32"};
    static const char *const headers[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                                          "x-forwarded-prefix", "forwarded"};
    const struct conf_list trusted = {proxies, 3}, believed = {headers, 5};
    struct forwarded *f = forwarded_new(&trusted, &believed);
    check(f != NULL);
    return f;
}

static void check_slice(const char *base, const struct http_head *head, struct slice s)
{
    check(s.len == 0 || (s.off >= head->fields.off && s.off + s.len <= head->fields.off + head->fields.len));
    for (uint32_t i = 0; i < s.len; i++)
        check(base[s.off + i] > ' ' && base[s.off + i] < 0x7f && base[s.off + i] != ',');
}

static void check_facts(const char *base, const struct http_head *head, const struct forwarded_facts *facts)
{
    check((facts->good & ~facts->seen) == 0 && (facts->good & FORWARDED_OTHER) == 0);
    check(facts->client.width == 0 || (facts->good & (FORWARDED_FOR | FORWARDED_STANDARD)) != 0);
    check(facts->scheme == NULL || (facts->good & (FORWARDED_PROTO | FORWARDED_STANDARD)) != 0);
    check(facts->scheme == NULL || strcmp(facts->scheme, "http") == 0 || strcmp(facts->scheme, "https") == 0);
    check_slice(base, head, facts->host);
    check_slice(base, head, facts->prefix);
    check(facts->host.len == 0 || http_head_valid_authority(base + facts->host.off, facts->host.len));
    check(facts->prefix.len == 0 || base[facts->prefix.off] == '/');
}

/* Reads data[0..size) as fields behind a fixed start, and `more` behind them. False: it is no head. */
static bool read_fields(const uint8_t *data, size_t size, const char *more, bool trusted,
                        struct forwarded_facts *facts)
{
    static const char start[] = "GET / HTTP/1.1\r\nHost: h\r\n";
    size_t n = sizeof(start) - 1, tail = strlen(more), len = n + size + tail;
    struct http_head head;
    struct forwarded *f = make_trust();
    char *base = malloc(len);
    check(base != NULL);
    memcpy(base, start, n);
    if (size > 0)
        memcpy(base + n, data, size);
    memcpy(base + n + size, more, tail);
    http_head_init(&head);
    bool whole = http_head_parse(&head, base, len, &limits) == HTTP_DONE && head.size == len;
    if (whole) {
        forwarded_read(f, &head, base, trusted, facts);
        check_facts(base, &head, facts);
    }
    free(base);
    forwarded_free(f);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char proxy[] = "X-Forwarded-For: 192.0.2.1:7\r\nForwarded: for=192.0.2.2;proto=https\r\n"
                                "X-Forwarded-Proto: http\r\n\r\n";
    struct forwarded_facts facts;
    if (!read_fields(data, size, "\r\n", true, &facts))
        return 0;
    check(read_fields(data, size, "\r\n", false, &facts) && facts.good == 0 && facts.client.width == 0);
    if (!read_fields(data, size, proxy, true, &facts))
        return 0;
    static const uint8_t client[] = {192, 0, 2, 2};
    check((facts.good & (FORWARDED_FOR | FORWARDED_STANDARD | FORWARDED_PROTO)) ==
          (FORWARDED_FOR | FORWARDED_STANDARD | FORWARDED_PROTO));
    check(facts.client.width == 32 && memcmp(facts.client.bytes, client, 4) == 0 && !facts.has_port);
    check(strcmp(facts.scheme, "https") == 0);
    return 0;
}
