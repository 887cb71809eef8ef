/* encode.c - see encode.h. */
#include "encode.h"

#include <fastcgi.h>
#include <string.h>
#include <strings.h>

#include "cgi.h"
#include "fcgi_record.h"
#include "log.h"
#include "memory.h"

static void describe(const struct request *r, struct cgi_request *cgi)
{
    const struct conf_app *app = r->app_conf;
    const char *template = *app->script_filename != '\0' ? app->script_filename : NULL;
    *cgi = (struct cgi_request){
        .head = &r->head,
        .base = r->in.data,
        .path = request_path(r),
        .path_len = r->path_len,
        .script_len = r->script_len,
        .document_root = app->document_root,
        .script_filename = *app->script != '\0' ? app->script : template,
        .script_file = r->script_file,
        .script_tail = app->script_tail,
        .script_index = r->script_index,
        .root_path = app->root_path,
        .prefix = r->prefix,
        .forwarded = r->forwarded,
        .scheme = r->scheme,
        .remote_addr = r->remote_addr,
        .remote_port = r->remote_port,
        .server_addr = r->server_addr,
        .server_port = r->server_port,
        .request_id_name = r->conf->request_id[0] != '\0' ? r->conf->request_id : NULL,
        .request_id = r->id,
        .has_body = r->head.chunked || r->head.has_length,
        .body_len = body_len(&r->body),
    };
}

/* Warns once per header name that was left out because of its underscore; remembers a few names only. */
static void warn_dropped(const struct request *r, struct slice dropped)
{
    static char warned[16][32];
    char name[32] = "";
    if (dropped.len == 0)
        return;
    size_t n = dropped.len < sizeof(name) ? dropped.len : sizeof(name) - 1;
    memcpy(name, r->in.data + dropped.off, n);
    for (size_t i = 0; i < sizeof(warned) / sizeof(warned[0]); i++) {
        if (strcasecmp(warned[i], name) == 0)
            return;
        if (warned[i][0] == '\0') {
            memcpy(warned[i], name, sizeof(name));
            log_warning(
                "header \"%s\" from %s dropped: as a CGI variable it could not be told from one with a dash",
                name, r->remote_addr[0] != '\0' ? r->remote_addr : "a unix socket");
            return;
        }
    }
}

/* The pairs stand in `b` behind `start` and room for one header: makes PARAMS records of them, and ends them
 * with the empty one. */
static bool frame_params(struct buf *b, uint32_t start, uint16_t id)
{
    uint32_t n = b->len - start - FCGI_RECORD_HEADER;
    uint32_t records = (n + FCGI_CONTENT_MAX - 1) / FCGI_CONTENT_MAX;
    if (!buf_reserve(b, (size_t)records * FCGI_RECORD_HEADER))
        return false;
    uint8_t *base = (uint8_t *)b->data + start;
    for (uint32_t i = records; i-- > 0;) { /* from the last, so that nothing is overwritten */
        uint32_t off = i * FCGI_CONTENT_MAX;
        uint32_t len = i == records - 1 ? n - off : FCGI_CONTENT_MAX;
        uint8_t *record = base + off + (size_t)i * FCGI_RECORD_HEADER;
        memmove(record + FCGI_RECORD_HEADER, base + FCGI_RECORD_HEADER + off, len);
        fcgi_put_header(record, FCGI_PARAMS, id, len);
    }
    b->len = start + n + records * FCGI_RECORD_HEADER;
    fcgi_put_header((uint8_t *)b->data + b->len, FCGI_PARAMS, id, 0);
    b->len += FCGI_RECORD_HEADER;
    return true;
}

bool encode_head(struct buf *out, const struct request *r, uint16_t id, bool keep)
{
    struct cgi_request cgi;
    struct slice dropped;
    const uint8_t gap[FCGI_RECORD_HEADER] = {0};
    uint8_t begin[FCGI_RECORD_BEGIN];
    describe(r, &cgi);
    fcgi_put_begin(begin, id, keep);
    if (!buf_put(out, begin, sizeof(begin)) || !buf_put(out, gap, sizeof(gap)) ||
        !cgi_put_params(out, &cgi, &dropped) || !frame_params(out, FCGI_RECORD_BEGIN, id))
        return false;
    warn_dropped(r, dropped);
    return true;
}

bool encode_body(struct buf *out, struct body *body, uint16_t id, bool *last)
{
    const char *data;
    uint8_t header[FCGI_RECORD_HEADER];
    long n = body_peek(body, memory_scratch, ENCODE_PIECE, &data);
    if (n < 0)
        return false;
    if (n > ENCODE_PIECE)
        n = ENCODE_PIECE;
    if (n > 0) {
        fcgi_put_header(header, FCGI_STDIN, id, (size_t)n);
        if (!buf_reserve(out, sizeof(header) + (size_t)n))
            return false;
        (void)buf_put(out, header, sizeof(header));
        (void)buf_put(out, data, (size_t)n);
        body_skip(body, (size_t)n);
    }
    if (body_left(body) > 0)
        return true;
    fcgi_put_header(header, FCGI_STDIN, id, 0);
    *last = buf_put(out, header, sizeof(header));
    return *last;
}
