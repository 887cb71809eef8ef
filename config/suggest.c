/* suggest.c - optimal string alignment distance over three rows of the matrix. */
#include "suggest.h"

#include <string.h>

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned suggest_distance(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    if (la >= SUGGEST_WORD || lb >= SUGGEST_WORD)
        return SUGGEST_WORD;
    unsigned rows[3][SUGGEST_WORD]; /* i - 2, i - 1 and i, each at [i % 3] */
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned change = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = least(above[j - 1] + change, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], rows[(i + 1) % 3][j - 2] + 1);
        }
    }
    return rows[la % 3][lb];
}

void suggest_init(struct suggest *s, const char *wrong)
{
    s->wrong = wrong;
    s->best = NULL;
    s->distance = 0;
}

bool suggest_offer(struct suggest *s, const char *candidate)
{
    /* A third of the letters may be wrong: "worker" finds "workers", "foo" finds nothing. */
    unsigned limit = (unsigned)(strlen(s->wrong) + 2) / 3;
    unsigned distance = suggest_distance(s->wrong, candidate);
    bool better = distance <= limit && (s->best == NULL || distance < s->distance);
    if (better) {
        s->best = candidate;
        s->distance = distance;
    }
    return better;
}
