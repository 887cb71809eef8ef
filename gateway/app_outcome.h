/* app_outcome.h - what has come of a worker and of the requests that it was given. */
#ifndef LEANGATE_APP_OUTCOME_H
#define LEANGATE_APP_OUTCOME_H

#include "app_state.h"

/* Acts on its news and on the results of its slots. A worker that is gone is freed. */
void app_outcome(struct app *app, struct worker *w);

#endif
