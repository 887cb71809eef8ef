/* proc.h - what the kernel knows about a process: read when somebody asks, never kept. */
#ifndef LEANGATE_PROC_H
#define LEANGATE_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes. */
struct proc_memory {
    uint64_t rss;
    uint64_t rss_most; /* the largest there ever was */
    uint64_t pss;      /* shared pages counted by share */
    uint64_t private;  /* what its end gives back */
};

/* The memory of a process; pid 0: there is none. What cannot be read is 0. */
void proc_memory(pid_t pid, struct proc_memory *memory);

/* The first of them alone, in bytes; 0: it cannot be read, or the process has ended. */
uint64_t proc_resident(pid_t pid);

/* The first two of them alone, which cost a tenth: the kernel has them ready. */
void proc_rss(pid_t pid, struct proc_memory *memory);

/* Bytes mapped, processor seconds, and open descriptors of this process; 0 where they cannot be read. */
uint64_t proc_own_mapped(void);
double proc_own_cpu(void);
uint32_t proc_own_descriptors(void);

#endif
