/* cgi_reply.c - see cgi.h: the header block of a CGI answer as an HTTP head (RFC 3875 6). */
#include "cgi.h"

#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "http_head.h"
#include "http_reply.h"

struct name {
    const char *text;
    size_t len;
};

#define NAME(text)                                                                                           \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }

enum { CONNECTIONS_MAX = 4 };

/* One header line of the block, or why there is none. */
struct line {
    struct slice name;
    struct slice value; /* without surrounding blanks */
    const char *error;  /* NULL: a good line */
};

struct answer {
    struct cgi_reply *reply;
    const char *data;
    bool has_status;
    bool has_location;
    struct slice connections[CONNECTIONS_MAX]; /* these may name other fields that are not passed on */
    size_t connection_count;
};

static struct line split_line(const char *data, uint32_t off, uint32_t len)
{
    struct line line = {.error = NULL};
    const char *start = data + off;
    const char *colon = memchr(start, ':', len);
    const char *end = start + len;
    if (is_blank(*start))
        line.error = off == 0 ? "answer begins with a blank" : "folded header line";
    else if (off == 0 && len >= 5 && memcmp(start, "HTTP/", 5) == 0)
        line.error = "answer begins with an HTTP status line: \"Status: 200 OK\" is the form of CGI";
    else if (colon == NULL)
        line.error = "header line without a colon";
    else if (colon == start || http_token(start, (size_t)(colon - start)) < (size_t)(colon - start))
        line.error = "invalid header name";
    if (line.error != NULL)
        return line;
    line.name = (struct slice){off, (uint32_t)(colon - start)};
    line.value = trim(data, colon + 1, end);
    if (!http_valid_value(data + line.value.off, line.value.len))
        line.error = "control character in a header value";
    return line;
}

/* "NNN" or "NNN phrase" (RFC 3875 6.3.3) */
static const char *take_status(struct answer *a, struct slice value)
{
    const char *text = a->data + value.off;
    if (a->has_status)
        return "two Status fields";
    if (value.len < 3 || !is_digit(text[0]) || !is_digit(text[1]) || !is_digit(text[2]))
        return "Status is not a number of three digits";
    if (value.len > 3 && !is_blank(text[3]))
        return "Status is not a number of three digits";
    uint16_t status = (uint16_t)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
    if (status < 200 || status > 599)
        return "Status outside of 200 to 599";
    uint32_t skip = 3;
    while (skip < value.len && is_blank(text[skip]))
        skip++;
    if (value.len - skip > CGI_REASON_MAX)
        return "reason phrase too long";
    a->has_status = true;
    a->reply->status = status;
    a->reply->reason = (struct slice){value.off + skip, value.len - skip};
    return NULL;
}

static const char *take_content_length(struct answer *a, struct slice value)
{
    const char *text = a->data + value.off;
    if (a->reply->content_length != -1)
        return "two Content-Length fields";
    int64_t n = 0;
    for (uint32_t i = 0; i < value.len; i++) {
        if (!is_digit(text[i]))
            return "invalid Content-Length";
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text[i] - '0', &n))
            return "Content-Length too large";
    }
    a->reply->content_length = n;
    return value.len > 0 ? NULL : "invalid Content-Length";
}

/* Also where it is a local path, which asks for an internal redirect (RFC 3875 6.2.2): the client is told. */
static const char *take_location(struct answer *a, struct slice value)
{
    a->has_location = value.len > 0;
    return NULL;
}

static const char *take_connection(struct answer *a, struct slice value)
{
    if (a->connection_count == CONNECTIONS_MAX)
        return "too many Connection fields";
    a->connections[a->connection_count++] = value;
    return NULL;
}

static const char *take_date(struct answer *a, struct slice value)
{
    (void)value;
    a->reply->has_date = true;
    return NULL;
}

static const char *take_server(struct answer *a, struct slice value)
{
    (void)value;
    a->reply->has_server = true;
    return NULL;
}

