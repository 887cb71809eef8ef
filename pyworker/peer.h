/* peer.h - the socket questions about who is at the other end of a connection. */
#ifndef PYWORKER_PEER_H
#define PYWORKER_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

bool peer_is_unix(int fd);

/* Whether it is a stream whose other end has an address, which that of a socketpair has not. */
bool peer_is_named(int fd);

/* The uid of the process that has made the other end of a unix socket, or (uid_t)-1. */
uid_t peer_uid(int fd);

/* Whether the peer of a unix connection runs as root, as ourselves or as `gateway`. */
bool peer_is_trusted(int fd, uid_t gateway);

/* Tells the gateway's log whom we refused. */
void peer_report(int control, int fd);

/* Bounds how long a read waits for a peer that says nothing in the middle of a request. */
bool peer_limit_silence(int fd);

/* Sends a short record without waiting; whatever cannot be sent so is as good as lost. */
bool peer_send(int fd, const void *data, size_t len);

#endif
