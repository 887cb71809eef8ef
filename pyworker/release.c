/* release.c - see release.h. */
#define _GNU_SOURCE
#include "release.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Text and constants are never written to, so a page of them that is dropped comes back as it was. Failing
 * changes nothing. */
static int drop_text(struct dl_phdr_info *info, size_t size, void *page_size)
{
    uintptr_t page = *(const uintptr_t *)page_size;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
            continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        uintptr_t first = start & ~(page - 1);
        (void)madvise((void *)first, segment->p_memsz + (start - first), MADV_DONTNEED);
    }
    return 0;
}

void release_text(void)
{
    long size = sysconf(_SC_PAGESIZE);
    if (size <= 0)
        return;
    uintptr_t page = (uintptr_t)size;
    (void)dl_iterate_phdr(drop_text, &page);
}
