/* gateway_loop.h - what a gateway does while it runs: it hears signals, loads its configuration anew, has the
 * work done that callbacks have noted, and gives memory back. */
#ifndef LEANGATE_GATEWAY_LOOP_H
#define LEANGATE_GATEWAY_LOOP_H

#include "gateway_state.h"
#include "reload.h"

/* What of it another configuration replaces. */
struct reload gateway_loop_reload(struct gateway *g);

/* Begins to hear signals, and sees to gateway_work() before the loop sleeps. */
void gateway_loop_watch(struct gateway *g);

/* Ends that; allowed if it was not begun. */
void gateway_loop_unwatch(struct gateway *g);

#endif
