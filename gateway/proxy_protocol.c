/* proxy_protocol.c - see proxy_protocol.h. Sections named in comments are those of doc/proxy-protocol.txt. */
#include "proxy_protocol.h"

#include <stdbool.h>
#include <string.h>

#include "ascii.h"

enum {
    V1_MAX = 107, /* bytes of the longest line with its CRLF (2.1) */
    V2_HEAD = 16, /* signature, command, family, length (2.2) */
    V2_LOCAL = 0x20,
    V2_PROXY = 0x21,
    V2_UNSPEC = 0x00,
    V4_BYTES = 4,
    V6_BYTES = 16
};

static const char v1_start[] = "PROXY ";
static const char v2_start[] = "\r\n\r\n\0\r\nQUIT\n"; /* 12 bytes without the NUL */

/* ---- version 1 ---- */

struct line {
    const char *at;
    const char *end;
};

/* The next word; words are separated by exactly one blank. */
static struct line take_word(struct line *rest)
{
    const char *blank = memchr(rest->at, ' ', (size_t)(rest->end - rest->at));
    struct line word = {rest->at, blank != NULL ? blank : rest->end};
    rest->at = blank != NULL ? blank + 1 : rest->end;
    return word;
}

static bool is_word(struct line word, const char *text)
{
    size_t len = (size_t)(word.end - word.at);
    return len == strlen(text) && memcmp(word.at, text, len) == 0;
}

static bool take_address(struct line *rest, bool v6, struct network *address)
{
    struct line word = take_word(rest);
    size_t len = (size_t)(word.end - word.at);
    bool is_v6 = len > 0 && memchr(word.at, ':', len) != NULL;
    return len > 0 && is_v6 == v6 && network_address(word.at, len, address);
}

/* Decimal without a leading zero. */
static bool take_port(struct line *rest, uint16_t *port)
{
    struct line word = take_word(rest);
    size_t len = (size_t)(word.end - word.at);
    uint32_t value = 0;
    if (len == 0 || len > 5 || (len > 1 && word.at[0] == '0'))
        return false;
    for (; word.at < word.end; word.at++) {
        if (!is_digit(*word.at))
            return false;
        value = value * 10 + (uint32_t)(*word.at - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* What stands between "PROXY " and the CRLF. A receiver must ignore all that follows UNKNOWN (2.1). */
static bool v1_line(struct line rest, struct proxy_protocol *h)
{
    struct line family = take_word(&rest);
    struct network own;
    uint16_t own_port;
    bool v6 = is_word(family, "TCP6");
    if (is_word(family, "UNKNOWN"))
        return true;
    if (!v6 && !is_word(family, "TCP4"))
        return false;
    if (!take_address(&rest, v6, &h->source) || !take_address(&rest, v6, &own) ||
        !take_port(&rest, &h->port) || !take_port(&rest, &own_port))
        return false;
    return rest.at == rest.end && rest.end[-1] != ' ';
}

static enum http_parse v1(const char *data, size_t len, struct proxy_protocol *h)
{
    const size_t start = sizeof(v1_start) - 1;
    size_t have = len < V1_MAX ? len : V1_MAX;
    const char *lf = memchr(data, '\n', have);
    if (lf == NULL)
        return have < V1_MAX ? HTTP_MORE : HTTP_BAD;
    const char *cr = memchr(data, '\r', have);
    if (cr != lf - 1 || !v1_line((struct line){data + start, cr}, h))
        return HTTP_BAD;
    h->size = (uint32_t)(lf + 1 - data);
    return HTTP_DONE;
}

/* ---- version 2 ---- */

static uint16_t big_endian(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* Family and transport of connections that can carry HTTP, and the bytes of their addresses. */
static const struct family {
    uint8_t code;
    uint8_t bytes;        /* of both addresses and ports */
    uint8_t source_bytes; /* of the client's address; 0: none that could be told */
} families[] = {
    {V2_UNSPEC, 0,   0       },
    {0x11,      12,  V4_BYTES},
    {0x21,      36,  V6_BYTES},
    {0x31,      216, 0       },
};

static const struct family *find_family(uint8_t code)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (families[i].code == code)
            return &families[i];
    return NULL;
}

static void take_source(const uint8_t *addresses, const struct family *family, struct proxy_protocol *h)
{
    static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* RFC 4291 2.5.5.2 */
    size_t bytes = family->source_bytes;
    if (bytes == 0)
        return;
    h->port = big_endian(addresses + 2 * bytes);
    if (bytes == V6_BYTES && memcmp(addresses, mapped, sizeof(mapped)) == 0) {
        addresses += sizeof(mapped);
        bytes = V4_BYTES;
    }
    memcpy(h->source.bytes, addresses, bytes);
    h->source.width = h->source.bits = (uint8_t)(8 * bytes);
}

/* LOCAL comes from the balancer itself, e.g. to look whether we live: what else it says is skipped (2.2). */
static enum http_parse v2(const char *data, size_t len, struct proxy_protocol *h)
{
    const uint8_t *p = (const uint8_t *)data;
    const size_t command = sizeof(v2_start) - 1;
    if (len > command && p[command] != V2_LOCAL && p[command] != V2_PROXY)
        return HTTP_BAD;
    if (len < V2_HEAD)
        return HTTP_MORE;
    bool local = p[command] == V2_LOCAL;
    const struct family *family = find_family(p[command + 1]);
    uint32_t rest = big_endian(p + command + 2);
    if (rest > PROXY_PROTOCOL_MAX - V2_HEAD || (!local && (family == NULL || rest < family->bytes)))
        return HTTP_BAD;
    if (len < V2_HEAD + rest)
        return HTTP_MORE;
    if (!local)
        take_source(p + V2_HEAD, family, h);
    h->size = V2_HEAD + rest;
    return HTTP_DONE;
}

/* ---- both ---- */

static bool begins(const char *data, size_t len, const char *start, size_t start_len)
{
    return memcmp(data, start, len < start_len ? len : start_len) == 0;
}

enum http_parse proxy_protocol_parse(const char *data, size_t len, struct proxy_protocol *h)
{
    *h = (struct proxy_protocol){.size = 0};
    if (len == 0)
        return HTTP_MORE;
    if (begins(data, len, v2_start, sizeof(v2_start) - 1))
        return v2(data, len, h);
    if (!begins(data, len, v1_start, sizeof(v1_start) - 1))
        return HTTP_BAD;
    return len < sizeof(v1_start) - 1 ? HTTP_MORE : v1(data, len, h);
}
