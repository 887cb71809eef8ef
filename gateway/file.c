/* file.c - see file.h.
 *
 *   name --> file below the directory --> compressed sibling, where the client takes one --> 304 412 416, or
 *   200 206: a small file is read and goes out with the head, of a larger one the descriptor goes to the
 *   answer. */
#include "file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "file_find.h"
#include "file_open.h"
#include "file_rules.h"
#include "file_type.h"
#include "http_date.h"
#include "log.h"
#include "memory.h"

enum {
    FIELDS_MAX = 512, /* all our fields together: the longest take 360 */
    SHOWN_MAX = 256   /* bytes of a name in the log */
};

/* Header lines while they are put together. */
struct fields {
    char text[FIELDS_MAX];
    size_t len;
};

/* ---- answering ---- */

/* One line; it is left out where it does not fit. */
__attribute__((format(printf, 2, 3))) static void add(struct fields *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(f->text + f->len, sizeof(f->text) - f->len, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof(f->text) - f->len)
        f->len += (size_t)n;
}

/* What a 304 has, too. Vary stands there also without a sibling: one may come. A file from the future is
 * said to be of now (RFC 9110 8.8.2.1). */
static void add_validators(struct fields *f, const struct file_found *found, time_t now)
{
    char date[30];
    time_t modified = found->facts.modified;
    http_date(modified > now ? now : modified < 0 ? 0 : modified, date);
    add(f, "Last-Modified: %s\r\nETag: %s\r\nVary: Accept-Encoding\r\n", date, found->etag);
}

/* What 200 and 206 have besides. */
static void add_content(struct fields *f, const struct request *r, const struct file_found *found,
                        const struct file_rules_verdict *v)
{
    size_t len;
    const char *name = request_file_name(r, &len);
    add(f, "Content-Type: %s\r\nAccept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n",
        file_type(name, len));
    if (found->coding != NULL)
        add(f, "Content-Encoding: %s\r\n", found->coding);
    if (v->status == 206)
        add(f, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)v->first,
            (unsigned long long)(v->first + v->length - 1), (unsigned long long)found->facts.size);
}

/* Reads the range of a small file. False: the file is shorter by now, or cannot be read. */
static bool read_small(int fd, const struct file_rules_verdict *v)
{
    size_t done = 0;
    while (done < v->length) {
        ssize_t n = pread(fd, memory_scratch + done, (size_t)v->length - done, (off_t)(v->first + done));
        if (n <= 0 && !(n == -1 && errno == EINTR))
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool put_head(struct request *r, uint16_t status, const struct fields *f, int64_t length)
{
    const struct http_reply reply = {
        .status = status, .fields = f->text, .fields_len = f->len, .content_length = length};
    return request_head(r, &reply);
}

/* 200 and 206. False: the descriptor was not taken over. */
static bool transmit(struct request *r, const struct file_found *found, const struct fields *f,
                     const struct file_rules_verdict *v)
{
    bool body = !request_method_is(r, "HEAD");
    bool small = found->facts.size <= FILE_FIND_SMALL;
    if (small && body && !read_small(found->fd, v)) {
        log_error("%s: static: a file cannot be read, or is shorter than it was", r->app_conf->name);
        request_fail(r, 503, "the file changes just now");
        return false;
    }
    if (!put_head(r, v->status, f, (int64_t)v->length))
        return false;
    if (body && !small)
        request_file(r, found->fd, v->first, v->length);
    if (body && small && !request_body(r, memory_scratch, (size_t)v->length))
        return false;
    request_end(r);
    return body && !small;
}

/* False: as in transmit. */
static bool answer(struct request *r, const struct file_found *found)
{
    struct fields f;
    time_t now = time(NULL);
    struct file_rules_verdict v = file_rules_judge(&r->head, r->in.data, &found->facts, found->etag, now);
    f.len = 0;
    switch (v.status) {
    case 412:
        request_fail(r, 412, NULL);
        return false;
    case 416:
        add(&f, "Content-Range: bytes */%llu\r\n", (unsigned long long)found->facts.size);
        request_refuse(r, 416, NULL, f.text);
        return false;
    case 304:
        add_validators(&f, found, now);
        if (put_head(r, 304, &f, -1))
            request_end(r);
        return false;
    default:
        add_validators(&f, found, now);
        add_content(&f, r, found, &v);
        return transmit(r, found, &f, &v);
    }
}

/* A miss is a 404, whatever the reason; what only the operator can mend is logged. */
static void refuse(struct request *r, int error)
{
    char shown[SHOWN_MAX];
    bool plain_miss = error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG || error == ENXIO;
    if (!plain_miss) {
        size_t n = log_escape(shown, sizeof(shown), request_path(r), r->path_len);
        log_info("%s: static: %.*s is not served: %s", r->app_conf->name, (int)n, shown, strerror(error));
    }
    request_fail(r, file_open_is_shortage(error) ? 503 : 404, NULL);
}

/* ---- the handler's three verbs ---- */

static void handle_start(struct request *r)
{
    const struct file_found *found;
    if (!request_fetches(r)) {
        request_refuse(r, 405, NULL, "Allow: GET, HEAD\r\n");
        return;
    }
    int error = file_find(r, &found);
    if (error != 0)
        refuse(r, error);
    else if (!answer(r, found) && found->facts.size > FILE_FIND_SMALL)
        close(found->fd);
}

const struct handler file_handler = {handle_start, request_nothing, request_nothing};
