/* listener.c - see listener.h. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inherit.h"
#include "log.h"
#include "net.h"
#include "stats.h"

enum {
    ACCEPTS_PER_TURN = 64,
    PAUSE_MS = 1000 /* when descriptors or memory are short: nothing tells when they are back */
};

static void accept_later(struct listener *l)
{
    ev_io_stop(l->pool->loop, &l->io);
    timeq_start(timeq_get(PAUSE_MS), &l->pause, &l->task);
}

/* Room for one more connection. At the limit the longest idle one makes it, but only if a new one is known to
 * wait. */
static bool make_room(struct listener *l)
{
    bool waits = l->waits;
    l->waits = false;
    if (l->pool->count < l->pool->limit || (waits && conn_close_idle(l->pool)))
        return true;
    l->full = waits;
    if (l->full)
        ev_io_stop(l->pool->loop, &l->io);
    return false;
}

/* One connection, or the room for it where descriptors are short: an idle one makes it. False: none waits, or
 * none can be taken now. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(l->io.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd == -1) {
        int code = errno;
        bool short_of = net_is_shortage(code);
        if (short_of && conn_close_idle(l->pool))
            return true;
        if (short_of) {
            log_warning("accepting on %s pauses: %s", l->spec, strerror(code));
            accept_later(l);
        }
        /* All other errors are about the one connection that was not accepted. */
        return code == EINTR || code == ECONNABORTED;
    }
    net_set_nodelay(fd);
    stats_globals[STATS_ACCEPTED] += !l->pool->inside;
    return conn_accept(l->pool, fd, (const struct sockaddr *)&peer, len, l->origin);
}

static void run(struct task *task)
{
    struct listener *l = LIST_OBJECT(task, struct listener, task);
    if (l->pause.expired) {
        timeq_stop(&l->pause);
        ev_io_start(l->pool->loop, &l->io);
    }
    for (int i = 0; i < ACCEPTS_PER_TURN && make_room(l) && accept_one(l); i++)
        ;
}

static void on_event(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct listener *l = io->data;
    if ((events & EV_ERROR) != 0) { /* it is not watched: no memory */
        log_warning("accepting on %s pauses: it cannot be watched", l->spec);
        accept_later(l);
    }
    l->waits = true;
    task_wake(&l->task);
}

static const char *unix_path(const struct listener *l)
{
    return strncmp(l->spec, "unix:", 5) == 0 ? l->spec + 5 : NULL;
}

static void remember_file(struct listener *l)
{
    struct stat st;
    if (unix_path(l) == NULL || lstat(unix_path(l), &st) == -1)
        return;
    l->device = st.st_dev;
    l->file = st.st_ino;
}

/* Unless another socket has taken its place: that of a successor which was started under the same name. */
static void remove_file(const struct listener *l)
{
    struct stat st;
    if (unix_path(l) != NULL && lstat(unix_path(l), &st) == 0 && st.st_dev == l->device &&
        st.st_ino == l->file)
        unlink(unix_path(l));
}

/* Takes the socket over. False: no memory, the socket is closed. */
static bool add(struct list *list, struct conn_pool *pool, const char *spec, int fd)
{
    struct listener *l = calloc(1, sizeof(*l));
    struct conn_origin *origin = calloc(1, sizeof(*origin));
    char *copy = strdup(spec);
    if (l == NULL || origin == NULL || copy == NULL ||
        timeq_get(PAUSE_MS) == NULL) { /* a pause must end, however short memory is then */
        close(fd);
        free(copy);
        free(origin);
        free(l);
        return false;
    }
    l->pool = pool;
    l->spec = copy;
    l->origin = origin;
    remember_file(l);
    origin->refs = 1;
    net_own_address(fd, origin->address, origin->port);
    net_url(fd, l->url);
    task_init(&l->task, run);
    ev_io_init(&l->io, on_event, fd, EV_READ);
    l->io.data = l;
    list_append(list, &l->node);
    return true;
}

bool listener_open(struct list *list, struct conn_pool *pool, const struct conf *conf, const char *spec,
                   char error[NET_ERROR_MAX * 2])
{
    char reason[NET_ERROR_MAX];
    int fds[INHERIT_MAX], count = 1;
    const struct net_listen how = {
        .spec = spec, .backlog = (int)conf->backlog, .mode = (unsigned)conf->listen_mode};
    if (inherit_meant(spec))
        count = inherit_take(spec, fds, reason);
    else
        fds[0] = net_listen(&how, reason);
    bool ok = count > 0 && fds[0] != -1;
    for (int i = 0; ok && i < count; i++)
        if (!add(list, pool, spec, fds[i])) {
            snprintf(reason, sizeof(reason), "no memory");
            ok = false;
        }
    if (!ok)
        snprintf(error, NET_ERROR_MAX * 2, "cannot listen on %s: %s", spec, reason);
    return ok;
}

/* Of the file that is its socket, and no other. False: errno says why; there is nothing to do where the name
 * is another file's by now. */
static bool change_mode(const struct listener *l, mode_t mode)
{
    char path[32];
    struct stat st;
    int fd = open(unix_path(l), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1)
        return errno == ENOENT;
    bool ours = fstat(fd, &st) == 0 && st.st_dev == l->device && st.st_ino == l->file;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    bool done = !ours || chmod(path, mode) == 0;
    int code = errno;
    close(fd);
    errno = code;
    return done;
}

void listener_change(struct listener *l, const struct conf *before, const struct conf *conf)
{
    if (conf->backlog != before->backlog && !inherit_meant(l->spec) &&
        listen(l->io.fd, (int)conf->backlog) == -1)
        log_warning("the backlog of %s stays as it was: %s", l->url, strerror(errno));
    if (conf->listen_mode != before->listen_mode && unix_path(l) != NULL &&
        !change_mode(l, (mode_t)conf->listen_mode))
        log_warning("the mode of %s stays as it was: %s", l->url, strerror(errno));
}

void listener_start(struct listener *l)
{
    ev_io_start(l->pool->loop, &l->io);
}

void listener_accept_all(struct listener *l)
{
    while (accept_one(l))
        ;
}

void listener_resume(struct listener *l)
{
    if (!l->full)
        return;
    l->full = false;
    ev_io_start(l->pool->loop, &l->io);
}

void listener_free(struct listener *l)
{
    remove_file(l);
    ev_io_stop(l->pool->loop, &l->io);
    timeq_stop(&l->pause);
    task_cancel(&l->task);
    list_remove(&l->node);
    close(l->io.fd);
    conn_origin_unref(l->origin);
    free(l->spec);
    free(l);
}

void listener_free_all(struct list *list)
{
    struct list *node, *after;
    LIST_EACH (node, after, list)
        listener_free(LIST_OBJECT(node, struct listener, node));
}
