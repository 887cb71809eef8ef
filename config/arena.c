/* arena.c - a list of mapped chunks, filled from the front. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_SIZE (128U * 1024U)
#define PAGE       4096U

struct chunk {
    struct chunk *next;
    size_t size; /* of the mapping, this head included */
    size_t used;
};

struct arena {
    struct chunk *chunks; /* the one being filled first */
};

static size_t align_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static struct chunk *chunk_new(size_t room)
{
    size_t size = align_up(room + sizeof(struct chunk), PAGE);
    if (size < CHUNK_SIZE)
        size = CHUNK_SIZE;
    struct chunk *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    chunk->size = size;
    chunk->used = align_up(sizeof(*chunk), alignof(max_align_t));
    return chunk;
}

static void *take(struct arena *arena, size_t size, size_t alignment)
{
    if (size > SIZE_MAX / 4)
        return NULL;
    struct chunk *chunk = arena->chunks;
    size_t at = align_up(chunk->used, alignment);
    if (at > chunk->size || size > chunk->size - at) {
        chunk = chunk_new(size + alignof(max_align_t));
        if (chunk == NULL)
            return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        at = chunk->used;
    }
    chunk->used = at + size;
    return (char *)chunk + at;
}

struct arena *arena_new(void)
{
    struct chunk *chunk = chunk_new(sizeof(struct arena));
    if (chunk == NULL)
        return NULL;
    struct arena *arena = (struct arena *)(void *)((char *)chunk + chunk->used);
    chunk->used += align_up(sizeof(*arena), alignof(max_align_t));
    arena->chunks = chunk;
    return arena;
}

void arena_free(struct arena *arena)
{
    struct chunk *chunk = arena != NULL ? arena->chunks : NULL;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        (void)munmap(chunk, chunk->size);
        chunk = next;
    }
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return take(arena, size, alignof(max_align_t));
}

char *arena_copy(struct arena *arena, const char *text, size_t len)
{
    char *copy = take(arena, len + 1, 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *arena_join(struct arena *arena, const char *a, const char *b, const char *c)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    size_t lc = strlen(c);
    char *text = take(arena, la + lb + lc + 1, 1);
    if (text != NULL) {
        memcpy(text, a, la);
        memcpy(text + la, b, lb);
        memcpy(text + la + lb, c, lc + 1);
    }
    return text;
}

size_t arena_used(const struct arena *arena)
{
    size_t used = 0;
    for (const struct chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->next)
        used += chunk == arena->chunks ? chunk->used : chunk->size;
    return used;
}
