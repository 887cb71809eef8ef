/* backoff.c - see backoff.h. */
#include "backoff.h"

#include <stdlib.h>
#include <string.h>

#include "timeq.h"

static const double FIRST = 0.1; /* seconds */

void backoff_begin(struct backoff *b, double longest, unsigned status, const char *failure)
{
    char *copy = strdup(failure); /* NULL: the failure is told without its text */
    b->pause = b->pause == 0 ? FIRST : b->pause * 2;
    if (b->pause > longest)
        b->pause = longest;
    b->until = timeq_clock() + b->pause;
    b->status = status;
    free(b->failure);
    b->failure = copy;
}

void backoff_clear(struct backoff *b)
{
    free(b->failure);
    *b = (struct backoff){0};
}

bool backoff_active(const struct backoff *b)
{
    return b->until != 0 && timeq_clock() < b->until;
}
