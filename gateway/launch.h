/* launch.h - what it takes to start a worker's process: its socket, pipes, control channel and command line.
 */
#ifndef LEANGATE_LAUNCH_H
#define LEANGATE_LAUNCH_H

#include <sys/types.h>

#include "config.h"
#include "spawn.h"

/* A process that was started, and the gateway's ends of what it was given. */
struct launch {
    pid_t pid;
    struct spawn_socket socket; /* without listen_fd, which is the worker's alone */
    int control_fd;
    int out_fd; /* non-blocking, as the next */
    int err_fd;
};

/* Starts a worker of the app; `library` is the directory that holds the package pyworker. 0, or -1 with
 * *error and errno, which is 0 where the configuration is wrong; what fails in the process itself is told on
 * its control channel. */
int launch_worker(struct launch *launch, const struct conf *conf, const struct conf_app *app,
                  const char *library, struct conf_error *error);

#endif
