/* cgi_rows.c - see cgi_rows.h: one function per row. */
#include "cgi_rows.h"

#include <string.h>

#include "version.h"

static bool set(struct cgi_value *v, const char *text, size_t len)
{
    v->text = text;
    v->len = len;
    return true;
}

static bool set_text(struct cgi_value *v, const char *text)
{
    return text != NULL && set(v, text, strlen(text));
}

static bool set_slice(struct cgi_value *v, const struct cgi_request *r, struct slice s)
{
    return set(v, r->base + s.off, s.len);
}

static bool request_method(const struct cgi_request *r, struct cgi_value *v)
{
    return set_slice(v, r, r->head->method);
}

/* In origin form, which is what programs take apart, whatever form it came in (RFC 9112 3.2): the host of an
 * absolute one stands in HTTP_HOST. */
static bool request_uri(const struct cgi_request *r, struct cgi_value *v)
{
    struct slice query = r->head->query;
    if (query.off > 0) { /* there is a '?' */
        v->tail = r->base + query.off - 1;
        v->tail_len = query.len + 1;
    }
    return set_slice(v, r, r->head->path);
}

static bool script_name(const struct cgi_request *r, struct cgi_value *v)
{
    v->tail = r->path;
    v->tail_len = r->script_len;
    v->end = r->script_index;
    v->end_len = r->script_index != NULL ? strlen(r->script_index) : 0;
    return r->prefix.len > 0 ? set_slice(v, r, r->prefix) : set_text(v, r->root_path);
}

static bool path_info(const struct cgi_request *r, struct cgi_value *v)
{
    return set(v, r->path + r->script_len, r->path_len - r->script_len);
}

static bool query_string(const struct cgi_request *r, struct cgi_value *v)
{
    return set_slice(v, r, r->head->query);
}

static bool server_protocol(const struct cgi_request *r, struct cgi_value *v)
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

static bool server_name(const struct cgi_request *r, struct cgi_value *v)
{
    struct slice authority = r->head->authority;
    const char *text = r->base + authority.off;
    size_t host = host_len(text, authority.len);
    if (host > 0)
        return set(v, text, host);
    if (strchr(r->server_addr, ':') == NULL)
        return set_text(v, r->server_addr);
    v->tail = r->server_addr;
    v->tail_len = strlen(r->server_addr);
    v->end = "]";
    v->end_len = 1;
    return set_text(v, "[");
}

static bool is_https(const struct cgi_request *r)
{
    return strcmp(r->scheme, "https") == 0;
}

static bool server_port(const struct cgi_request *r, struct cgi_value *v)
{
    struct slice authority = r->head->authority;
    if (authority.len == 0 && r->server_port[0] != '\0') /* a unix socket has none, and it may not be empty */
        return set_text(v, r->server_port);
    const char *text = r->base + authority.off;
    size_t port = host_len(text, authority.len) + 1; /* behind the colon; RFC 3986 3.2.3: may be empty */
    if (port < authority.len)
        return set(v, text + port, authority.len - port);
    return set_text(v, is_https(r) ? "443" : "80");
}

static bool server_software(const struct cgi_request *r, struct cgi_value *v)
{
    (void)r;
    return set_text(v, "leangate/" LEANGATE_VERSION);
}

static bool gateway_interface(const struct cgi_request *r, struct cgi_value *v)
{
    (void)r;
    return set_text(v, "CGI/1.1");
}

static bool request_scheme(const struct cgi_request *r, struct cgi_value *v)
{
    return set_text(v, r->scheme);
}

static bool https(const struct cgi_request *r, struct cgi_value *v)
{
    return is_https(r) && set_text(v, "on");
}

static bool remote_addr(const struct cgi_request *r, struct cgi_value *v)
{
    return set_text(v, r->remote_addr);
}

static bool remote_port(const struct cgi_request *r, struct cgi_value *v)
{
    return r->remote_port[0] != '\0' && set_text(v, r->remote_port);
}

static bool content_length(const struct cgi_request *r, struct cgi_value *v)
{
    size_t at = sizeof(v->digits);
    uint64_t n = r->body_len;
    if (!r->has_body)
        return false;
    do {
        v->digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return set(v, v->digits + at, sizeof(v->digits) - at);
}

static bool document_root(const struct cgi_request *r, struct cgi_value *v)
{
    return set_text(v, r->document_root != NULL && *r->document_root == '\0' ? "/" : r->document_root);
}

static bool script_filename(const struct cgi_request *r, struct cgi_value *v)
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
static bool path_translated(const struct cgi_request *r, struct cgi_value *v)
{
    v->tail = r->path + r->script_len;
    v->tail_len = r->path_len - r->script_len;
    return v->tail_len > 0 && set_text(v, r->document_root);
}

/* The authority that was decided on: an absolute-form target wins over Host (RFC 9112 3.2.2). */
static bool http_host(const struct cgi_request *r, struct cgi_value *v)
{
    return r->head->authority.len > 0 && set_slice(v, r, r->head->authority);
}

#define ROW(text, value)                                                                                     \
    {                                                                                                        \
        text, sizeof(text) - 1, value                                                                        \
    }

const struct cgi_row cgi_rows[] = {
    ROW("REQUEST_METHOD", request_method),
    ROW("REQUEST_URI", request_uri),
    ROW("SCRIPT_NAME", script_name),
    ROW("PATH_INFO", path_info),
    ROW("QUERY_STRING", query_string),
    ROW("SERVER_PROTOCOL", server_protocol),
    ROW("SERVER_NAME", server_name),
    ROW("SERVER_PORT", server_port),
    ROW("SERVER_SOFTWARE", server_software),
    ROW("GATEWAY_INTERFACE", gateway_interface),
    ROW("REQUEST_SCHEME", request_scheme),
    ROW("HTTPS", https),
    ROW("REMOTE_ADDR", remote_addr),
    ROW("REMOTE_PORT", remote_port),
    ROW("CONTENT_LENGTH", content_length),
    ROW("DOCUMENT_ROOT", document_root),
    ROW("SCRIPT_FILENAME", script_filename),
    ROW("PATH_TRANSLATED", path_translated),
    ROW("HTTP_HOST", http_host),
};

const size_t cgi_row_count = sizeof(cgi_rows) / sizeof(cgi_rows[0]);
