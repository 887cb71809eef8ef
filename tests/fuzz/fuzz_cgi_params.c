/* fuzz_cgi_params.c - any request as CGI variables; links cgi, http_head, http_reply, buf, fcgi_record.
 *
 * Byte 0: options (see below); byte 1: how much of the path is SCRIPT_NAME; the rest is a request's head. The
 * pairs must decode to their very end, names are [A-Z0-9_] and come once, and the variables of header fields
 * are those that a plain, slow reading of the rules gives. */
#include "cgi.h"
#include "forwarded.h"
#include "http_path.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    OPTION_HTTPS = 1,
    OPTION_BODY = 2,
    OPTION_ID = 4,
    OPTION_ROOT = 8,
    OPTION_TIGHT = 16,
    OPTION_BELIEVED = 32, /* X-Forwarded-For and Forwarded are */
    OPTION_FILE = 64,     /* a script was found below the document root */
    OPTION_INDEX = 128    /* a file answers for a directory */
};
enum { HEAD_MAX = 4096, OUT_MAX = 4 * HEAD_MAX, PAIRS_MAX = 256 };

static const char id_name[] = "X-Request-Id";

struct pair {
    const char *name, *value;
    size_t name_len, value_len;
};

struct pairs {
    struct pair items[PAIRS_MAX];
    size_t count;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static size_t take_length(const char **at, const char *end)
{
    require(*at < end);
    const uint8_t *p = (const uint8_t *)*at;
    size_t n = p[0] < 128 ? 1 : 4;
    require(n <= (size_t)(end - *at));
    *at += n;
    return n == 1 ? p[0] : (size_t)(p[0] & 127) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static const struct pair *find(const struct pairs *pairs, const char *name, size_t len)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (pairs->items[i].name_len == len && memcmp(pairs->items[i].name, name, len) == 0)
            return &pairs->items[i];
    return NULL;
}

static void decode(const struct buf *out, struct pairs *pairs)
{
    const char *at = out->data, *end = at + out->len;
    pairs->count = 0;
    while (at < end) {
        struct pair pair;
        pair.name_len = take_length(&at, end);
        pair.value_len = take_length(&at, end);
        require(pair.name_len + pair.value_len <= (size_t)(end - at));
        pair.name = at;
        pair.value = at + pair.name_len;
        at = pair.value + pair.value_len;
        require(pair.name_len > 0 && memchr(pair.value, '\0', pair.value_len) == NULL);
        for (size_t i = 0; i < pair.name_len; i++)
            require(memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", pair.name[i], 37) != NULL);
        require(find(pairs, pair.name, pair.name_len) == NULL && pairs->count < PAIRS_MAX);
        pairs->items[pairs->count++] = pair;
    }
}

static bool same_name(const char *a, const char *b, size_t len)
{
    return strncasecmp(a, b, len) == 0;
}

/* Whether the field is kept from the worker. */
static bool is_kept_back(const struct cgi_request *r, const char *name, size_t len)
{
    static const char *const names[] = {
        "connection",        "keep-alive", "proxy-connection", "te",    "trailer", "upgrade",
        "transfer-encoding", "expect",     "content-length",   "proxy", "host"};
    char token[HEAD_MAX + 1];
    struct http_field field;
    memcpy(token, name, len);
    token[len] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(token, names[i]) == 0)
            return true;
    if (r->request_id_name != NULL && strcasecmp(token, id_name) == 0)
        return true;
    if (strcasecmp(token, "x-forwarded-for") == 0 || strcasecmp(token, "forwarded") == 0) {
        if (r->forwarded == 0)
            return true;
    } else if (strncasecmp(token, "x-forwarded-", 12) == 0) {
        return true;
    }
    for (uint32_t cursor = 0; http_head_next_field(r->head, r->base, &cursor, &field);)
        if (field.name.len == 10 && same_name(r->base + field.name.off, "connection", 10) &&
            http_list_has(r->base + field.value.off, field.value.len, token))
            return true;
    return false;
}

/* The variable's name; 0: there is none. */
static size_t variable(char *to, const char *name, size_t len)
{
    size_t n = 0;
    if (len != 12 || !same_name(name, "content-type", 12)) {
        memcpy(to, "HTTP_", 5);
        n = 5;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool lower = c >= 'a' && c <= 'z';
        if (!lower && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-')
            return 0;
        to[n++] = lower ? (char)(c - 'a' + 'A') : c;
        if (c == '-')
            to[n - 1] = '_';
    }
    return n;
}

/* All values of the name, joined. */
static size_t join(const struct cgi_request *r, const char *name, size_t len, char *to)
{
    const char *separator = len == 6 && same_name(name, "cookie", 6) ? "; " : ", ";
    struct http_field field;
    size_t n = 0, found = 0;
    for (uint32_t cursor = 0; http_head_next_field(r->head, r->base, &cursor, &field);) {
        if (field.name.len != len || !same_name(r->base + field.name.off, name, len))
            continue;
        if (found++ > 0) {
            memcpy(to + n, separator, 2);
            n += 2;
        }
        memcpy(to + n, r->base + field.value.off, field.value.len);
        n += field.value.len;
    }
    return n;
}

static void check_fields(const struct cgi_request *r, const struct pairs *pairs, struct slice underscored)
{
    static char name[HEAD_MAX + 8], value[2 * HEAD_MAX];
    struct http_field field;
    bool unnamed = false;
    for (uint32_t cursor = 0; http_head_next_field(r->head, r->base, &cursor, &field);) {
        const char *text = r->base + field.name.off;
        size_t len = variable(name, text, field.name.len);
        unnamed |= len == 0;
        if (len == 0 || (len == 9 && memcmp(name, "HTTP_HOST", 9) == 0))
            continue;
        const struct pair *pair = find(pairs, name, len);
        if (is_kept_back(r, text, field.name.len)) {
            require(pair == NULL || (len == 17 && memcmp(pair->value, "our-id", 6) == 0));
            continue;
        }
        size_t n = join(r, text, field.name.len, value);
        require(pair != NULL && pair->value_len == n && memcmp(pair->value, value, n) == 0);
    }
    require(unnamed == (underscored.len > 0));
}

static void check_rows(const struct cgi_request *r, const struct pairs *pairs)
{
    struct slice authority = r->head->authority;
    const struct pair *host = find(pairs, "HTTP_HOST", 9);
    require((host != NULL) == (authority.len > 0));
    if (host != NULL)
        require(host->value_len == authority.len &&
                memcmp(host->value, r->base + authority.off, authority.len) == 0);
    const struct pair *script = find(pairs, "SCRIPT_NAME", 11), *info = find(pairs, "PATH_INFO", 9);
    size_t index = r->script_index != NULL ? strlen(r->script_index) : 0;
    require(script != NULL && info != NULL);
    require(script->value_len + info->value_len == r->path_len + index);
    require(index == 0 || memcmp(script->value + script->value_len - index, r->script_index, index) == 0);
    const struct pair *translated = find(pairs, "PATH_TRANSLATED", 15);
    require((translated != NULL) == (r->document_root != NULL && info->value_len > 0));
    const struct pair *file = find(pairs, "SCRIPT_FILENAME", 15);
    require((file != NULL) == (r->script_file != NULL));
    require(file == NULL || (file->value_len == 15 && memcmp(file->value, "/srv/a.php/tail", 15) == 0));
    require(find(pairs, "SERVER_NAME", 11) != NULL && find(pairs, "SERVER_PORT", 11)->value_len > 0);
    require((find(pairs, "CONTENT_LENGTH", 14) != NULL) == r->has_body);
    require((find(pairs, "HTTPS", 5) != NULL) == (strcmp(r->scheme, "https") == 0));
}

static void check_request(struct cgi_request *r, uint8_t options)
{
    static struct pairs pairs;
    struct slice underscored;
    struct buf out;
    buf_init(&out, options & OPTION_TIGHT ? 512 : OUT_MAX);
    r->scheme = options & OPTION_HTTPS ? "https" : "http";
    r->has_body = options & OPTION_BODY;
    r->request_id_name = options & OPTION_ID ? id_name : NULL;
    r->document_root = options & (OPTION_ROOT | OPTION_FILE) ? "/srv" : NULL;
    r->script_file = options & OPTION_FILE ? "/a.php" : NULL;
    r->script_tail = options & OPTION_FILE ? "/tail" : NULL;
    r->script_index = options & OPTION_INDEX ? "index.py" : NULL;
    r->forwarded = options & OPTION_BELIEVED ? FORWARDED_FOR | FORWARDED_STANDARD : 0;
    if (cgi_put_params(&out, r, &underscored)) {
        decode(&out, &pairs);
        check_rows(r, &pairs);
        check_fields(r, &pairs, underscored);
    } else {
        require(options & OPTION_TIGHT && out.len == 0);
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_head_limits limits = {HEAD_MAX, HEAD_MAX, PAIRS_MAX / 2};
    static char path[HEAD_MAX];
    struct http_head head;
    if (size < 2)
        return 0;
    const char *base = (const char *)data + 2;
    http_head_init(&head);
    if (http_head_parse(&head, base, size - 2, &limits) != HTTP_DONE)
        return 0;
    long path_len = http_path_normalise(base + head.path.off, head.path.len, path);
    if (path_len < 0)
        return 0;
    struct cgi_request request = {
        .head = &head,
        .base = base,
        .path = path,
        .path_len = (size_t)path_len,
        .script_len = data[1] < path_len ? data[1] : (size_t)path_len,
        .root_path = "",
        .remote_addr = "192.0.2.1",
        .remote_port = "",
        .server_addr = "localhost",
        .server_port = "8000",
        .request_id = "our-id",
        .body_len = size,
    };
    check_request(&request, data[0]);
    return 0;
}
