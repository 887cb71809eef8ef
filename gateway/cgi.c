/* cgi.c - see cgi.h: a request as variables, first the fixed ones (cgi_rows.c), then the header fields.
 * cgi_reply.c has the answer.
 *
 * Pairs are written straight into `out`, and what is written is the only table there is: a repeated
 * header is joined to its first pair in place, and what Connection names is cut out again. Both are rare; a
 * bitmap of name hashes says without a search when there is nothing to find. */
#include "cgi.h"

#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "cgi_rows.h"
#include "fcgi_record.h"
#include "forwarded.h"
#include "http_reply.h"

struct name {
    const char *text;
    size_t len;
};

#define NAME(text)                                                                                           \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }

/* ---- name-value pairs ---- */

enum { HEADER_PREFIX = sizeof("HTTP_") - 1 };

struct params {
    struct buf *out;
    const struct cgi_request *request;
    uint32_t fields;   /* offset in out of the first pair that came from a header */
    struct slice id;   /* name of the request id's variable, in out; len 0: none */
    uint64_t seen[4];  /* hashes of the names of those pairs; a clear bit: there is no such pair */
    bool names_listed; /* a Connection field names others */
};

struct pair {
    uint32_t off; /* of its lengths, in out */
    uint32_t name_off;
    uint32_t name_len;
    uint32_t value_len;
};

static uint32_t pair_end(const struct pair *pair)
{
    return pair->name_off + pair->name_len + pair->value_len;
}

static char *append(char *to, const char *from, size_t len)
{
    if (len > 0) /* from may be NULL then */
        memcpy(to, from, len);
    return to + len;
}

/* Room for a pair behind out->len. A length that the four bytes on the wire cannot say is no room either. */
static bool reserve_pair(struct buf *out, size_t name_len, size_t value_len)
{
    return name_len <= INT32_MAX && value_len <= INT32_MAX &&
           buf_reserve(out, FCGI_PAIR_LENGTHS_MAX + name_len + value_len);
}

/* Reserved before. `name` may lie in that same room: it is moved to its place. */
static void put_pair(struct buf *out, const char *name, size_t name_len, const struct cgi_value *v)
{
    uint8_t lengths[FCGI_PAIR_LENGTHS_MAX];
    size_t n = fcgi_put_lengths(lengths, name_len, v->len + v->tail_len + v->end_len);
    char *p = out->data + out->len;
    memmove(p + n, name, name_len);
    memcpy(p, lengths, n);
    p = append(p + n + name_len, v->text, v->len);
    p = append(p, v->tail, v->tail_len);
    p = append(p, v->end, v->end_len);
    out->len = (uint32_t)(p - out->data);
}

static uint32_t get_length(const char *data, uint32_t *off)
{
    const uint8_t *p = (const uint8_t *)data + *off;
    bool is_long = p[0] >> 7;
    *off += is_long ? 4 : 1;
    return is_long ? (p[0] & 0x7fu) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : p[0];
}

static uint8_t name_hash(const char *name, size_t len)
{
    uint32_t end; /* names differ most at their ends; the shortest one, HTTP_X, has six bytes */
    memcpy(&end, name + len - sizeof(end), sizeof(end));
    return (uint8_t)((end ^ (uint32_t)len) * 0x9e3779b1u >> 24); /* multiplicative hashing, Knuth TAOCP 6.4 */
}

/* The pair of that name among those that came from headers. */
static bool find_pair(const struct params *p, const char *name, size_t len, struct pair *pair)
{
    uint8_t hash = name_hash(name, len);
    if ((p->seen[hash / 64] >> hash % 64 & 1) == 0)
        return false;
    const char *data = p->out->data;
    uint32_t off = p->fields;
    while (off < p->out->len) {
        *pair = (struct pair){.off = off};
        pair->name_len = get_length(data, &off);
        pair->value_len = get_length(data, &off);
        pair->name_off = off;
        if (pair->name_len == len && memcmp(data + off, name, len) == 0)
            return true;
        off = pair_end(pair);
    }
    return false;
}

/* Makes a pair's value longer in place: what follows moves back, and its own bytes too when its length no
 * longer fits in one byte. */
