/* forwarded_hop.c - see forwarded_hop.h. */
#include "forwarded_hop.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "http_head.h"

enum { PREFIX_MAX = 1024 };

/* ---- lists, from the right ---- */

void forwarded_lines_add(struct forwarded_lines *lines, struct slice value)
{
    lines->values[lines->count++ % FORWARDED_LINES_MAX] = value;
}

void forwarded_walk_start(struct forwarded_walk *w, const char *base, const struct forwarded_lines *lines,
                          bool quotes)
{
    *w = (struct forwarded_walk){.base = base, .lines = lines, .line = lines->count, .quotes = quotes};
}

static bool open_line(struct forwarded_walk *w)
{
    uint32_t count = w->lines->count;
    uint32_t oldest = count > FORWARDED_LINES_MAX ? count - FORWARDED_LINES_MAX : 0;
    if (w->line == oldest)
        return false;
    struct slice value = w->lines->values[--w->line % FORWARDED_LINES_MAX];
    w->start = value.off;
    w->end = value.off + value.len;
    w->open = true;
    return true;
}

/* Whether an odd number of backslashes stands before the byte. */
static bool is_escaped(const struct forwarded_walk *w, uint32_t at)
{
    uint32_t from = at;
    while (from > w->start && w->base[from - 1] == '\\')
        from--;
    return (at - from) % 2 == 1;
}

/* Where the rightmost element of start..end begins. Quoted strings are met from behind: what stands further
 * left, and may be anybody's, cannot change what is found. */
static uint32_t last_element(const struct forwarded_walk *w)
{
    bool quoted = false;
    uint32_t at = w->end;
    for (; at > w->start; at--) {
        char c = w->base[at - 1];
        if (c == '"' && w->quotes && !(quoted && is_escaped(w, at - 1)))
            quoted = !quoted;
        else if (c == ',' && !quoted)
            break;
    }
    return at;
}

bool forwarded_walk_left(struct forwarded_walk *w, struct slice *element)
{
    do {
        if (!w->open && !open_line(w))
            return false;
        uint32_t at = last_element(w);
        *element = trim(w->base, w->base + at, w->base + w->end);
        w->open = at > w->start;
        w->end = at - (w->open ? 1 : 0);
    } while (element->len == 0);
    return true;
}

/* ---- addresses ---- */

