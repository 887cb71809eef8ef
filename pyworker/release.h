/* release.h - gives back what only the start of the process needed. */
#ifndef PYWORKER_RELEASE_H
#define PYWORKER_RELEASE_H

/* Unmaps the pages of program text, the interpreter's above all: starting and importing ran through most of
 * it, a request needs a small part, which comes back from the page cache as it is touched. For once after the
 * first request: then that part is small and the start is over. */
void release_text(void);

#endif
