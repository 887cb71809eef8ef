/* privileges.h - from root to the user that serves. */
#ifndef LEANGATE_PRIVILEGES_H
#define LEANGATE_PRIVILEGES_H

#include <stdbool.h>

#include "config.h"

/* Before anything is bound: unix sockets are of the group that will serve, or nobody but root could be let in
 * by listen_mode. Log files that root has just made are the user's from then on, also where the start fails.
 * False with a message in the log. */
bool privileges_take_group(const struct conf *conf);

/* Becomes [gateway] user and group, where they are given, once everything that needs root is open. False with
 * a message in the log. */
bool privileges_drop(const struct conf *conf);

#endif
