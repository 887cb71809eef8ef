/* banner.h - what the user reads at the start: where it listens, what it serves, and what may cost an hour.
 */
#ifndef LEANGATE_BANNER_H
#define LEANGATE_BANNER_H

#include "config.h"
#include "forwarded.h"
#include "list.h"

/* listeners: of struct listener. */
void banner_tell(const struct conf *conf, const struct forwarded *forwarded, const struct list *listeners,
                 const struct list *status_listeners);

/* Part of that, also for a mere check: directories of `static` that are not there, which would only show as
 * 404s. */
void banner_warn(const struct conf *conf);

#endif
