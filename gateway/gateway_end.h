/* gateway_end.h - how a gateway ends: SIGTERM, SIGINT, SIGQUIT, or idle_exit.
 *
 *   signal --> drain_delay   ready says 503, all else goes on
 *          --> drain         accept no more, finish what is under way
 *          --> kill          when `drain` is nearly over or a second signal comes */
#ifndef LEANGATE_GATEWAY_END_H
#define LEANGATE_GATEWAY_END_H

#include "gateway_state.h"

/* A signal that asks for the end has come. */
void gateway_end_signal(struct gateway *g, int number);

/* Looks at the deadlines, and breaks the loop when all is done. */
void gateway_end_step(struct gateway *g);

/* Starts, or as a new configuration says starts anew, the clock of idle_exit. */
void gateway_end_when_idle(struct gateway *g);

/* To be told whenever something may have been done: is there anything that idle_exit waits for? */
void gateway_end_watch(struct gateway *g);

#endif
