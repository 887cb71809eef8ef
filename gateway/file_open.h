/* file_open.h - opening what lies below a directory, and nothing else. */
#ifndef LEANGATE_FILE_OPEN_H
#define LEANGATE_FILE_OPEN_H

#include <stdbool.h>
#include <sys/stat.h>

/* A place in the file system (O_PATH), to open something below it. The descriptor, or -1 with errno. */
int file_open_place(const char *path, int flags);

/* Opens `name` (relative, segments with one slash between) below the directory `dir` for reading. Symbolic
 * links are followed as long as they stay below `dir` (openat2; before Linux 5.6 none is followed). Never
 * blocks on a fifo; what kind of file it is, is for the caller to see. The descriptor, or -1 with errno:
 * EXDEV or ELOOP where the name would lead out. */
int file_open(int dir, const char *name);

/* The same without openat2: segment by segment, and no symbolic link is followed. */
int file_open_walk(int dir, const char *name);

/* Whether it was for want of memory or descriptors that this failed, or the file system did not answer:
 * another time it may go. */
bool file_open_is_shortage(int error);

/* What `name` is, found in the same way, whether or not it could be read. 0, or -1 with errno. */
int file_look(int dir, const char *name, struct stat *st);

#endif