static bool join_pair(struct buf *out, const struct pair *pair, const char *separator, const char *text,
                      size_t len)
{
    size_t gap = strlen(separator);
    if (!reserve_pair(out, pair->name_len, pair->value_len + gap + len))
        return false;
    uint8_t lengths[FCGI_PAIR_LENGTHS_MAX];
    size_t n = fcgi_put_lengths(lengths, pair->name_len, pair->value_len + gap + len);
    char *from = out->data + pair->name_off;
    char *to = out->data + pair->off + n;
    char *end = out->data + pair_end(pair);
    size_t grown = (size_t)(to - from) + gap + len;
    memmove(end + grown, end, out->len - pair_end(pair));
    memmove(to, from, pair->name_len + pair->value_len);
    memcpy(out->data + pair->off, lengths, n);
    char *p = append(to + pair->name_len + pair->value_len, separator, gap);
    append(p, text, len);
    out->len += (uint32_t)grown;
    return true;
}

static void cut_pair(struct buf *out, const struct pair *pair)
{
    uint32_t end = pair_end(pair);
    memmove(out->data + pair->off, out->data + end, out->len - end);
    out->len -= end - pair->off;
}

/* ---- header fields as variables ---- */

/* Not for the worker, beside what http_reply_drops() tells: what the gateway has dealt with itself, what a
 * row says already, and Proxy, which old CGI programs take for the variable http_proxy (CVE-2016-5385). */
static const struct name private_names[] = {
    NAME("HTTP_EXPECT"),
    NAME("HTTP_HOST"),
    NAME("HTTP_PROXY"),
};
static const struct name connection_name = NAME("HTTP_CONNECTION");
static const struct name cookie_name = NAME("HTTP_COOKIE");
static const struct name content_type_name = NAME("HTTP_CONTENT_TYPE");

static bool is_name(const struct name *name, const char *text, size_t len)
{
    return name->len == len && memcmp(name->text, text, len) == 0;
}

/* text[0..len): the variable of a header field. */
static bool is_private(const struct params *p, const struct http_field *field, const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof(private_names) / sizeof(private_names[0]); i++)
        if (is_name(&private_names[i], text, len))
            return true;
    return http_reply_drops(p->request->base + field->name.off, field->name.len) ||
           (p->id.len == len && memcmp(p->out->data + p->id.off, text, len) == 0);
}

/* The byte of a variable's name for one of a header's name; 0: not passed on. An underscore would become the
 * same as a dash; of the token's other signs no program knows what to expect. */
static char variable_byte(char c)
{
    char upper = (char)(c & ~0x20);
    if (upper >= 'A' && upper <= 'Z')
        return upper;
    if (is_digit(c))
        return c;
    return c == '-' ? '_' : '\0';
}

/* Writes HTTP_NAME to `to`, which has HEADER_PREFIX + len bytes; false: such a name is not passed on. */
static bool variable_name(char *to, const char *name, size_t len)
{
    to = append(to, "HTTP_", HEADER_PREFIX);
    for (size_t i = 0; i < len; i++) {
        to[i] = variable_byte(name[i]);
        if (to[i] == '\0')
            return false;
    }
    return len > 0;
}

/* CONTENT_TYPE alone goes without the prefix (RFC 3875 4.1.3). */
static struct name without_prefix(const char *text, size_t len)
{
    size_t skip = is_name(&content_type_name, text, len) ? HEADER_PREFIX : 0;
    return (struct name){text + skip, len - skip};
}

static bool is_plain_connection(const char *value, size_t len)
{
    return (len == 10 && strncasecmp(value, "keep-alive", len) == 0) ||
           (len == 5 && strncasecmp(value, "close", len) == 0);
}

/* A forwarding header that anybody may have written: no app can tell it from one of a proxy's. */
static bool is_unbelieved(const struct cgi_request *r, const struct http_field *field)
{
    unsigned kind = forwarded_kind(r->base + field->name.off, field->name.len);
    return (kind & ~r->forwarded) != 0;
}

