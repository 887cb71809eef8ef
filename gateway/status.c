/* status.c - see status.h. */
#include "status.h"

#include <string.h>

static const char common[] = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";

static void answer(struct request *r, unsigned status, const char *more, const char *text)
{
    char fields[sizeof(common) + 64];
    size_t len = sizeof(common) - 1, n = strlen(more);
    memcpy(fields, common, len);
    memcpy(fields + len, more, n);
    if (request_head(r, status, NULL, 0, fields, len + n, (int64_t)strlen(text), false, false) &&
        request_body(r, text, strlen(text)))
        request_end(r);
}

static void say_ok(struct request *r)
{
    answer(r, 200, "", "ok\n");
}

static void say_draining(struct request *r)
{
    answer(r, 503, "Retry-After: 1\r\n", "draining\n");
}

static void say_failing(struct request *r)
{
    answer(r, 503, "Retry-After: 1\r\n", "no app can start\n");
}

static void say_method(struct request *r)
{
    request_refuse(r, 405, "only GET and HEAD", "Allow: GET, HEAD\r\n");
}

/* Every answer is whole at once. */
static void nothing(struct request *r)
{
    (void)r;
}

static const struct handler ok = {"status", say_ok, nothing, nothing};
static const struct handler draining_now = {"status", say_draining, nothing, nothing};
static const struct handler failing = {"status", say_failing, nothing, nothing};
static const struct handler wrong_method = {"status", say_method, nothing, nothing};

static bool is_path(const struct request *r, const char *path)
{
    size_t len = strlen(path); /* 0: off */
    return len > 0 && r->path_len == len && memcmp(request_path(r), path, len) == 0;
}

static bool is_method(const struct request *r, const char *method)
{
    return r->head.method.len == strlen(method) &&
           memcmp(r->in.data + r->head.method.off, method, r->head.method.len) == 0;
}

/* An app that was never called may well start. */
static bool all_failing(const struct conf *conf, struct app *const *apps)
{
    for (uint32_t i = 0; i < conf->app_count; i++)
        if (apps[i] == NULL || !app_failing(apps[i]))
            return false;
    return true;
}

const struct handler *status_find(const struct conf *conf, struct app *const *apps, bool draining,
                                  const struct request *r)
{
    bool health = is_path(r, conf->health_path);
    if (!health && !is_path(r, conf->ready_path))
        return NULL;
    if (!is_method(r, "GET") && !is_method(r, "HEAD"))
        return &wrong_method;
    if (health)
        return &ok;
    if (draining)
        return &draining_now;
    return all_failing(conf, apps) ? &failing : &ok;
}
