/* reaper.c - see reaper.h. */
#include "reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "log.h"

static struct ev_loop *loop;
static struct list ours = {&ours, &ours};
static ev_child everybody; /* sees every child's exit */
static bool sweeping;      /* strangers were killed and may have left children of their own */
static pid_t elders[64];   /* what the process had started before it became this program by exec; 0: none */

static bool is_ours(pid_t pid)
{
    struct list *node, *after;
    LIST_EACH (node, after, &ours)
        if (LIST_OBJECT(node, struct reaper_child, node)->pid == pid)
            return true;
    return false;
}

static pid_t *find_elder(pid_t pid)
{
    for (size_t i = 0; i < sizeof(elders) / sizeof(elders[0]); i++)
        if (elders[i] == pid)
            return &elders[i];
    return NULL;
}

/* The pids of our children as the kernel lists them, at most as many as fit; "" when it does not. */
static void list_children(char *text, size_t size)
{
    char path[64];
    text[0] = '\0';
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *last = strrchr(text, ' '); /* the last pid may be cut in its digits */
    *(last != NULL ? last : text) = '\0';
}

/* Children of the kernel's list are unreaped, so no pid can be somebody else's. */
void reaper_sweep(void)
{
    char text[4096];
    list_children(text, sizeof(text));
    sweeping = false;
    char *next = text;
    for (long pid = strtol(text, &next, 10); pid > 0; pid = strtol(next, &next, 10))
        if (!is_ours((pid_t)pid) && find_elder((pid_t)pid) == NULL) {
            kill((pid_t)pid, SIGKILL);
            sweeping = true;
        }
}

static void on_stranger(EV_P_ ev_child *child, int events)
{
    (void)EV_A;
    (void)events;
    pid_t *elder = find_elder(child->rpid);
    if (elder != NULL)
        *elder = 0; /* its pid may be anybody's from now on */
    if (elder != NULL || is_ours(child->rpid))
        return;
    log_debug("reaped process %d, which a worker had left behind", child->rpid);
    if (sweeping)
        reaper_sweep();
}

static void on_exit_of_ours(EV_P_ ev_child *watcher, int events)
{
    (void)events;
    struct reaper_child *child = watcher->data;
    ev_child_stop(EV_A_ watcher);
    child->exited = true;
    child->status = watcher->rstatus;
    task_wake(child->task);
}

/* No worker has left these behind: a script has started them, and then this program in its own place. */
static void spare_elders(void)
{
    char text[4096];
    list_children(text, sizeof(text));
    char *next = text;
    for (size_t i = 0; i < sizeof(elders) / sizeof(elders[0]); i++)
        elders[i] = (pid_t)strtol(next, &next, 10);
}

void reaper_init(struct ev_loop *ev)
{
    loop = ev;
    spare_elders();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
        log_debug("not a subreaper: %s", strerror(errno));
    ev_child_init(&everybody, on_stranger, 0, 0);
    ev_child_start(loop, &everybody);
}

void reaper_watch(struct reaper_child *child, pid_t pid, struct task *task)
{
    child->pid = pid;
    child->task = task;
    ev_child_init(&child->watcher, on_exit_of_ours, pid, 0);
    child->watcher.data = child;
    ev_child_start(loop, &child->watcher);
    list_append(&ours, &child->node);
}

void reaper_forget(struct reaper_child *child)
{
    ev_child_stop(loop, &child->watcher);
    list_remove(&child->node);
}
