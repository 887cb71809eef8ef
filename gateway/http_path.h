/* http_path.h - the path of a request target, decoded and without dot segments. Pure. */
#ifndef LEANGATE_HTTP_PATH_H
#define LEANGATE_HTTP_PATH_H

#include <stddef.h>

/* Decodes the percent-coding of a raw path once and resolves dot segments on the result (`//` is kept), so
 * that the result begins with '/' and never leaves the root. `out` holds len bytes and may not overlap `raw`.
 * Returns the length, or -1 for a broken coding, %00, or a path that climbs above the root. "*" stays "*". */
long http_path_normalise(const char *raw, size_t len, char *out);

#endif
