/* http_head.c - see http_head.h.
 *
 *   [CRLF]  method SP target SP version CRLF   *( name ":" OWS value OWS CRLF )   CRLF
 *           |                                  |                                  |
 *           h->line at the start               h->fields.off                      finish()
 *
 * Line by line: a line is taken once, when its line end has come, so the work is linear however the bytes are
 * cut. Only a request line is judged before its end: a first byte that is no HTTP must be answered at once.
 */
#include "http_head.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "ascii.h"

enum {
    METHOD_MAX = 32,
    VERSION_LEN = 8,        /* "HTTP/1.1" */
    HOST_NAME_MAX_LEN = 255 /* RFC 1035 2.3.4 */
};

/* What h->seen remembers between two lines. */
enum {
    SEEN_HOST = 1,
    SEEN_AUTHORITY = 2, /* the target was in absolute form: its authority wins over Host */
    SEEN_CLOSE = 4,
    SEEN_KEEP_ALIVE = 8,
    SEEN_UPGRADE = 16,
    SEEN_WEBSOCKET = 32,
    SEEN_UNKNOWN_CODING = 64
};

/* Classes of bytes: T a token (RFC 9110 5.6.2), U a request target (visible ASCII without '#'), H a host
 * name. H is narrower than reg-name (RFC 3986 3.2.2): the sub-delims and percent-coding appear in no real
 * name, only in attacks. */
enum { T = 1, U = 2, H = 4 };

static const uint8_t byte_class[256] = {
    ['!'] = T | U,
    ['"'] = U,
    ['#'] = T,
    ['$' ... '\''] = T | U,
    ['(' ... ')'] = U,
    ['*' ... '+'] = T | U,
    [','] = U,
    ['-' ... '.'] = T | U | H,
    ['/'] = U,
    ['0' ... '9'] = T | U | H,
    [':' ... '@'] = U,
    ['A' ... 'Z'] = T | U | H,
    ['[' ... ']'] = U,
    ['^'] = T | U,
    ['_'] = T | U | H,
    ['`'] = T | U,
    ['a' ... 'z'] = T | U | H,
    ['{'] = U,
    ['|'] = T | U,
    ['}'] = U,
    ['~'] = T | U | H,
};

static bool is_class(char c, unsigned wanted)
{
    return (byte_class[(uint8_t)c] & wanted) != 0;
}

/* Always false, so that a check can end with `return fail(...)`. */
static bool fail(struct http_head *h, uint16_t status, const char *reason)
{
    h->status = status;
    h->reason = reason;
    return false;
}

bool http_list_has(const char *value, size_t len, const char *token)
{
    const char *element, *at = value;
    size_t n, want = strlen(token);
    while (next_element(&at, value + len, ',', &element, &n))
        if (n == want && strncasecmp(element, token, n) == 0)
            return true;
    return false;
}

size_t http_token(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && is_class(text[i], T))
        i++;
    return i;
}

/* ---- authority ---- */

/* Length of a bracketed IPv6 address (RFC 3986 3.2.2) at the start of text[0..n), brackets included; 0: it is
 * none. */
static size_t ipv6_literal(const char *text, size_t n)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    const char *close = memchr(text, ']', n);
    if (close == NULL || (size_t)(close - text) > sizeof(address))
        return 0;
    size_t len = (size_t)(close - text) - 1;
    memcpy(address, text + 1, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, &binary) == 1 ? len + 2 : 0;
}

static bool valid_port(const char *text, size_t n)
{
    unsigned port = 0;
    if (n == 0 || n > 5)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(text[i]))
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= 65535;
}

bool http_head_valid_authority(const char *text, size_t n)
{
    size_t name = 0;
    if (n > 0 && text[0] == '[')
        name = ipv6_literal(text, n);
    else
        while (name < n && is_class(text[name], H))
            name++;
    if (name == 0 || name > HOST_NAME_MAX_LEN)
        return false;
    return name == n || (text[name] == ':' && valid_port(text + name + 1, n - name - 1));
}

