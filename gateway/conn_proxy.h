/* conn_proxy.h - a connection in PROXY: its PROXY header, which says who the client is. */
#ifndef LEANGATE_CONN_PROXY_H
#define LEANGATE_CONN_PROXY_H

#include "conn_state.h"

/* True: go on at once. */
bool conn_proxy_step(struct conn *c);

#endif
