/* library.c - see library.h. */
#include "library.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* The path of this program; where /proc is missing, of what was executed. False: it is not known. */
static bool own_path(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    const char *executed = (const char *)getauxval(AT_EXECFN);
    return n > 0 || (executed != NULL && realpath(executed, path) != NULL);
}

char *library_find(void)
{
    static const char *const places[] = {"", "/../lib/leangate"};
    char program[PATH_MAX], probe[PATH_MAX + 64];
    if (!own_path(program))
        return NULL;
    *strrchr(program, '/') = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(probe, sizeof(probe), "%s%s/pyworker/__main__.py", program, places[i]);
        if (access(probe, R_OK) != 0)
            continue;
        snprintf(probe, sizeof(probe), "%s%s", program, places[i]);
        return realpath(probe, NULL);
    }
    return NULL;
}
