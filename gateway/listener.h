/* listener.h - one listening socket: accepts, keeps the limit of connections, pauses when descriptors run
 * out. */
#ifndef LEANGATE_LISTENER_H
#define LEANGATE_LISTENER_H

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

#include "conn.h"
#include "list.h"
#include "task.h"
#include "timeq.h"

struct listener {
    struct list node; /* the gateway's */
    ev_io io;
    struct task task;
    struct timeq_entry pause; /* runs while descriptors are short */
    struct conn_pool *pool;
    char *spec;                 /* owned */
    char url[NET_URL_MAX];      /* where it is reached in fact */
    struct conn_origin *origin; /* a reference */
    dev_t device;               /* of a unix socket's file */
    ino_t file;                 /* its inode */
    bool waits;                 /* the loop told of a connection */
    bool full;                  /* accepting waits for a connection to close */
};

/* Appends the listeners of one specification to `list`: mostly one, for systemd all sockets that it means.
 * Accepts nothing yet. False with a whole sentence in error[]. */
bool listener_open(struct list *list, struct conn_pool *pool, const struct conf *conf, const char *spec,
                   char error[NET_ERROR_MAX * 2]);

/* Gives a socket that stays open another backlog and mode, where the configurations differ in them. What
 * cannot be is told. */
void listener_change(struct listener *listener, const struct conf *before, const struct conf *conf);

/* Begins to accept. */
void listener_start(struct listener *listener);

/* Takes all connections that wait now, past every limit but that of descriptors: the socket is about to be
 * closed. */
void listener_accept_all(struct listener *listener);

/* A connection was closed or became idle: accepting may go on. */
void listener_resume(struct listener *listener);

/* Closes the socket (and removes its file, if it is a unix one that we have made) and frees the listener. */
void listener_free(struct listener *listener);

/* The same with all of a list. */
void listener_free_all(struct list *list);

#endif
