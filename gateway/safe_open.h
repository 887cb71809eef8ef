/* safe_open.h - opening a file with root's rights where somebody else may have changed the way to it. */
#ifndef LEANGATE_SAFE_OPEN_H
#define LEANGATE_SAFE_OPEN_H

#include <stdbool.h>
#include <sys/types.h>

/* As open(), for an absolute path. The file is no link, symbolic or hard; on the way a symbolic link is
 * followed only where root alone can have made it. The descriptor, or -1 with errno: ELOOP or EMLINK for such
 * a link. */
int safe_open(const char *path, int flags, mode_t mode);

/* Whether only root can make or remove what stands in a directory. */
bool safe_open_is_roots(int dir);

#endif
