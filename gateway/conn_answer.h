/* conn_answer.h - a connection in EXCHANGE, FLUSH and LINGER: the answer goes out, then the next request or
 * the end follows. */
#ifndef LEANGATE_CONN_ANSWER_H
#define LEANGATE_CONN_ANSWER_H

#include "conn_state.h"

/* Each: true: go on at once. */
bool conn_answer_exchange(struct conn *c);
bool conn_answer_flush(struct conn *c);
bool conn_answer_linger(struct conn *c);

#endif
