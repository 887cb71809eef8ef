/* file_rules.c - see file_rules.h. */
#include "file_rules.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "http_date.h"
#include "http_reply.h"

const struct file_rules_coding file_rules_codings[FILE_RULES_CODINGS] = {
    {".br", "br"  },
    {".gz", "gzip"},
};

/* ---- names ---- */

const struct conf_static *file_rules_find(const struct conf_app *app, const char *path, size_t len)
{
    const struct conf_static *best = NULL;
    for (uint32_t i = 0; i < app->static_count; i++) {
        const struct conf_static *s = &app->statics[i];
        bool below = len >= s->prefix_len && memcmp(path, s->prefix, s->prefix_len) == 0 &&
                     (len == s->prefix_len || path[s->prefix_len] == '/');
        if (below && (best == NULL || s->prefix_len > best->prefix_len))
            best = s;
    }
    return best;
}

bool file_rules_name(const char *rest, size_t len)
{
    if (len == 0 || rest[0] != '/' || rest[len - 1] == '/')
        return false;
    for (size_t i = 0; i + 1 < len; i++)
        if (rest[i] == '/' && (rest[i + 1] == '/' || rest[i + 1] == '.'))
            return false;
    return true;
}

/* ---- the entity tag ---- */

/* The finaliser of splitmix64: each bit of the result depends on each of x. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Inode and time are mixed: the tag tells two versions apart and nothing about the file system. */
void file_rules_etag(const struct file_rules_facts *facts, char etag[FILE_RULES_ETAG])
{
    uint64_t time = (uint64_t)facts->modified * 1000000000u + facts->modified_ns;
    uint64_t version = mix(time + mix(facts->inode + 0x9e3779b97f4a7c15u));
    (void)snprintf(etag, FILE_RULES_ETAG, "\"%llx-%016llx\"", (unsigned long long)facts->size,
                   (unsigned long long)version);
}

/* ---- header fields ---- */

/* What is asked, and of what. */
struct question {
    const struct http_head *head;
    const char *data;
    const struct file_rules_facts *facts;
    const char *etag;
    time_t now;
};

enum presence { ABSENT, ONCE, REPEATED };

/* A field that may be there once. */
static enum presence single(const struct question *q, const char *name, struct slice *value)
{
    uint32_t cursor = 0;
    struct slice more;
    if (!http_head_next_named(q->head, q->data, name, &cursor, value))
        return ABSENT;
    return http_head_next_named(q->head, q->data, name, &cursor, &more) ? REPEATED : ONCE;
}

/* A date that comes twice or is none is as good as absent (RFC 9110 13.1.3, 13.1.4). */
static bool date_of(const struct question *q, const char *name, time_t *when)
{
    struct slice value;
    return single(q, name, &value) == ONCE && http_date_parse(q->data + value.off, value.len, q->now, when);
}

/* ---- codings ---- */

/* The weight of a coding in thousandths over all lines: its own, else that of "*", else 0. "x-gzip" is the
 * old name of gzip (RFC 9110 8.4.1.3). */
static int weight_of(const struct question *q, const char *name)
{
    const char *const names[] = {name, strcmp(name, "gzip") == 0 ? "x-gzip" : name, "*"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint32_t cursor = 0;
        struct slice value;
        while (http_head_next_named(q->head, q->data, "Accept-Encoding", &cursor, &value)) {
            int weight = http_accept_weight(q->data + value.off, value.len, names[i]);
            if (weight >= 0)
                return weight;
        }
    }
    return 0;
}

