/* cgi.c - see cgi.h: a request as variables, first the fixed ones, then the header fields. cgi_reply.c has
 * the answer.
 *
 * Pairs are written straight into `out`, and what is written is the only table there is: a repeated
 * header is joined to its first pair in place, and what Connection names is cut out again. Both are rare; a
 * bitmap of name hashes says without a search when there is nothing to find. */
#include "cgi.h"

#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "fcgi_record.h"
#include "forwarded.h"
#include "http_reply.h"
#include "version.h"

struct name {
    const char *text;
    size_t len;
};

#define NAME(text)                                                                                           \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }

/* ---- values of the fixed variables: one function per row; false leaves the variable out ---- */

struct value {
    const char *text;
    size_t len;
    const char *tail; /* goes behind text */
    size_t tail_len;
    const char *end; /* and behind that */
    size_t end_len;
    char digits[20]; /* UINT64_MAX has 20 */
};

static bool set(struct value *v, const char *text, size_t len)
{
    v->text = text;
    v->len = len;
    return true;
}

static bool set_text(struct value *v, const char *text)
{
    return text != NULL && set(v, text, strlen(text));
}

static bool set_slice(struct value *v, const struct cgi_request *r, struct slice s)
{
    return set(v, r->base + s.off, s.len);
}

static bool request_method(const struct cgi_request *r, struct value *v)
{
    return set_slice(v, r, r->head->method);
}

static bool request_uri(const struct cgi_request *r, struct value *v)
{
    return set_slice(v, r, r->head->target);
}

static bool script_name(const struct cgi_request *r, struct value *v)
{
    v->tail = r->path;
    v->tail_len = r->script_len;
    v->end = r->script_index;
    v->end_len = r->script_index != NULL ? strlen(r->script_index) : 0;
    return r->prefix.len > 0 ? set_slice(v, r, r->prefix) : set_text(v, r->root_path);
}

static bool path_info(const struct cgi_request *r, struct value *v)
{
    return set(v, r->path + r->script_len, r->path_len - r->script_len);
}

static bool query_string(const struct cgi_request *r, struct value *v)
{
    return set_slice(v, r, r->head->query);
}

static bool server_protocol(const struct cgi_request *r, struct value *v)
{
    return set_text(v, r->head->minor == 0 ? "HTTP/1.0" : "HTTP/1.1");
}

/* How many bytes of the authority are the host; an IPv6 literal keeps its brackets (RFC 3875 4.1.14). */
static size_t host_len(const char *authority, size_t len)
{
    const char *from = authority;
    if (len > 0 && authority[0] == '[')
        from = memchr(authority, ']', len);
    const char *colon = from == NULL ? NULL : memchr(from, ':', len - (size_t)(from - authority));
    return colon == NULL ? len : (size_t)(colon - authority);
}

static bool server_name(const struct cgi_request *r, struct value *v)
{
    struct slice authority = r->head->authority;
    const char *text = r->base + authority.off;
    size_t host = host_len(text, authority.len);
    return host > 0 ? set(v, text, host) : set_text(v, r->server_addr);
}

static bool is_https(const struct cgi_request *r)
{
    return strcmp(r->scheme, "https") == 0;
}

static bool server_port(const struct cgi_request *r, struct value *v)
{
    struct slice authority = r->head->authority;
    if (authority.len == 0)
        return set_text(v, r->server_port);
    const char *text = r->base + authority.off;
    size_t port = host_len(text, authority.len) + 1; /* behind the colon; RFC 3986 3.2.3: may be empty */
    if (port < authority.len)
        return set(v, text + port, authority.len - port);
    return set_text(v, is_https(r) ? "443" : "80");
}

static bool server_software(const struct cgi_request *r, struct value *v)
{
    (void)r;
    return set_text(v, "leangate/" LEANGATE_VERSION);
}

