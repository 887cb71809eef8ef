/* prefetch.h - reads ahead what an app's start is about to read, when it is not in memory. */
#ifndef LEANGATE_PREFETCH_H
#define LEANGATE_PREFETCH_H

/* To be called in a worker's process right before it becomes the interpreter, as the user that it runs as.
 * `list` names a file as pyworker writes it (--files); "" or a missing one: nothing happens. If some of the
 * listed files that are looked at are not in the page cache, a process is made that reads all of them beside
 * the interpreter, and ends. It is the gateway's child and of this process's group: the app never sees it,
 * and what ends the worker ends it. */
void prefetch_begin(const char *list);

#endif
