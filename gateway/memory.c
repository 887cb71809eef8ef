/* memory.c - see memory.h. */
#include "memory.h"

#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum { PAGE = 4096, LARGE = 128 * 1024 };

char memory_scratch[MEMORY_SCRATCH] __attribute__((aligned(PAGE)));

void memory_init(void)
{
    /* Fixed: else both grow with use, and what was a large buffer stays on the heap. */
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, LARGE);
}

/* Text is never written to, so a page of it that is dropped comes back as it was. Failing changes nothing. */
static int drop_text(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || segment->p_flags != (PF_R | PF_X))
            continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        uintptr_t page = start & ~(uintptr_t)(PAGE - 1);
        (void)madvise((void *)page, segment->p_memsz + (start - page), MADV_DONTNEED);
    }
    return 0;
}

void memory_give_back(void)
{
    malloc_trim(0);
    (void)madvise(memory_scratch, sizeof(memory_scratch), MADV_DONTNEED);
    (void)dl_iterate_phdr(drop_text, NULL);
}
