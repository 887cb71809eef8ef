/* fuzz_file_rules.c - any bytes as the header fields of a request for a file: the answer's bytes lie in the
 * file, and what the fields say is taken whole or not at all. The first byte is the file's size, in eight
 * steps. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MODIFIED = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT, as the corpus has it */

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* A head of `method` with these fields and `more`; NULL: it is none. To be freed. */
static char *make_head(struct http_head *head, const char *method, const uint8_t *fields, size_t size,
                       const char *more)
{
    static const struct http_head_limits limits = {.request_line = 100, .size = 1 << 16, .field_count = 200};
    size_t room = size + strlen(more) + 100;
    char *data = malloc(room);
    check(data != NULL);
    size_t len = (size_t)snprintf(data, room, "%s /x HTTP/1.1\r\nHost: h\r\n", method);
    if (size > 0)
        memcpy(data + len, fields, size);
    len += size;
    len += (size_t)snprintf(data + len, room - len, "%s\r\n", more);
    char *exact = realloc(data, len); /* so that a read behind it is seen */
    check(exact != NULL);
    http_head_init(head);
    if (http_head_parse(head, exact, len, &limits) == HTTP_DONE && head->size == len)
        return exact;
    free(exact);
    return NULL;
}

static void check_codings(const struct http_head *head, const char *data)
{
    uint8_t order[FILE_RULES_CODINGS];
    unsigned count = file_rules_accepted(head, data, order);
    check(count <= FILE_RULES_CODINGS);
    for (unsigned i = 0; i < count; i++)
        check(order[i] < FILE_RULES_CODINGS && (i == 0 || order[i] != order[0]));
}

/* What this method with these fields comes to; false: they are no fields. */
static bool judge(const char *method, const uint8_t *fields, size_t size, const char *more, uint64_t length,
                  struct file_rules_verdict *v)
{
    struct http_head head;
    struct file_rules_facts facts = {.size = length, .modified = MODIFIED, .inode = 7};
    char etag[FILE_RULES_ETAG];
    char *data = make_head(&head, method, fields, size, more);
    if (data == NULL)
        return false;
    file_rules_etag(&facts, etag);
    check_codings(&head, data);
    *v = file_rules_judge(&head, data, &facts, etag, MODIFIED + 1000);
    free(data);
    return true;
}

static void check_verdict(const struct file_rules_verdict *v, uint64_t length)
{
    if (v->status == 206)
        check(v->length > 0 && v->first < length && v->length <= length - v->first);
    else
        check(v->first == 0 && v->length == length);
    check(v->status == 200 || v->status == 206 || v->status == 304 || v->status == 412 || v->status == 416);
}

/* The same range in other words. */
static void check_range(const struct file_rules_verdict *v, uint64_t length)
{
    char range[100];
    struct file_rules_verdict again;
    (void)snprintf(range, sizeof(range), "Range: bytes=%llu-%llu\r\n", (unsigned long long)v->first,
                   (unsigned long long)(v->first + v->length - 1));
    check(judge("GET", NULL, 0, range, length, &again));
    check(again.status == 206 && again.first == v->first && again.length == v->length);
}

static void check_name(const char *name, size_t len)
{
    if (!file_rules_name(name, len))
        return;
    check(len > 1 && name[0] == '/' && name[len - 1] != '/');
    check(memmem(name, len, "//", 2) == NULL && memmem(name, len, "/.", 2) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t lengths[] = {0, 1, 2, 1000, 1001, UINT32_MAX, INT64_MAX, UINT64_MAX};
    struct file_rules_verdict got, head, any;
    if (size == 0)
        return 0;
    uint64_t length = lengths[data[0] % 8];
    check_name((const char *)data + 1, size - 1);
    if (!judge("GET", data + 1, size - 1, "", length, &got))
        return 0;
    check_verdict(&got, length);
    if (got.status == 206)
        check_range(&got, length);
    if (judge("HEAD", data + 1, size - 1, "", length, &head))
        check(head.status == (got.status == 206 || got.status == 416 ? 200 : got.status));
    if (judge("GET", data + 1, size - 1, "If-None-Match: *\r\n", length, &any))
        check(any.status == (got.status == 412 ? 412 : 304));
    return 0;
}
