/* gateway.h - builds the runtime from a configuration, runs it, and owns its end. */
#ifndef LEANGATE_GATEWAY_H
#define LEANGATE_GATEWAY_H

#include "config.h"

/* Exit codes; part of the interface. */
enum gateway_exit {
    GATEWAY_OK = 0,
    GATEWAY_INTERNAL = 1,
    GATEWAY_USAGE = 2,
    GATEWAY_CANNOT_START = 3,
    GATEWAY_APP_BROKEN = 4
};

/* Both take the caller's reference to the configuration over. */

/* Serves until a signal ends it. `input` is what the configuration was loaded from, and will be again at
 * SIGHUP. */
enum gateway_exit gateway_run(struct conf *conf, const struct conf_input *input);

/* Imports every app once in a process that is thrown away; says on stderr what came of each. */
enum gateway_exit gateway_check(struct conf *conf);

#endif