unsigned file_rules_accepted(const struct http_head *head, const char *data,
                             uint8_t order[FILE_RULES_CODINGS])
{
    const struct question q = {.head = head, .data = data};
    struct slice unused;
    unsigned count = 0;
    int weights[FILE_RULES_CODINGS];
    if (single(&q, "Accept-Encoding", &unused) == ABSENT)
        return 0;
    for (unsigned i = 0; i < FILE_RULES_CODINGS; i++) {
        weights[i] = weight_of(&q, file_rules_codings[i].name);
        if (weights[i] == 0)
            continue;
        unsigned at = count++;
        for (; at > 0 && weights[order[at - 1]] < weights[i]; at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
    return count;
}

/* ---- conditions ---- */

/* Whether a list of entity tags holds ours, or is "*". What is no list holds it up to where it goes wrong. A
 * weak tag never matches where a strong comparison is asked for (RFC 9110 8.8.3.2). */
static bool list_holds(const char *text, size_t len, const char *etag, bool weak_too)
{
    const char *at = text, *end = text + len;
    size_t etag_len = strlen(etag);
    if (len == 1 && text[0] == '*')
        return true;
    while (at < end) {
        if (is_blank(*at) || *at == ',') {
            at++;
            continue;
        }
        bool weak = end - at > 2 && at[0] == 'W' && at[1] == '/';
        at += weak ? 2 : 0;
        const char *close = *at == '"' ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
        if (close == NULL)
            return false;
        size_t n = (size_t)(close + 1 - at);
        if (n == etag_len && memcmp(at, etag, n) == 0 && (weak_too || !weak))
            return true;
        at = close + 1;
    }
    return false;
}

enum outcome { NOT_ASKED, FALSE, TRUE };

static enum outcome etag_listed(const struct question *q, const char *name, bool weak_too)
{
    enum outcome outcome = NOT_ASKED;
    uint32_t cursor = 0;
    struct slice value;
    while (outcome != TRUE && http_head_next_named(q->head, q->data, name, &cursor, &value))
        outcome = list_holds(q->data + value.off, value.len, q->etag, weak_too) ? TRUE : FALSE;
    return outcome;
}

/* 412 or 304 where a condition stands against sending; 0: none does. In the order of RFC 9110 13.2.2. */
static uint16_t precondition(const struct question *q)
{
    time_t when;
    enum outcome match = etag_listed(q, "If-Match", false);
    if (match == FALSE)
        return 412;
    if (match == NOT_ASKED && date_of(q, "If-Unmodified-Since", &when) && q->facts->modified > when)
        return 412;
    enum outcome none_match = etag_listed(q, "If-None-Match", true);
    if (none_match == TRUE)
        return 304;
    if (none_match == NOT_ASKED && date_of(q, "If-Modified-Since", &when) && q->facts->modified <= when)
        return 304;
    return 0;
}

/* Whether a Range counts: no If-Range, or one that names these very bytes. A date does so only if it is a
 * second old, for the file could change again within it (RFC 9110 13.1.5, 8.8.2.2). */
static bool range_counts(const struct question *q)
{
    struct slice value;
    time_t when;
    switch (single(q, "If-Range", &value)) {
    case ABSENT:
        return true;
    case REPEATED:
        return false;
    case ONCE:
        break;
    }
    const char *text = q->data + value.off;
    if (value.len > 0 && text[0] == '"')
        return value.len == strlen(q->etag) && memcmp(text, q->etag, value.len) == 0;
    return http_date_parse(text, value.len, q->now, &when) && when == q->facts->modified && when < q->now;
}

/* ---- ranges ---- */

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

/* The digits at *at, moving it behind them; a number that is too large counts as the largest. False: none. */
static bool take_number(const char **at, const char *end, uint64_t *value)
{
    const char *start = *at;
    *value = 0;
    for (; *at < end && is_digit(**at); ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');
        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
    }
    return *at > start;
}

/* 206 with the range, 416, or 200: it is no byte range, wrong, or names several, for which the whole file is
 * a right answer (RFC 9110 14.2). */
static uint16_t read_range(const char *text, size_t len, uint64_t size, struct file_rules_verdict *verdict)
{
    static const char unit[] = "bytes=";
    const char *at = text + sizeof(unit) - 1, *end = text + len;
    uint64_t from, to;
    if (len < sizeof(unit) || strncasecmp(text, unit, sizeof(unit) - 1) != 0)
        return 200;
    at = skip_blanks(at, end);
    bool has_from = take_number(&at, end, &from);
    if (at == end || *at++ != '-')
        return 200;
    bool has_to = take_number(&at, end, &to);
    if (skip_blanks(at, end) != end || (!has_from && !has_to) || (has_from && has_to && to < from))
        return 200;
    if (!has_from) { /* the last `to` bytes; of no bytes there is no range that could be told */
        if (to == 0 || size == 0)
            return to == 0 ? 416 : 200;
        verdict->length = to < size ? to : size;
        verdict->first = size - verdict->length;
        return 206;
    }
    if (from >= size)
        return 416;
    verdict->first = from;
    verdict->length = (has_to && to < size - 1 ? to : size - 1) - from + 1;
    return 206;
}

struct file_rules_verdict file_rules_judge(const struct http_head *head, const char *data,
                                           const struct file_rules_facts *facts, const char *etag, time_t now)
{
    const struct question q = {.head = head, .data = data, .facts = facts, .etag = etag, .now = now};
    struct file_rules_verdict verdict = {.status = 200, .length = facts->size};
    struct slice range;
    uint16_t refusal = precondition(&q);
    if (refusal != 0)
        verdict.status = refusal;
    else if (http_head_method_is(head, data, "GET") && single(&q, "Range", &range) == ONCE &&
             range_counts(&q))
        verdict.status = read_range(data + range.off, range.len, facts->size, &verdict);
    return verdict;
}
