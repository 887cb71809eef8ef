/* file_rules.h - what HTTP says about a file: which names are served, which coding, and what conditions and
 * ranges come to (RFC 9110 12.5.3, 13 and 14). Pure: facts in, decisions out. */
#ifndef LEANGATE_FILE_RULES_H
#define LEANGATE_FILE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "config.h"
#include "http_head.h"

enum {
    FILE_RULES_ETAG = 40,  /* bytes that hold any entity tag */
    FILE_RULES_CODINGS = 2 /* codings that a file may have beside it */
};

/* What is known of the bytes that would be sent. */
struct file_rules_facts {
    uint64_t size;
    int64_t modified; /* seconds since 1970, */
    uint32_t modified_ns;
    uint64_t inode;
};

/* A coding: how a compressed sibling is named, and what HTTP calls it. */
struct file_rules_coding {
    char suffix[4];
    char name[5];
};
extern const struct file_rules_coding file_rules_codings[FILE_RULES_CODINGS];

/* What the client is to get. */
struct file_rules_verdict {
    uint16_t status; /* 200, 206, 304, 412, 416 */
    uint64_t first;  /* 200 and 206: the first byte, and how many */
    uint64_t length;
};

/* The `static` of an app with the longest prefix of whole segments of a normalised path; NULL: none. */
const struct conf_static *file_rules_find(const struct conf_app *app, const char *path, size_t len);

/* Whether what stands behind the prefix may name a file: "/segment/segment", no segment empty or beginning
 * with a dot. */
bool file_rules_name(const char *rest, size_t len);

/* The entity tag with its quotes, a strong one. */
void file_rules_etag(const struct file_rules_facts *facts, char etag[FILE_RULES_ETAG]);

/* The codings that the client takes, the best first, as indices; returns how many. */
unsigned file_rules_accepted(const struct http_head *head, const char *data,
                             uint8_t order[FILE_RULES_CODINGS]);

/* What a GET or HEAD with this head (whose offsets are into data) comes to. */
struct file_rules_verdict file_rules_judge(const struct http_head *head, const char *data,
                                           const struct file_rules_facts *facts, const char *etag,
                                           time_t now);

#endif
