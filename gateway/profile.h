/* profile.h - `leangate profile`: what the start of an app costs. */
#ifndef LEANGATE_PROFILE_H
#define LEANGATE_PROFILE_H

#include "config.h"
#include "gateway.h"

/* Becomes pyworker's profile, run by the app's own interpreter in its directory and with its environment.
 * Returns only when that cannot be, which was told. */
enum gateway_exit profile_run(const struct conf *conf);

#endif