static bool gateway_interface(const struct cgi_request *r, struct value *v)
{
    (void)r;
    return set_text(v, "CGI/1.1");
}

static bool request_scheme(const struct cgi_request *r, struct value *v)
{
    return set_text(v, r->scheme);
}

static bool https(const struct cgi_request *r, struct value *v)
{
    return is_https(r) && set_text(v, "on");
}

static bool remote_addr(const struct cgi_request *r, struct value *v)
{
    return set_text(v, r->remote_addr);
}

static bool remote_port(const struct cgi_request *r, struct value *v)
{
    return r->remote_port[0] != '\0' && set_text(v, r->remote_port);
}

static bool content_length(const struct cgi_request *r, struct value *v)
{
    size_t at = sizeof(v->digits);
    uint64_t n = r->body_len;
    do {
        v->digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return r->has_body && set(v, v->digits + at, sizeof(v->digits) - at);
}

static bool document_root(const struct cgi_request *r, struct value *v)
{
    return set_text(v, r->document_root != NULL && *r->document_root == '\0' ? "/" : r->document_root);
}

static bool script_filename(const struct cgi_request *r, struct value *v)
{
    if (r->script_file == NULL)
        return set_text(v, r->script_filename);
    v->tail = r->script_file;
    v->tail_len = strlen(r->script_file);
    v->end = r->script_tail;
    v->end_len = strlen(r->script_tail);
    return set_text(v, r->document_root);
}

/* RFC 3875 4.1.6: of PATH_INFO as if it were a path of its own. */
static bool path_translated(const struct cgi_request *r, struct value *v)
{
    v->tail = r->path + r->script_len;
    v->tail_len = r->path_len - r->script_len;
    return v->tail_len > 0 && set_text(v, r->document_root);
}

/* The authority that was decided on: an absolute-form target wins over Host (RFC 9112 3.2.2). */
static bool http_host(const struct cgi_request *r, struct value *v)
{
    return r->head->authority.len > 0 && set_slice(v, r, r->head->authority);
}

static const struct row {
    struct name name;
    bool (*value)(const struct cgi_request *, struct value *);
} rows[] = {
    {NAME("REQUEST_METHOD"),    request_method   },
    {NAME("REQUEST_URI"),       request_uri      },
    {NAME("SCRIPT_NAME"),       script_name      },
    {NAME("PATH_INFO"),         path_info        },
    {NAME("QUERY_STRING"),      query_string     },
    {NAME("SERVER_PROTOCOL"),   server_protocol  },
    {NAME("SERVER_NAME"),       server_name      },
    {NAME("SERVER_PORT"),       server_port      },
    {NAME("SERVER_SOFTWARE"),   server_software  },
    {NAME("GATEWAY_INTERFACE"), gateway_interface},
    {NAME("REQUEST_SCHEME"),    request_scheme   },
    {NAME("HTTPS"),             https            },
    {NAME("REMOTE_ADDR"),       remote_addr      },
    {NAME("REMOTE_PORT"),       remote_port      },
    {NAME("CONTENT_LENGTH"),    content_length   },
    {NAME("DOCUMENT_ROOT"),     document_root    },
    {NAME("SCRIPT_FILENAME"),   script_filename  },
    {NAME("PATH_TRANSLATED"),   path_translated  },
    {NAME("HTTP_HOST"),         http_host        },
};

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
static void put_pair(struct buf *out, const char *name, size_t name_len, const struct value *v)
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

/* Not for the worker: hop-by-hop (RFC 9110 7.6.1), what the gateway has dealt with itself, what a row says
 * already, and Proxy, which old CGI programs take for the variable http_proxy (CVE-2016-5385). */
static const struct name private_names[] = {
    NAME("HTTP_CONNECTION"),
    NAME("HTTP_KEEP_ALIVE"),
    NAME("HTTP_PROXY_CONNECTION"),
    NAME("HTTP_TE"),
    NAME("HTTP_TRAILER"),
    NAME("HTTP_TRANSFER_ENCODING"),
    NAME("HTTP_UPGRADE"),
    NAME("HTTP_EXPECT"),
    NAME("HTTP_HOST"),
    NAME("HTTP_CONTENT_LENGTH"),
    NAME("HTTP_PROXY"),
};
static const struct name connection_name = NAME("HTTP_CONNECTION");
static const struct name cookie_name = NAME("HTTP_COOKIE");
static const struct name content_type_name = NAME("HTTP_CONTENT_TYPE");

static bool is_name(const struct name *name, const char *text, size_t len)
{
    return name->len == len && memcmp(name->text, text, len) == 0;
}

static bool is_private(const struct params *p, const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof(private_names) / sizeof(private_names[0]); i++)
        if (is_name(&private_names[i], text, len))
            return true;
    return p->id.len == len && memcmp(p->out->data + p->id.off, text, len) == 0;
}

