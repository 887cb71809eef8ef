/* suggest.h - "did you mean": the nearest of some words by edit distance; pure. */
#ifndef LEANGATE_SUGGEST_H
#define LEANGATE_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

#define SUGGEST_WORD 64 /* longer words are never compared */

/* A search for the word nearest to `wrong`: offer each candidate, then read `best` (NULL: none is near
 * enough). The candidates belong to the caller and must live as long as `best` is used. */
struct suggest {
    const char *wrong;
    const char *best;
    unsigned distance; /* of best */
};

void suggest_init(struct suggest *s, const char *wrong);
/* Whether it is the best so far. */
bool suggest_offer(struct suggest *s, const char *candidate);

/* For tests: insertions, deletions, substitutions and swaps of neighbours that turn a into b; SUGGEST_WORD
 * when one is too long. */
unsigned suggest_distance(const char *a, const char *b);

#endif
