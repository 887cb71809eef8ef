/* ignored.h - ignore_idle: requests that neither wake a worker nor keep one awake. */
#ifndef LEANGATE_IGNORED_H
#define LEANGATE_IGNORED_H

#include <stdbool.h>

#include "request.h"

/* Whether the request is one of them. */
bool ignored_matches(const struct request *r);

/* There is no worker: 200, "asleep". */
void ignored_answer(struct request *r);

#endif
