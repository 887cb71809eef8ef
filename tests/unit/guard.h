/* guard.h - input for parser tests that ends exactly at an unreadable page: one byte read too many is a
 * crash, with or without a sanitizer. */
#ifndef LEANGATE_TEST_GUARD_H
#define LEANGATE_TEST_GUARD_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline size_t guard_span(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len + page - 1) / page * page;
}

/* A copy of data[0..len) right before a PROT_NONE page; give it back with guard_free(copy, len). */
static inline char *guard_copy(const void *data, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), span = guard_span(len);
    char *map = mmap(NULL, span + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + span, page, PROT_NONE) == -1)
        abort();
    if (len > 0)
        memcpy(map + span - len, data, len);
    return map + span - len;
}

static inline void guard_free(char *copy, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), span = guard_span(len);
    if (munmap(copy + len - span, span + page) == -1)
        abort();
}

#endif
