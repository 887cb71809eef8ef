/* tail.h - the last lines of a text that may be endless, in bounded memory. */
#ifndef LEANGATE_TAIL_H
#define LEANGATE_TAIL_H

#include <stddef.h>

#include "buf.h"

enum {
    TAIL_MAX = 4096,     /* bytes kept, newlines included */
    TAIL_LINE_MAX = 1024 /* of them, of one line; the rest of a longer one is left out */
};

struct tail {
    struct buf kept; /* whole lines, each with its newline; no memory before the first one */
};

void tail_init(struct tail *t);
void tail_free(struct tail *t);

/* One line without its newline. Without memory it is not kept. */
void tail_add(struct tail *t, const char *line, size_t len);

#endif
