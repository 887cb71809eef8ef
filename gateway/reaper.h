/* reaper.h - the gateway's children: tells of the end of those that it started, kills and reaps all others,
 * which workers have left behind. */
#ifndef LEANGATE_REAPER_H
#define LEANGATE_REAPER_H

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

#include "list.h"
#include "task.h"

struct reaper_child {
    pid_t pid;
    int status; /* as of waitpid, once it has exited */
    bool exited;

    /* private */
    struct list node;
    ev_child watcher;
    struct task *task;
};

/* Once, before the first child: makes the gateway the parent of what workers leave behind. False with a
 * message in the log: no memory. */
bool reaper_init(struct ev_loop *loop);

/* A child that the gateway has started: `task` is woken when it has exited. The struct stays where it is. */
void reaper_watch(struct reaper_child *child, pid_t pid, struct task *task);

/* The child is reaped, or does not matter any more. */
void reaper_forget(struct reaper_child *child);

/* Kills every child that is not watched, is in the group of none that is, and was not there before
 * reaper_init, and what these leave behind in turn. */
void reaper_sweep(void);

#endif
