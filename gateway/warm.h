/* warm.h - `leangate warm`: every app is started once, and has to leave behind what its next start uses. */
#ifndef LEANGATE_WARM_H
#define LEANGATE_WARM_H

#include "config.h"
#include "gateway.h"

/* Takes the reference to the configuration over. */
enum gateway_exit warm_run(struct conf *conf);

#endif
