/* memory.h - the one scratch buffer, and giving memory back when nothing is going on. */
#ifndef LEANGATE_MEMORY_H
#define LEANGATE_MEMORY_H

enum { MEMORY_SCRATCH = 64 * 1024 };

/* For one read or write, shared by everybody: nothing may stay in it between two calls of a function that
 * uses it. */
extern char memory_scratch[MEMORY_SCRATCH];

/* For allocators and the kernel, once: large blocks are mapped, so that they go back at once. */
void memory_init(void);

/* realloc() for libev, which ends the process where it gets no memory: it has a reserve, which is address
 * space until then. */
void *memory_for_loop(void *old, long size);

/* Gives the heap's free pages back. It looks at all of the heap. */
void memory_trim(void);

/* Gives back what is free or can be had again: the heap's free pages, the scratch buffer, and the mappings of
 * program text, most of which was needed once, to start. What is needed again is mapped again, from the page
 * cache. */
void memory_give_back(void);

#endif