/* ---- request line ---- */

bool http_head_method_is(const struct http_head *h, const char *data, const char *method)
{
    return h->method.len == strlen(method) && memcmp(data + h->method.off, method, h->method.len) == 0;
}

/* Path and query of the target from offset `at` on. `slash` is the offset of any '/', for an absolute target
 * without a path. */
static void split_path(struct http_head *h, const char *data, uint32_t at, uint32_t slash)
{
    uint32_t end = h->target.off + h->target.len;
    const char *mark = memchr(data + at, '?', end - at);
    uint32_t path_end = mark ? (uint32_t)(mark - data) : end;
    h->path = path_end > at ? (struct slice){at, path_end - at} : (struct slice){slash, 1};
    if (mark)
        h->query = (struct slice){path_end + 1, end - path_end - 1};
}

/* RFC 9112 3.2.2: scheme "://" authority path-abempty [ "?" query ] */
static bool absolute_target(struct http_head *h, const char *data)
{
    const char *target = data + h->target.off;
    uint32_t n = h->target.len, start = 0;
    if (n > 7 && strncasecmp(target, "http://", 7) == 0)
        start = 7;
    else if (n > 8 && strncasecmp(target, "https://", 8) == 0)
        start = 8;
    else
        return fail(h, 400, "the target is neither a path nor an http URL");
    uint32_t end = start;
    while (end < n && target[end] != '/' && target[end] != '?')
        end++;
    if (!http_head_valid_authority(target + start, end - start))
        return fail(h, 400, "bad host in the target");
    h->authority = (struct slice){h->target.off + start, end - start};
    h->seen |= SEEN_AUTHORITY;
    split_path(h, data, h->target.off + end, h->target.off + start - 1);
    return true;
}

static bool take_target(struct http_head *h, const char *data)
{
    const char *target = data + h->target.off;
    if (target[0] == '/') {
        split_path(h, data, h->target.off, h->target.off);
        return true;
    }
    if (h->target.len > 1 || target[0] != '*')
        return absolute_target(h, data);
    if (!http_head_method_is(h, data, "OPTIONS"))
        return fail(h, 400, "the target * goes with OPTIONS only");
    h->path = h->target;
    return true;
}

