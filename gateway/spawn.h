/* spawn.h - starts a worker process: its descriptors, environment and limits. The only place that starts a
 * program. */
#ifndef LEANGATE_SPAWN_H
#define LEANGATE_SPAWN_H

#include <sys/types.h>

#include "config.h"

enum { SPAWN_ERROR_MAX = 512 };

/* The private socket of one worker. It has no name that anybody else could open; where /proc is missing it
 * keeps one in a 0700 directory. */
struct spawn_socket {
    int listen_fd; /* to hand to the child; the gateway closes its own copy */
    int path_fd;   /* O_PATH on the socket, for as long as connections are to be made; -1: `path` is a name */
    char path[108]; /* what to connect to */
};

/* A bound and listening socket. 0, or -1 with errno. */
int spawn_socket(struct spawn_socket *s, int backlog);

/* Closes what is open, removes a name that was kept. */
void spawn_socket_close(struct spawn_socket *s);

struct spawn {
    const struct conf_app *app;
    const char *program;     /* absolute path; kind fastcgi: or a name, looked for in the app's $PATH */
    const char *const *argv; /* NULL at the end; argv[0] included */
    const char *files;       /* what its start reads, for prefetch_begin; "": nothing is known */
    int listen_fd;           /* becomes 0 */
    int out_fd;              /* becomes 1 */
    int err_fd;              /* becomes 2 */
    int control_fd;          /* becomes 3; kind fastcgi: is closed by the exec */
};

/* Starts the process in a process group of its own. The caller still owns all descriptors. Returns the pid,
 * or -1 with errno when no process could be made. What fails in the child is told on the control channel as
 * FAILED. */
pid_t spawn_process(const struct spawn *s);

/* Makes this process's environment the one of the app's workers; ends it where that cannot be. */
void spawn_environment(const struct conf_app *app);

/* Remembers the soft limit of descriptors that workers are to get back; to be called before it is raised. */
void spawn_keep_limits(void);

#endif
