/* app.h - one app: a bounded queue of requests, the workers it has now (mostly none), back-off and idle stop.
 *
 * Its runtime state is made at its first request; a configured app that was never called costs its
 * configuration. */
#ifndef LEANGATE_APP_H
#define LEANGATE_APP_H

#include "app_state.h"

/* The handler of all apps. r->app and r->app_conf must be set before start. */
extern const struct handler app_handler;

/* The runtime state of an app; NULL when out of memory. It goes on with `numbers`, or with numbers of its own
 * where that is NULL. */
struct app *app_new(struct app_shared *shared, struct conf *conf, const struct conf_app *app_conf,
                    struct stats *numbers);

/* Frees it; no worker and no request may be left. */
void app_free(struct app *app);

/* A request for it has begun to arrive, or no longer does. */
void app_expect(struct app *app, bool arriving);

/* Another configuration. Where requests are under way or wait a successor takes over from the workers of the
 * old one; those that are idle are stopped, and one that starts begins anew. False: this app can only be
 * retired, and another one made. */
bool app_reload(struct app *app, struct conf *conf, const struct conf_app *app_conf);

/* Nothing new comes to it: it ends when all is finished that it has. shared->idle is woken then. */
void app_retire(struct app *app);

/* Whether a retired app can be freed. */
bool app_over(const struct app *app);

/* Starts a worker although nobody waits (start = eager or check). */
void app_start_early(struct app *app);

/* With shared->stopping set: stops the workers, those that are free at once, the others when they are done;
 * all of them at once when `now`. */
void app_stop(struct app *app, bool now);

#endif
