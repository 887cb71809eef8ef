/* unnamed.h - files that nobody can find: they are gone with their last descriptor. Needs no GIL. */
#ifndef PYWORKER_UNNAMED_H
#define PYWORKER_UNNAMED_H

#include <stdbool.h>
#include <stddef.h>

/* For what is small: in memory; as unnamed_file where that is refused. -1: errno. */
int unnamed_memory(const char *name);

/* In $TMPDIR or /tmp; made and unlinked where the file system has no O_TMPFILE. -1: errno. */
int unnamed_file(void);

/* Writes all of it. False: errno. */
bool unnamed_put(int fd, const char *data, size_t len);

#endif
