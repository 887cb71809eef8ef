/* conn_head.h - a connection in IDLE, HEAD and WAIT: the head of a request, and what follows from it. */
#ifndef LEANGATE_CONN_HEAD_H
#define LEANGATE_CONN_HEAD_H

#include "conn_state.h"

/* IDLE and HEAD. True: go on at once. */
bool conn_head_step(struct conn *c);

/* WAIT. True: go on at once. */
bool conn_head_wait(struct conn *c);

/* Memory may be there again: has whoever waits longest look; its own turn wakes the one behind it. */
void conn_head_wake_waiting(struct conn_pool *pool);

#endif
