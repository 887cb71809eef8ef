/* proc.c - see proc.h. */
#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXT_MAX = 4096, K = 1024 }; /* a file has less than 2 KB, unless its user is in hundreds of groups */

/* A line of a file in /proc/PID, and where its kB go. */
struct line {
    const char *name; /* with its newline and colon */
    size_t offset;    /* of a uint64_t in struct proc_memory, which is added to */
};

static const struct line status_lines[] = {
    {"\nVmHWM:", offsetof(struct proc_memory, rss_most)},
};
static const struct line rollup_lines[] = {
    {"\nPss:",           offsetof(struct proc_memory, pss)    },
    {"\nPrivate_Clean:", offsetof(struct proc_memory, private)},
    {"\nPrivate_Dirty:", offsetof(struct proc_memory, private)},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* False: it cannot be read, the process is gone mostly. */
static bool read_file(pid_t pid, const char *name, char text[TEXT_MAX])
{
    char path[64];
    if (pid == 0)
        return false;
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return false;
    ssize_t n = read(fd, text, TEXT_MAX - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void take(pid_t pid, const char *file, const struct line *lines, size_t count,
                 struct proc_memory *memory)
{
    char text[TEXT_MAX];
    if (!read_file(pid, file, text))
        return;
    for (size_t i = 0; i < count; i++) {
        const char *at = strstr(text, lines[i].name);
        uint64_t *field = (uint64_t *)(void *)((char *)memory + lines[i].offset);
        if (at != NULL)
            *field += strtoull(at + strlen(lines[i].name), NULL, 10) * K;
    }
}

/* The sizes of /proc/PID/statm, in bytes. */
static void take_sizes(pid_t pid, uint64_t *mapped, uint64_t *resident)
{
    char text[TEXT_MAX];
    unsigned long long pages[2] = {0, 0};
    if (read_file(pid, "statm", text) && sscanf(text, "%llu %llu", &pages[0], &pages[1]) != 2)
        pages[0] = pages[1] = 0;
    *mapped = pages[0] * (uint64_t)sysconf(_SC_PAGESIZE);
    *resident = pages[1] * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t proc_resident(pid_t pid)
{
    uint64_t mapped, resident;
    take_sizes(pid, &mapped, &resident);
    return resident;
}

void proc_rss(pid_t pid, struct proc_memory *memory)
{
    *memory = (struct proc_memory){.rss = proc_resident(pid)};
    take(pid, "status", status_lines, COUNT(status_lines), memory);
}

void proc_memory(pid_t pid, struct proc_memory *memory)
{
    proc_rss(pid, memory);
    take(pid, "smaps_rollup", rollup_lines, COUNT(rollup_lines), memory);
}

uint64_t proc_own_mapped(void)
{
    uint64_t mapped, resident;
    take_sizes(getpid(), &mapped, &resident);
    return mapped;
}

double proc_own_cpu(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == -1)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

uint32_t proc_own_descriptors(void)
{
    uint32_t n = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n > 3 ? n - 3 : 0; /* ".", "..", and the directory itself */
}
