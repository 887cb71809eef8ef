/* fuzz_cgi_reply.c - any bytes as the first ones of a CGI answer; links cgi, http_head, http_reply, buf,
 * fcgi_record.
 *
 * What is passed on are whole header lines without CR, LF, NUL or a field of ours; slices lie within the
 * block; and the answer for the whole is the answer for the shortest start that has one. */
#include "cgi.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 4096, STARTS_MAX = 600 /* tried one by one */ };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool is(const char *name, size_t len, const char *other)
{
    return len == strlen(other) && strncasecmp(name, other, len) == 0;
}

static void check_line(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        require((unsigned char)line[i] >= ' ' ? line[i] != 0x7f : line[i] == '\t');
    const char *colon = memchr(line, ':', len);
    require(colon != NULL && colon > line && colon[1] == ' ');
    size_t name = (size_t)(colon - line);
    require(memchr(line, ' ', name) == NULL && memchr(line, '\t', name) == NULL);
    require(!http_reply_drops(line, name) && !is(line, name, "Status") && !is(line, name, "Content-Length") &&
            !is(line, name, "Transfer-Encoding") && !is(line, name, "Connection"));
}

static void check_fields(const struct buf *out)
{
    for (uint32_t at = 0; at < out->len;) {
        const char *line = out->data + at;
        const char *cr = memchr(line, '\r', out->len - at);
        require(cr != NULL && cr + 1 < out->data + out->len && cr[1] == '\n');
        check_line(line, (size_t)(cr - line));
        at += (uint32_t)(cr - line) + 2;
    }
}

static void check_reply(const struct cgi_reply *r, const char *block, size_t len)
{
    require(r->size > 0 && r->size <= len && block[r->size - 1] == '\n' && r->error == NULL);
    require(r->status >= 200 && r->status <= 599 && r->content_length >= -1);
    require(r->reason.len <= CGI_REASON_MAX && r->reason.len <= r->size);
    require(r->reason.off <= r->size - r->reason.len);
    for (uint32_t i = 0; i < r->reason.len; i++)
        require(memchr("\r\n", block[r->reason.off + i], 3) == NULL);
}

static enum http_parse parse(const uint8_t *data, size_t size, struct cgi_reply *reply, struct buf *out)
{
    char *block = malloc(size + (size == 0)); /* of its own, so that a read behind it is seen */
    require(block != NULL);
    memcpy(block, data, size);
    enum http_parse result = cgi_reply_parse(reply, block, size, out);
    if (result == HTTP_DONE) {
        check_reply(reply, block, size);
        check_fields(out);
    } else {
        require(out->len == 0 && (result == HTTP_BAD) == (reply->error != NULL));
    }
    free(block);
    return result;
}

static void check_starts(const uint8_t *data, size_t size, enum http_parse whole,
                         const struct cgi_reply *reply, const struct buf *fields)
{
    for (size_t n = 0; n < size; n++) {
        struct cgi_reply start;
        struct buf out;
        buf_init(&out, OUT_MAX);
        enum http_parse result = parse(data, n, &start, &out);
        require(result == HTTP_MORE || result == whole);
        if (result == HTTP_DONE) {
            require(start.size == reply->size && n >= start.size && out.len == fields->len);
            require(out.len == 0 || memcmp(out.data, fields->data, out.len) == 0);
            require(start.status == reply->status && start.content_length == reply->content_length);
        } else if (result == HTTP_BAD) {
            require(strcmp(start.error, reply->error) == 0);
        } else {
            require(whole != HTTP_DONE || n < reply->size);
        }
        buf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cgi_reply reply;
    struct buf out;
    buf_init(&out, OUT_MAX);
    enum http_parse result = parse(data, size, &reply, &out);
    if (size <= STARTS_MAX)
        check_starts(data, size, result, &reply, &out);
    buf_free(&out);
    return 0;
}
