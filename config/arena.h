/* arena.h - memory that is given out in small pieces and given back all at once.
 *
 * Chunks are mapped, not malloc'ed: pages never touched cost nothing, and what loading needed for a moment
 * goes back to the system instead of staying behind as holes in the heap of a process that is sold on its
 * idle memory. */
#ifndef LEANGATE_ARENA_H
#define LEANGATE_ARENA_H

#include <stddef.h>

struct arena;

/* An empty arena, which lives in its own first chunk; NULL without memory. */
struct arena *arena_new(void);

/* Gives everything back, the arena too; NULL is ignored. */
void arena_free(struct arena *arena);

/* `size` zeroed bytes, aligned for any object; NULL without memory. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy of `len` bytes with a NUL behind; NULL without memory. */
char *arena_copy(struct arena *arena, const char *text, size_t len);

/* The parts one after the other as one string; NULL without memory. */
char *arena_join(struct arena *arena, const char *a, const char *b, const char *c);

/* Bytes given out so far, with what alignment and chunk ends cost. */
size_t arena_used(const struct arena *arena);

#endif
