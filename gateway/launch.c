/* launch.c - see launch.h. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"

enum {
    BACKLOG_MIN = 128,
    CONCURRENCY_AUTO = 256 /* the most that a worker chooses by itself: asgi */
};

/* The descriptors of both ends; -1 where there is none. */
struct ends {
    int control[2]; /* ours, the child's */
    int out[2];     /* read end, write end */
    int err[2];
};

/* Why no process was started; errno stays what it is. */
static void explain(const struct conf_app *app, struct conf_error *error, const char *what)
{
    int code = errno;
    snprintf(error->text, sizeof(error->text), "%s: %s: %s", app->name, what, strerror(code));
    errno = code;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] != -1)
            close(pair[i]);
}

static void close_ends(struct ends *e)
{
    close_pair(e->control);
    close_pair(e->out);
    close_pair(e->err);
}

static int open_ends(struct ends *e)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->control) == -1)
        return -1;
    if (pipe2(e->out, O_CLOEXEC) == -1 || pipe2(e->err, O_CLOEXEC) == -1)
        return -1;
    if (fcntl(e->out[0], F_SETFL, O_NONBLOCK) == -1 || fcntl(e->err[0], F_SETFL, O_NONBLOCK) == -1)
        return -1;
    return 0;
}

/* Twice what it serves at once: a connection that is given up before it was accepted keeps its place. */
static int backlog_of(const struct conf_app *app)
{
    int64_t serves = app->concurrency != CONF_AUTO ? app->concurrency : CONCURRENCY_AUTO;
    return 2 * serves > BACKLOG_MIN ? (int)(2 * serves) : BACKLOG_MIN;
}

/* The pid, or -1 with *error and errno as launch_worker has it. */
static pid_t start_process(const struct conf *conf, const struct conf_app *app, const char *library,
                           struct spawn *spawn, struct conf_error *error)
{
    struct command *command = command_new(conf, app, library, error);
    if (command == NULL)
        return -1;
    spawn->program = command->program;
    spawn->argv = command->argv;
    spawn->files = command->cache.files;
    pid_t pid = spawn_process(spawn);
    if (pid == -1)
        explain(app, error, "cannot start a process");
    int code = errno;
    free(command);
    errno = code;
    return pid;
}

int launch_worker(struct launch *l, const struct conf *conf, const struct conf_app *app, const char *library,
                  struct conf_error *error)
{
    struct ends ends = {
        {-1, -1},
        {-1, -1},
        {-1, -1}
    };
    if (spawn_socket(&l->socket, backlog_of(app)) == -1) {
        explain(app, error,
                "cannot make the worker's socket in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR, $TMPDIR or /tmp");
        goto fail;
    }
    if (open_ends(&ends) == -1) {
        explain(app, error, "cannot make the worker's pipes");
        goto fail;
    }
    struct spawn spawn = {
        .app = app,
        .listen_fd = l->socket.listen_fd,
        .out_fd = ends.out[1],
        .err_fd = ends.err[1],
        .control_fd = ends.control[1],
    };
    l->pid = start_process(conf, app, library, &spawn, error);
    if (l->pid == -1)
        goto fail;
    l->control_fd = ends.control[0];
    l->out_fd = ends.out[0];
    l->err_fd = ends.err[0];
    ends.control[0] = ends.out[0] = ends.err[0] = -1;
    close_ends(&ends);
    close(l->socket.listen_fd);
    l->socket.listen_fd = -1;
    return 0;
fail:;
    int code = errno;
    close_ends(&ends);
    spawn_socket_close(&l->socket);
    errno = code;
    return -1;
}
