/* redirect.c - see redirect.h. */
#include "redirect.h"

#include <string.h>

#include "ascii.h"

enum { LOCATION_MAX = 64 * 1024 }; /* bytes of the header line */

/* What stands in a path as it is (RFC 3986 3.3, and the slash). All else is encoded, whatever the client had
 * done: nothing of its making may end the line or begin another host's name. */
static bool is_plain(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("/-._~!$&'()*+,;=:@", c) != NULL);
}

static bool put_path(struct buf *b, const char *path, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        const char coded[] = {'%', hex[(unsigned char)path[i] >> 4], hex[path[i] & 15]};
        if (is_plain(path[i]) ? !buf_putc(b, path[i]) : !buf_put(b, coded, sizeof(coded)))
            return false;
    }
    return true;
}

static bool put_location(struct buf *b, const struct request *r)
{
    const char *root = r->app_conf->root_path;
    const char *in = r->in.data;
    struct slice query = r->head.query;
    return buf_puts(b, "Location: ") &&
           (r->prefix.len > 0 ? buf_put(b, in + r->prefix.off, r->prefix.len)
                              : put_path(b, root, strlen(root))) &&
           put_path(b, request_path(r), r->path_len) && buf_putc(b, '/') &&
           (query.len == 0 || (buf_putc(b, '?') && buf_put(b, in + query.off, query.len))) &&
           buf_put(b, "\r\n", 2);
}

/* GET and HEAD as browsers and caches have it since ever, all else so that its method stays. */
static uint16_t status_of(const struct request *r)
{
    return request_fetches(r) ? 301 : 308;
}

static void handle_start(struct request *r)
{
    struct buf fields;
    buf_init(&fields, LOCATION_MAX);
    if (!put_location(&fields, r)) {
        request_fail(r, 414, NULL);
    } else {
        const struct http_reply reply = {
            .status = status_of(r), .fields = fields.data, .fields_len = fields.len, .content_length = 0};
        if (request_head(r, &reply))
            request_end(r);
    }
    buf_free(&fields);
}

const struct handler redirect_handler = {handle_start, request_nothing, request_nothing};