/* Fields that say something to the gateway. `pass`: the client gets them too. */
static const struct taken {
    struct name name;
    const char *(*take)(struct answer *, struct slice value); /* NULL, or what is wrong */
    bool pass;
} taken[] = {
    {NAME("Status"),         take_status,         false},
    {NAME("Content-Length"), take_content_length, false},
    {NAME("Location"),       take_location,       true },
    {NAME("Connection"),     take_connection,     false},
    {NAME("Date"),           take_date,           true },
    {NAME("Server"),         take_server,         true },
};

static bool put_line(struct buf *out, const char *data, const struct line *line)
{
    return buf_put(out, data + line->name.off, line->name.len) && buf_put(out, ": ", 2) &&
           buf_put(out, data + line->value.off, line->value.len) && buf_put(out, "\r\n", 2);
}

/* NULL, or what is wrong. */
static const char *take_line(struct answer *a, const struct line *line, struct buf *out)
{
    if (line->error != NULL)
        return line->error;
    const char *name = a->data + line->name.off;
    bool pass = true;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (taken[i].name.len != line->name.len || strncasecmp(taken[i].name.text, name, line->name.len) != 0)
            continue;
        const char *error = taken[i].take(a, line->value);
        if (error != NULL)
            return error;
        pass = taken[i].pass;
    }
    if (!pass || http_reply_drops(name, line->name.len))
        return NULL;
    return put_line(out, a->data, line) ? NULL : "answer header too large";
}

static enum http_parse parse_block(struct answer *a, size_t len, struct buf *out)
{
    const char *data = a->data;
    for (size_t off = 0, next; off < len; off = next) {
        const char *feed = memchr(data + off, '\n', len - off);
        if (feed == NULL)
            return HTTP_MORE;
        size_t end = (size_t)(feed - data);
        next = end + 1;
        if (end > off && data[end - 1] == '\r')
            end--;
        if (end == off) {
            a->reply->size = (uint32_t)next;
            a->reply->error = off == 0 ? "no header fields" : NULL;
            return off == 0 ? HTTP_BAD : HTTP_DONE;
        }
        struct line line = split_line(data, (uint32_t)off, (uint32_t)(end - off));
        a->reply->error = take_line(a, &line, out);
        if (a->reply->error != NULL)
            return HTTP_BAD;
    }
    return HTTP_MORE;
}

static bool is_listed(const struct answer *a, const char *name)
{
    for (size_t i = 0; i < a->connection_count; i++)
        if (http_list_has(a->data + a->connections[i].off, a->connections[i].len, name))
            return true;
    return false;
}

/* Cuts the lines out of out[start..] that the answer's Connection names (RFC 9110 7.6.1). */
static void cut_listed(const struct answer *a, struct buf *out, uint32_t start)
{
    char *line = out->data + start, *kept = line, *end = out->data + out->len;
    while (line < end) {
        char *next = (char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        char *colon = (char *)memchr(line, ':', (size_t)(next - line));
        *colon = '\0'; /* for as long as the name is compared */
        bool listed = is_listed(a, line);
        *colon = ':';
        if (!listed) {
            memmove(kept, line, (size_t)(next - line));
            kept += next - line;
        }
        line = next;
    }
    out->len = (uint32_t)(kept - out->data);
}

enum http_parse cgi_reply_parse(struct cgi_reply *reply, const char *data, size_t len, struct buf *out)
{
    struct answer a = {.reply = reply, .data = data};
    uint32_t start = out->len;
    *reply = (struct cgi_reply){.status = 200, .content_length = -1};
    enum http_parse result = parse_block(&a, len, out);
    if (result != HTTP_DONE) {
        out->len = start;
        return result;
    }
    if (a.connection_count > 0 && out->len > start) {
        cut_listed(&a, out, start);
        reply->has_date = reply->has_date && !is_listed(&a, "Date");
        reply->has_server = reply->has_server && !is_listed(&a, "Server");
    }
    if (a.has_location && !a.has_status)
        reply->status = 302;
    return HTTP_DONE;
}