static bool take_version(struct http_head *h, const char *text, size_t n)
{
    if (n != VERSION_LEN || memcmp(text, "HTTP/", 5) != 0 || !is_digit(text[5]) || text[6] != '.' ||
        !is_digit(text[7]))
        return fail(h, 400, "malformed HTTP version");
    if (text[5] != '1' || text[7] > '1')
        return fail(h, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    h->minor = (uint8_t)(text[7] - '0');
    return true;
}

/* What stopped the scan of a target, in words. */
static const char *target_flaw(char stop, bool at_end)
{
    if (at_end)
        return "no HTTP version";
    return stop == '#' ? "raw '#' in the target" : "control or non-ASCII byte in the target";
}

/* The line data[h->line..cr), whose method is checked already. */
static bool request_line(struct http_head *h, const char *data, uint32_t cr)
{
    uint32_t target = h->line;
    while (data[target] != ' ')
        target++;
    h->method = (struct slice){h->line, target++ - h->line};
    uint32_t end = target;
    while (is_class(data[end], U))
        end++;
    if (data[end] != ' ')
        return fail(h, 400, target_flaw(data[end], end == cr));
    if (end == target)
        return fail(h, 400, "more than one space in the request line");
    h->target = (struct slice){target, end - target};
    if (!take_version(h, data + end + 1, cr - end - 1))
        return false;
    if (http_head_method_is(h, data, "CONNECT") || http_head_method_is(h, data, "TRACE"))
        return fail(h, 405, "CONNECT and TRACE are not served");
    h->fields.off = cr + 2;
    return take_target(h, data);
}

/* Judges line[0..n), the bytes before a request line's LF or as many of them as have come. The answer for a
 * prefix is the answer for the whole line, as long as request lines may have more than METHOD_MAX bytes. */
static bool request_line_start(struct http_head *h, const char *line, size_t n, uint32_t max)
{
    size_t i = 0;
    while (i < n && i <= METHOD_MAX && is_class(line[i], T))
        i++;
    if (i > METHOD_MAX)
        return fail(h, 400, "the method is too long");
    if (i < n && (i == 0 || line[i] != ' '))
        return fail(h, 400, "this is not HTTP");
    if (n > 0 && line[n - 1] == '\r')
        n--;
    return n <= max || fail(h, 414, "the request line is too long");
}

/* ---- fields ---- */

static bool take_host(struct http_head *h, const char *data, struct slice value)
{
    if (h->seen & SEEN_HOST)
        return fail(h, 400, "two Host fields");
    if (!http_head_valid_authority(data + value.off, value.len))
        return fail(h, 400, "bad Host");
    h->seen |= SEEN_HOST;
    if (!(h->seen & SEEN_AUTHORITY))
        h->authority = value;
    return true;
}

static bool take_length(struct http_head *h, const char *data, struct slice value)
{
    enum { DIGITS_MAX = 19 }; /* of 2^63 - 1; so many digits fit an uint64_t */
    uint64_t length = 0;
    if (h->has_length)
        return fail(h, 400, "repeated Content-Length");
    if (h->chunked)
        return fail(h, 400, "Content-Length with Transfer-Encoding");
    if (value.len == 0 || value.len > DIGITS_MAX)
        return fail(h, 400, "bad Content-Length");
    for (uint32_t i = 0; i < value.len; i++) {
        char c = data[value.off + i];
        if (!is_digit(c))
            return fail(h, 400, "bad Content-Length");
        length = length * 10 + (uint64_t)(c - '0');
    }
    if (length > INT64_MAX)
        return fail(h, 400, "bad Content-Length");
    h->content_length = length;
    h->has_length = true;
    return true;
}

/* One element of Transfer-Encoding (RFC 9112 7). What an unknown one leads to is seen in
 * finish(): it depends on what comes last. */
static bool take_element(struct http_head *h, const char *coding, size_t n)
{
    size_t name = http_token(coding, n);
    bool is_chunked = name == 7 && strncasecmp(coding, "chunked", 7) == 0;
    if (name == 0 || (name < n && (is_chunked || coding[name] != ';')))
        return fail(h, 400, "malformed Transfer-Encoding");
    if (!is_chunked)
        h->seen |= SEEN_UNKNOWN_CODING;
    h->chunked = is_chunked;
    return true;
}

static bool take_coding(struct http_head *h, const char *data, struct slice value)
{
    const char *coding, *at = data + value.off, *end = at + value.len;
    size_t n;
    if (h->minor == 0)
        return fail(h, 400, "Transfer-Encoding in HTTP/1.0");
    if (h->has_length)
        return fail(h, 400, "Content-Length with Transfer-Encoding");
    bool repeated = false;
    while (next_element(&at, end, ',', &coding, &n)) {
        bool before = h->chunked;
        if (!take_element(h, coding, n))
            return false;
        repeated |= before && h->chunked;
    }
    return !repeated || fail(h, 400, "repeated Transfer-Encoding");
}

static bool take_connection(struct http_head *h, const char *data, struct slice value)
{
    static const struct {
        uint8_t len;
        uint8_t seen;
        char token[11];
    } options[] = {
        {5,  SEEN_CLOSE,      "close"     },
        {10, SEEN_KEEP_ALIVE, "keep-alive"},
        {7,  SEEN_UPGRADE,    "upgrade"   }
    };
    const char *option, *at = data + value.off, *end = at + value.len;
    size_t n;
    while (next_element(&at, end, ',', &option, &n))
        for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
            if (options[i].len == n && strncasecmp(option, options[i].token, n) == 0)
                h->seen |= options[i].seen;
    return true;
}

static bool take_upgrade(struct http_head *h, const char *data, struct slice value)
{
    if (http_list_has(data + value.off, value.len, "websocket"))
        h->seen |= SEEN_WEBSOCKET;
    return true;
}

/* RFC 9110 10.1.1: to be ignored in HTTP/1.0. */
static bool take_expect(struct http_head *h, const char *data, struct slice value)
{
    static const char expected[] = "100-continue";
    if (h->minor == 0)
        return true;
    if (value.len != sizeof(expected) - 1 || strncasecmp(data + value.off, expected, value.len) != 0)
        return fail(h, 417, "only 100-continue can be expected");
    h->expect_continue = true;
    return true;
}

/* The fields that decide something here. No two names are equally long: the length is the index. */
static const struct known_field {
    char name[18];
    bool (*take)(struct http_head *h, const char *data, struct slice value);
} known_fields[] = {
    [4] = {"host",              take_host      },
    [6] = {"expect",            take_expect    },
    [7] = {"upgrade",           take_upgrade   },
    [10] = {"connection",        take_connection},
    [14] = {"content-length",    take_length    },
    [17] = {"transfer-encoding", take_coding    },
};

/* Sixteen bytes at once, on any machine that gcc or clang compile for. */
typedef uint8_t byte16 __attribute__((vector_size(16)));

/* Adds all ones where a byte has no place in a field value: HTAB, SP, visible ASCII and obs-text have (RFC
 * 9110 5.5). By pointer: how a function returns such a vector is not settled on a 32-bit x86. */
static void add_control_bytes(byte16 *flaws, const char *text)
{
    byte16 x;
    memcpy(&x, text, sizeof(x));
    *flaws |= (byte16)(((x < ' ') & (x != '\t')) | (x == 0x7f));
}

/* The last group of sixteen overlaps the one before it. */
bool http_valid_value(const char *text, size_t n)
{
    byte16 flaws = {0};
    uint64_t halves[2];
    if (n < sizeof(flaws)) {
        for (size_t i = 0; i < n; i++)
            if (((uint8_t)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
                return false;
        return true;
    }
    for (size_t i = 0; i < n - sizeof(flaws); i += sizeof(flaws))
        add_control_bytes(&flaws, text + i);
    add_control_bytes(&flaws, text + n - sizeof(flaws));
    memcpy(halves, &flaws, sizeof(halves));
    return (halves[0] | halves[1]) == 0;
}

/* What stopped the scan of a field name, in words. */
static const char *name_flaw(const struct http_head *h, const char *line, const char *stop, const char *cr)
{
    if (stop == line && is_blank(*stop))
        return h->field_count == 0 ? "whitespace before the first field" : "folded field line";
    if (stop == line && *stop == ':')
        return "empty field name";
    if (is_blank(*stop))
        return "whitespace in or behind a field name";
    return stop == cr ? "field line without a colon" : "bad byte in a field name";
}

/* The line data[h->line..cr). */
static bool field_line(struct http_head *h, const char *data, uint32_t cr)
{
    const char *line = data + h->line, *end = data + cr, *p = line;
    while (is_class(*p, T))
        p++;
    size_t name = (size_t)(p - line);
    if (name == 0 || *p != ':')
        return fail(h, 400, name_flaw(h, line, p, end));
    if (!http_valid_value(p, (size_t)(end - p)))
        return fail(h, 400, "control byte in a field value");
    h->field_count++;
    if (name >= sizeof(known_fields) / sizeof(known_fields[0]))
        return true;
    const struct known_field *known = &known_fields[name];
    if ((line[0] | 0x20) != known->name[0] || strncasecmp(line, known->name, name) != 0)
        return true;
    return known->take(h, data, trim(data, p + 1, end));
}

/* The empty line at data[h->line] ends the head. */
static bool finish(struct http_head *h)
{
    if (h->minor == 1 && !(h->seen & SEEN_HOST))
        return fail(h, 400, "no Host field");
    if (h->seen & SEEN_UNKNOWN_CODING) /* RFC 9112 6.1, 6.3: how long such a body is only chunked can tell */
        return h->chunked ? fail(h, 501, "unknown transfer coding")
                          : fail(h, 400, "chunked is not the last transfer coding");
    h->fields.len = h->line - h->fields.off;
    h->size = h->line + 2;
    h->keep_alive = !(h->seen & SEEN_CLOSE) && (h->minor == 1 || (h->seen & SEEN_KEEP_ALIVE));
    h->websocket = h->minor == 1 && (h->seen & SEEN_UPGRADE) && (h->seen & SEEN_WEBSOCKET);
    return true;
}

/* The line data[h->line..lf), of which nothing was looked at before but request_line_start(). */
static bool take_line(struct http_head *h, const char *data, uint32_t lf,
                      const struct http_head_limits *limits)
{
    const char *line = data + h->line;
    uint32_t n = lf - h->line;
    bool crlf = n > 0 && line[n - 1] == '\r';
    if (h->method.len == 0) {
        if (h->line == 0 && n == 1 && crlf)
            return true;
        if (!request_line_start(h, line, n, limits->request_line))
            return false;
        return crlf ? request_line(h, data, lf - 1) : fail(h, 400, "bare LF");
    }
    if (!crlf)
        return fail(h, 400, "bare LF");
    if (n == 1)
        return finish(h);
    if (h->field_count >= limits->field_count)
        return fail(h, 431, "too many fields");
    return field_line(h, data, lf - 1);
}

void http_head_init(struct http_head *h)
{
    *h = (struct http_head){0};
}

enum http_parse http_head_parse(struct http_head *h, const char *data, size_t len,
                                const struct http_head_limits *limits)
{
    /* Beyond the limit nothing is looked at: the verdict does not depend on how the bytes were cut. */
    uint32_t have = len < limits->size ? (uint32_t)len : limits->size;
    if (have <= h->line + h->scanned)
        return HTTP_MORE;
    const char *lf;
    while ((lf = memchr(data + h->line + h->scanned, '\n', have - h->line - h->scanned)) != NULL) {
        if (!take_line(h, data, (uint32_t)(lf - data), limits))
            return HTTP_BAD;
        if (h->size > 0)
            return HTTP_DONE;
        h->line = (uint32_t)(lf - data) + 1;
        h->scanned = 0;
    }
    h->scanned = have - h->line;
    bool skipping = h->line == 0 && have == 1 && data[0] == '\r';
    if (h->method.len == 0 && !skipping &&
        !request_line_start(h, data + h->line, h->scanned, limits->request_line))
        return HTTP_BAD;
    if (have < limits->size)
        return HTTP_MORE;
    fail(h, 431, "the head is too large");
    return HTTP_BAD;
}

bool http_head_next_field(const struct http_head *h, const char *data, uint32_t *cursor,
                          struct http_field *field)
{
    if (*cursor >= h->fields.len)
        return false;
    const char *line = data + h->fields.off + *cursor;
    size_t left = h->fields.len - *cursor;
    const char *lf = memchr(line, '\n', left);
    const char *colon = memchr(line, ':', left);
    field->name = (struct slice){(uint32_t)(line - data), (uint32_t)(colon - line)};
    field->value = trim(data, colon + 1, lf - 1);
    *cursor += (uint32_t)(lf + 1 - line);
    return true;
}

bool http_head_next_named(const struct http_head *h, const char *data, const char *name, uint32_t *cursor,
                          struct slice *value)
{
    struct http_field field;
    size_t len = strlen(name);
    while (http_head_next_field(h, data, cursor, &field))
        if (field.name.len == len && strncasecmp(data + field.name.off, name, len) == 0) {
            *value = field.value;
            return true;
        }
    return false;
}
