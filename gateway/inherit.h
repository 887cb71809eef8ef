/* inherit.h - listening sockets that somebody else has opened: fd:3, and systemd's (sd_listen_fds(3)). */
#ifndef LEANGATE_INHERIT_H
#define LEANGATE_INHERIT_H

#include <stdbool.h>

#include "net.h"

enum { INHERIT_MAX = 64 }; /* sockets of one gateway */

/* Whether the specification names inherited sockets. */
bool inherit_meant(const char *spec);

/* Takes the sockets that a specification names: fd:N, systemd (all that were passed), systemd:NAME (all of
 * that name). Each is checked to be a listening stream socket, and made non-blocking and close-on-exec; none
 * is given out twice, not even when it was closed again. Returns how many, at least one, or -1 with the
 * reason in error[]. */
int inherit_take(const char *spec, int fds[INHERIT_MAX], char error[NET_ERROR_MAX]);

/* Removes $LISTEN_PID, $LISTEN_FDS and $LISTEN_FDNAMES: they are for this process alone. */
void inherit_forget(void);

#endif
