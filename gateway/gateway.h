/* gateway.h - builds the runtime from a configuration, runs it, and owns its end. */
#ifndef LEANGATE_GATEWAY_H
#define LEANGATE_GATEWAY_H

#include "config.h"

/* Exit codes; part of the interface. */
enum gateway_exit {
    GATEWAY_DRAINED = 0,
    GATEWAY_INTERNAL = 1,
    GATEWAY_USAGE = 2,
    GATEWAY_CANNOT_START = 3,
    GATEWAY_APP_BROKEN = 4
};

/* Serves until a signal ends it. */
enum gateway_exit gateway_run(const struct conf *conf);

/* Imports every app once in a process that is thrown away; says on stderr what came of each. */
enum gateway_exit gateway_check(const struct conf *conf);

#endif
