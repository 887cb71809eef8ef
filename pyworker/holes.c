/* holes.c - see holes.h.
 *
 * Neither allocator can be asked where its next block will lie. Both use holes first; so blocks are taken
 * until they come from where nothing was before. */
#define _GNU_SOURCE
#include "holes.h"

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "pyapi.h"

enum {
    STEP = 2 * sizeof(void *), /* between the sizes of blocks, with either allocator */
    SMALL = 512,               /* CPython has what is larger from malloc */
    RUN = 3500, /* bytes, for blocks of any size fewer than the smallest pools have, of one page each */
    PROBES = 64,
    TAKEN_MAX = 4 << 20,    /* bytes of one size, should no end be seen */
    LARGE = 64 << 10,       /* a size that malloc does not map by itself */
    CACHED = 64 * 7 * 1040, /* what malloc's cache for a thread can hold, which it does not count as free */
};

/* --- CPython's small objects: in pools of blocks of one size --- */

/* Whether it is so: PYTHONMALLOC can have it otherwise. Any other allocator adds something to a size or
 * rounds it up. */
static bool has_pools(void)
{
    const ptrdiff_t size = SMALL - STEP;
    char *blocks[PROBES];
    size_t count = 0;
    bool found = false;

    while (count < PROBES && (blocks[count] = PyObject_Malloc((size_t)size)) != NULL) {
        found = found || (count > 0 && blocks[count] - blocks[count - 1] == size);
        count++;
    }
    while (count > 0)
        PyObject_Free(blocks[--count]);
    return found;
}

/* Holes are handed out in any order, the part of a pool that was never used from its start to its end: when
 * that has begun, what shows it is given back. */
static void fill_pools(size_t size)
{
    char *first = NULL;
    size_t count = 0;

    for (size_t taken = 0; taken < TAKEN_MAX && count * size < RUN; taken += size) {
        char *block = PyObject_Malloc(size);
        if (block == NULL)
            return;
        if (count > 0 && block == first + count * size) {
            count++;
        } else {
            first = block;
            count = 1;
        }
    }
    while (count > 0)
        PyObject_Free(first + --count * size);
}

/* --- malloc --- */

/* Asked for what came with glibc 2.33: musl, where no such macro is, has nothing of the kind. */
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 33)
#define HAS_MALLINFO2 1
#endif
#endif

#ifdef HAS_MALLINFO2
/* Takes chunks, the largest first, as long as they lie below the free end of the heap. */
static void fill_heap(void)
{
    struct mallinfo2 info = mallinfo2();
    const char *end = (const char *)sbrk(0) - info.keepcost;
    size_t left = info.fordblks - info.keepcost + CACHED;

    for (size_t size = LARGE; size >= STEP; size -= STEP) {
        void *chunk = NULL;
        while (left >= size && (chunk = malloc(size - sizeof(size_t))) != NULL && (const char *)chunk < end)
            left -= size;
        free(chunk);
    }
}
#else
static void fill_heap(void)
{
}
#endif

void holes_fill(void)
{
    if (has_pools())
        for (size_t size = STEP; size <= SMALL; size += STEP)
            fill_pools(size);
    fill_heap();
}