static bool put_field(struct params *p, const struct http_field *field, struct slice *underscored)
{
    const char *base = p->request->base;
    const struct cgi_value v = {.text = base + field->value.off, .len = field->value.len};
    size_t len = HEADER_PREFIX + (size_t)field->name.len;
    if (!reserve_pair(p->out, len, v.len))
        return false;
    char *text = p->out->data + p->out->len + FCGI_PAIR_LENGTHS_MAX;
    if (!variable_name(text, base + field->name.off, field->name.len)) {
        *underscored = field->name;
        return true;
    }
    if (is_name(&connection_name, text, len) && !is_plain_connection(v.text, v.len))
        p->names_listed = true;
    if (is_private(p, field, text, len) || is_unbelieved(p->request, field))
        return true;
    struct name name = without_prefix(text, len);
    struct pair first;
    if (find_pair(p, name.text, name.len, &first))
        return join_pair(p->out, &first, is_name(&cookie_name, text, len) ? "; " : ", ", v.text, v.len);
    uint8_t hash = name_hash(name.text, name.len);
    p->seen[hash / 64] |= UINT64_C(1) << hash % 64;
    put_pair(p->out, name.text, name.len, &v);
    return true;
}

/* Cuts out the variable of one name that Connection lists (RFC 9110 7.6.1). */
static bool cut_listed(struct params *p, const char *token, size_t len)
{
    if (!reserve_pair(p->out, HEADER_PREFIX + len, 0))
        return false;
    char *text = p->out->data + p->out->len + FCGI_PAIR_LENGTHS_MAX;
    if (!variable_name(text, token, len))
        return true;
    struct name name = without_prefix(text, HEADER_PREFIX + len);
    struct pair pair;
    if (find_pair(p, name.text, name.len, &pair))
        cut_pair(p->out, &pair);
    return true;
}

static bool cut_all_listed(struct params *p, const char *list, size_t len)
{
    const char *at = list, *token;
    size_t n;
    while (next_element(&at, list + len, ',', &token, &n))
        if (!cut_listed(p, token, n))
            return false;
    return true;
}

static bool cut_connection_fields(struct params *p)
{
    const struct cgi_request *r = p->request;
    struct slice list;
    for (uint32_t cursor = 0; http_head_next_named(r->head, r->base, "Connection", &cursor, &list);)
        if (!cut_all_listed(p, r->base + list.off, list.len))
            return false;
    return true;
}

static bool put_fields(struct params *p, struct slice *underscored)
{
    const struct cgi_request *r = p->request;
    struct http_field field;
    p->fields = p->out->len;
    for (uint32_t cursor = 0; http_head_next_field(r->head, r->base, &cursor, &field);)
        if (!put_field(p, &field, underscored))
            return false;
    return !p->names_listed || cut_connection_fields(p);
}

static bool put_rows(const struct params *p)
{
    for (size_t i = 0; i < cgi_row_count; i++) {
        const struct cgi_row *row = &cgi_rows[i];
        struct cgi_value v = {.tail_len = 0, .end_len = 0};
        if (!row->value(p->request, &v))
            continue;
        if (!reserve_pair(p->out, row->name_len, v.len + v.tail_len + v.end_len))
            return false;
        put_pair(p->out, row->name, row->name_len, &v);
    }
    return true;
}

static bool put_request_id(struct params *p)
{
    const struct cgi_request *r = p->request;
    if (r->request_id_name == NULL)
        return true;
    size_t len = strlen(r->request_id_name);
    const struct cgi_value v = {.text = r->request_id, .len = strlen(r->request_id)};
    if (!reserve_pair(p->out, HEADER_PREFIX + len, v.len))
        return false;
    char *name = p->out->data + p->out->len + FCGI_PAIR_LENGTHS_MAX;
    if (!variable_name(name, r->request_id_name, len))
        return true;
    put_pair(p->out, name, HEADER_PREFIX + len, &v);
    p->id.len = (uint32_t)(HEADER_PREFIX + len);
    p->id.off = p->out->len - (uint32_t)v.len - p->id.len;
    return true;
}

bool cgi_put_params(struct buf *out, const struct cgi_request *request, struct slice *underscored)
{
    struct params p = {.out = out, .request = request};
    uint32_t start = out->len;
    *underscored = (struct slice){0, 0};
    if (put_rows(&p) && put_request_id(&p) && put_fields(&p, underscored))
        return true;
    out->len = start;
    return false;
}
