/* reaper.c - see reaper.h. */
#include "reaper.h"

#include <errno.h>
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
static pid_t *elders;      /* what the process had started before it became this program by exec; 0: gone */
static size_t elder_count;

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
    for (size_t i = 0; i < elder_count; i++)
        if (elders[i] == pid)
            return &elders[i];
    return NULL;
}

/* The pids of our children as the kernel lists them; NULL when it does not. */
static FILE *open_children(void)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    return fopen(path, "re");
}

/* Children of the kernel's list are unreaped, so no pid can be somebody else's. What is in the group of a
 * worker goes when that one is gone: it may be what reads ahead for its start. */
void reaper_sweep(void)
{
    FILE *children = open_children();
    int pid;
    sweeping = false;
    while (children != NULL && fscanf(children, "%d", &pid) == 1)
        if (!is_ours(pid) && !is_ours(getpgid(pid)) && find_elder(pid) == NULL) {
            kill(pid, SIGKILL);
            sweeping = true;
        }
    if (children != NULL)
        (void)fclose(children); /* it was only read */
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

/* No worker has left these behind: a script has started them, and then this program in its own place. False:
 * no memory. */
static bool spare_elders(void)
{
    FILE *children = open_children();
    bool good = true;
    int pid;
    while (good && children != NULL && fscanf(children, "%d", &pid) == 1) {
        pid_t *more = realloc(elders, (elder_count + 1) * sizeof(*elders));
        good = more != NULL;
        if (good) {
            elders = more;
            elders[elder_count++] = pid;
        }
    }
    if (children != NULL)
        (void)fclose(children);
    return good;
}

bool reaper_init(struct ev_loop *ev)
{
    loop = ev;
    if (!spare_elders()) {
        log_error("no memory for the processes that were there before");
        return false;
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
        log_debug("not a subreaper: %s", strerror(errno));
    ev_child_init(&everybody, on_stranger, 0, 0);
    ev_child_start(loop, &everybody);
    return true;
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
