/* memory.c - see memory.h. */
#include "memory.h"

#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LARGE = 128 * 1024,
    RESERVE = 1024 * 1024,  /* libev's tables for some 10,000 connections */
    SEGMENTS = 8,           /* of one object, that cannot be written to: there are three */
    STACK_USED = 64 * 1024, /* as far below the caller as a call has ever come; whole pages */
    STACK_NEAR = 8 * 1024   /* below the caller, what is in use */
};

char memory_scratch[MEMORY_SCRATCH] __attribute__((aligned(4096)));
static uintptr_t page_size; /* bytes: 4 KB, on ARM up to 64 */
static void *reserve = MAP_FAILED;

static void fill_reserve(void)
{
    if (reserve == MAP_FAILED)
        reserve = mmap(NULL, RESERVE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void memory_init(void)
{
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
#ifdef __GLIBC__ /* musl's malloc maps from 128 KB on, and gives back what is free, by itself */
    /* Fixed: else both grow with use, and what was a large buffer stays on the heap. */
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, LARGE);
#endif
    fill_reserve();
}

void *memory_for_loop(void *old, long size)
{
    if (size == 0) {
        free(old);
        return NULL;
    }
    fill_reserve();
    void *data = realloc(old, (size_t)size);
    if (data != NULL || reserve == MAP_FAILED)
        return data;
    (void)munmap(reserve, RESERVE);
    reserve = MAP_FAILED;
    return realloc(old, (size_t)size);
}

/* Text and constants are never written to, so a page of them that is dropped comes back as it was. Failing
 * changes nothing. The list of segments stands in one of them: it is read to its end before any is dropped.
 */
static int drop_text(struct dl_phdr_info *info, size_t size, void *unused)
{
    struct {
        uintptr_t page;
        size_t len;
    } parts[SEGMENTS];
    int count = 0;
    (void)size;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum && count < SEGMENTS; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
            continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        parts[count].page = start & ~(page_size - 1);
        parts[count].len = segment->p_memsz + (start - parts[count].page);
        count++;
    }
    for (int i = 0; i < count; i++)
        (void)madvise((void *)parts[i].page, parts[i].len, MADV_DONTNEED);
    return 0;
}

/* Pages of the stack that only a deeper call, at the start, has used. What is not mapped there is not
 * touched. */
static void drop_stack(void)
{
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - STACK_NEAR) & ~(page_size - 1);
    (void)madvise((void *)(end - STACK_USED), STACK_USED, MADV_DONTNEED);
}

static void drop_scratch(void)
{
    uintptr_t start = ((uintptr_t)memory_scratch + page_size - 1) & ~(page_size - 1);
    uintptr_t end = ((uintptr_t)memory_scratch + sizeof(memory_scratch)) & ~(page_size - 1);
    if (start < end)
        (void)madvise((void *)start, end - start, MADV_DONTNEED);
}

void memory_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void memory_give_back(void)
{
    memory_trim();
    drop_stack();
    drop_scratch();
    (void)dl_iterate_phdr(drop_text, NULL);
}
