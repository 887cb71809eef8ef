/* ignored.c - see ignored.h. */
#include "ignored.h"

#include <string.h>

bool ignored_matches(const struct request *r)
{
    const struct conf_list *prefixes = &r->app_conf->ignore_idle;
    const char *path = request_path(r);
    for (uint32_t i = 0; i < prefixes->count; i++) {
        const char *prefix = prefixes->items[i];
        size_t len = strcmp(prefix, "/") == 0 ? 0 : strlen(prefix);
        bool whole = r->path_len == len || (r->path_len > len && path[len] == '/');
        if (whole && memcmp(path, prefix, len) == 0)
            return true;
    }
    return false;
}

void ignored_answer(struct request *r)
{
    static const char fields[] = "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";
    static const char text[] = "asleep\n";
    static const struct http_reply reply = {
        .status = 200,
        .fields = fields,
        .fields_len = sizeof(fields) - 1,
        .content_length = sizeof(text) - 1,
    };
    if (request_head(r, &reply) && request_body(r, text, sizeof(text) - 1))
        request_end(r);
}