/* The byte of a variable's name for one of a header's name; 0: not passed on. An underscore would become the
 * same as a dash; of the token's other signs no program knows what to expect. */
static char variable_byte(char c)
{
    char upper = (char)(c & ~0x20);
    if (upper >= 'A' && upper <= 'Z')
        return upper;
    if (c >= '0' && c <= '9')
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

static bool put_field(struct params *p, const struct http_field *field, struct cgi_dropped *dropped)
{
    const char *base = p->request->base;
    const struct value v = {.text = base + field->value.off, .len = field->value.len};
    size_t len = HEADER_PREFIX + (size_t)field->name.len;
    if (!reserve_pair(p->out, len, v.len))
        return false;
    char *text = p->out->data + p->out->len + FCGI_PAIR_LENGTHS_MAX;
    if (!variable_name(text, base + field->name.off, field->name.len)) {
        dropped->underscore = field->name;
        return true;
    }
    if (is_name(&connection_name, text, len) && !is_plain_connection(v.text, v.len))
        p->names_listed = true;
    if (is_private(p, text, len) || is_unbelieved(p->request, field))
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
    const char *end = list + len;
    for (const char *next; list < end; list = next + 1) {
        next = memchr(list, ',', (size_t)(end - list));
        if (next == NULL)
            next = end;
        const char *stop = next;
        while (list < stop && is_blank(*list))
            list++;
        while (list < stop && is_blank(stop[-1]))
            stop--;
        if (!cut_listed(p, list, (size_t)(stop - list)))
            return false;
    }
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

static bool put_fields(struct params *p, struct cgi_dropped *dropped)
{
    const struct cgi_request *r = p->request;
    struct http_field field;
    p->fields = p->out->len;
    for (uint32_t cursor = 0; http_head_next_field(r->head, r->base, &cursor, &field);)
        if (!put_field(p, &field, dropped))
            return false;
    return !p->names_listed || cut_connection_fields(p);
}

static bool put_rows(const struct params *p)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct value v = {.tail_len = 0, .end_len = 0};
        if (!rows[i].value(p->request, &v))
            continue;
        if (!reserve_pair(p->out, rows[i].name.len, v.len + v.tail_len + v.end_len))
            return false;
        put_pair(p->out, rows[i].name.text, rows[i].name.len, &v);
    }
    return true;
}

static bool put_request_id(struct params *p)
{
    const struct cgi_request *r = p->request;
    if (r->request_id_name == NULL)
        return true;
    size_t len = strlen(r->request_id_name);
    const struct value v = {.text = r->request_id, .len = strlen(r->request_id)};
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

bool cgi_put_params(struct buf *out, const struct cgi_request *request, struct cgi_dropped *dropped)
{
    struct params p = {.out = out, .request = request};
    uint32_t start = out->len;
    dropped->underscore = (struct slice){0, 0};
    if (put_rows(&p) && put_request_id(&p) && put_fields(&p, dropped))
        return true;
    out->len = start;
    return false;
}
