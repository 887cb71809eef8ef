/* conn_body.h - a connection in BODY: the body of a request, read whole before anybody is woken for it. */
#ifndef LEANGATE_CONN_BODY_H
#define LEANGATE_CONN_BODY_H

#include "conn_state.h"

/* Refuses a body with 413 and says so in the log. length: what was announced; 0 for a chunked body, which
 * only shows to be too large. */
void conn_body_refuse_size(struct conn *c, uint64_t length);

/* True: go on at once. */
bool conn_body_step(struct conn *c);

#endif
