/* backoff.h - the pause after a start that failed, and what is said during it.
 *
 * A pause is a time that is compared at the next request; there is no timer. */
#ifndef LEANGATE_BACKOFF_H
#define LEANGATE_BACKOFF_H

#include <stdbool.h>

struct backoff {
    double pause;    /* seconds of the last one; 0: none */
    double until;    /* monotonic seconds */
    unsigned status; /* what requests are answered with until then */
    char *failure;   /* summary line, then the traceback; owned, or NULL */
};

/* A start has failed: the first pause is short, each further one twice as long, up to `longest` seconds. */
void backoff_begin(struct backoff *b, double longest, unsigned status, const char *failure);

/* A start went well. */
void backoff_clear(struct backoff *b);

/* Whether a pause is on. */
bool backoff_active(const struct backoff *b);

#endif
