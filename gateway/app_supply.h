/* app_supply.h - who serves the requests that wait: which slot, which worker is started, and which is not
 * needed any more. */
#ifndef LEANGATE_APP_SUPPLY_H
#define LEANGATE_APP_SUPPLY_H

#include "app_state.h"

/* Gives what waits to slots that are free, and starts workers where it may. */
void app_supply(struct app *app);

/* Keeps the clocks of workers that have nothing to do, and stops those that are not needed. */
void app_look_after(struct app *app);

/* NULL when no process can be started now; what waits has been answered then. */
struct worker *app_start_worker(struct app *app);

#endif
