/* gateway_apps.h - all apps of a gateway at once. */
#ifndef LEANGATE_GATEWAY_APPS_H
#define LEANGATE_GATEWAY_APPS_H

#include <stdbool.h>

#include "gateway_state.h"

/* Starts those with start = eager, unless they run already. */
void gateway_apps_start(struct gateway *g);

/* Starts the apps with start = check, or all of them, one after the other, each in a process that ends right
 * after. False: at least one cannot be loaded, which was logged. */
bool gateway_apps_check(struct gateway *g, bool every);

/* With shared.stopping set: stops all workers, busy ones, too, when `now`. */
void gateway_apps_stop(struct gateway *g, bool now);

/* Frees those that are not configured any more and have finished. */
void gateway_apps_free_retired(struct gateway *g);

/* Frees all; no worker and no request is left. */
void gateway_apps_free(struct gateway *g);

#endif
