/* command.h - the command line that starts a worker of an app: pyworker with its options, or what the app
 * itself says. */
#ifndef LEANGATE_COMMAND_H
#define LEANGATE_COMMAND_H

#include "cache.h"
#include "config.h"

struct command {
    const char *program; /* an absolute path; of a command of the app's own as it was written */
    struct cache cache;  /* paths that are "" for what is not pyworker */
    char python[4096];
    char code[4096 + 128]; /* what python -c gets */
    char concurrency[24];
    const char *argv[]; /* NULL at its end */
};

/* For one start; `library` is the directory that holds the package pyworker. To be freed with free(). NULL
 * with the reason in *error; errno says what the machine is short of, or is 0. */
struct command *command_new(const struct conf *conf, const struct conf_app *app, const char *library,
                            struct conf_error *error);

#endif
