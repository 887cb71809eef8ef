/* file_find.h - from a request to the open file that answers it. */
#ifndef LEANGATE_FILE_FIND_H
#define LEANGATE_FILE_FIND_H

#include "file_rules.h"
#include "request.h"

enum {
    FILE_FIND_SMALL = 16 * 1024 /* bytes that are read and copied rather than sent by sendfile */
};

/* An open regular file, or the compressed sibling in its place. */
struct file_found {
    int fd;
    struct file_rules_facts facts;
    const char *coding; /* Content-Encoding, or NULL */
    char etag[FILE_RULES_ETAG];
};

/* Finds what r->files has for the request's path. 0 with *found, which is good until the caller's task
 * returns; else what was wrong, as an errno: ENOENT also for what must not be served. The descriptor of a
 * file larger than FILE_FIND_SMALL becomes the caller's; a smaller one is not. */
int file_find(const struct request *r, const struct file_found **found);

#endif