/* RFC 7239 6.3: "_" and more */
static bool is_obfuscated(const char *text, size_t len)
{
    for (size_t i = 1; i < len; i++)
        if (!is_alnum(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-')
            return false;
    return len > 1 && text[0] == '_';
}

static bool is_word(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

/* What stands behind the address: nothing, or a colon and a port. */
static bool take_port(const char *text, size_t len, bool standard, struct forwarded_hop *hop)
{
    uint32_t port = 0;
    if (len == 0)
        return true;
    if (text[0] != ':' || len == 1)
        return false;
    if (standard && text[1] == '_')
        return is_obfuscated(text + 1, len - 1);
    for (size_t i = 1; i < len; i++) {
        if (len > 6 || !is_digit(text[i]))
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    hop->port = (uint16_t)port;
    hop->has_port = true;
    return port <= UINT16_MAX;
}

/* How many bytes are the address, brackets included. */
static size_t address_len(const char *text, size_t len, bool standard)
{
    if (len > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', len);
        return close != NULL ? (size_t)(close - text) + 1 : len;
    }
    const char *colon = memchr(text, ':', len);
    bool bare_v6 =
        colon != NULL && !standard && memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) != NULL;
    return colon == NULL || bare_v6 ? len : (size_t)(colon - text);
}

bool forwarded_hop_node(const char *base, struct slice s, bool standard, struct forwarded_hop *hop)
{
    const char *text = base + s.off;
    size_t n = address_len(text, s.len, standard);
    hop->client = (struct network){.width = 0};
    hop->has_port = false;
    hop->named = true;
    if (!take_port(text + n, s.len - n, standard, hop))
        return false;
    if (is_word(text, n, "unknown") || (standard && is_obfuscated(text, n)))
        return true;
    bool bracketed = n > 2 && text[0] == '[' && text[n - 1] == ']';
    if (bracketed)
        return memchr(text, ':', n) != NULL && network_address(text + 1, n - 2, &hop->client);
    return network_address(text, n, &hop->client);
}

/* ---- words ---- */

const char *forwarded_hop_scheme(const char *base, struct slice s)
{
    if (is_word(base + s.off, s.len, "https"))
        return "https";
    return is_word(base + s.off, s.len, "http") ? "http" : NULL;
}

/* The characters of a path (RFC 3986 3.3) but '%', for SCRIPT_NAME is decoded, and ',', which separates. */
static bool is_prefix_byte(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("/-._~!$&'()*+;=:@", c) != NULL);
}

bool forwarded_hop_prefix(const char *base, struct slice s, struct slice *prefix)
{
    const char *text = base + s.off;
    if (s.len == 0 || s.len > PREFIX_MAX || text[0] != '/')
        return false;
    for (uint32_t i = 0, segment = 1; i < s.len; i++) {
        if (!is_prefix_byte(text[i]))
            return false;
        bool ends = i + 1 == s.len || text[i + 1] == '/';
        if (text[i] == '/')
            segment = i + 1;
        size_t n = i + 1 - segment;
        bool empty = n == 0 && i + 1 < s.len;
        bool dots = (n == 1 && text[segment] == '.') || (n == 2 && memcmp(text + segment, "..", 2) == 0);
        if (ends && (empty || dots))
            return false;
    }
    *prefix = (struct slice){s.off, s.len - (text[s.len - 1] == '/' ? 1 : 0)};
    return true;
}

/* ---- one element of Forwarded ---- */

struct pair {
    struct slice name;
    struct slice value; /* without its quotes */
    bool escaped;       /* the value holds backslashes */
};

/* token [ "=" ( token / quoted-string ) ] at *at, which is moved behind it. */
static bool take_pair(const char *base, uint32_t *at, uint32_t end, struct pair *pair)
{
    uint32_t p = *at + (uint32_t)http_token(base + *at, end - *at);
    *pair = (struct pair){
        .name = {*at, p - *at}
    };
    if (p == *at || p == end || base[p] != '=')
        return false;
    uint32_t start = ++p;
    if (p < end && base[p] == '"') {
        for (p = ++start; p < end && base[p] != '"'; p++)
            if (base[p] == '\\') {
                pair->escaped = true;
                p++;
            }
        if (p >= end)
            return false;
        pair->value = (struct slice){start, p - start};
        *at = p + 1;
        return true;
    }
    p += (uint32_t)http_token(base + p, end - p);
    pair->value = (struct slice){start, p - start};
    *at = p;
    return p > start;
}

/* Takes what a pair tells. False: twice the same, or nothing that can be. */
static bool use_pair(const char *base, const struct pair *pair, struct forwarded_hop *hop)
{
    const char *name = base + pair->name.off;
    struct slice value = pair->value;
    if (is_word(name, pair->name.len, "for"))
        return !hop->named && !pair->escaped && forwarded_hop_node(base, value, true, hop);
    if (is_word(name, pair->name.len, "proto")) {
        bool first = hop->scheme == NULL && !pair->escaped;
        hop->scheme = forwarded_hop_scheme(base, value);
        return first && hop->scheme != NULL;
    }
    if (is_word(name, pair->name.len, "host")) {
        bool first = hop->host.len == 0 && !pair->escaped;
        hop->host = value;
        return first && http_head_valid_authority(base + value.off, value.len);
    }
    return true;
}

bool forwarded_hop_parse(const char *base, struct slice element, struct forwarded_hop *hop)
{
    uint32_t at = element.off, end = element.off + element.len;
    struct pair pair;
    bool separated = true;
    *hop = (struct forwarded_hop){.scheme = NULL};
    for (;;) {
        while (at < end && (is_blank(base[at]) || base[at] == ';'))
            separated |= base[at++] == ';';
        if (at == end)
            return true;
        if (!separated || !take_pair(base, &at, end, &pair) || !use_pair(base, &pair, hop))
            return false;
        separated = false;
    }
}
