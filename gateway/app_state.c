/* app_state.c - see app_state.h. */
#include "app_state.h"

static const double LONGEST = 30.0; /* seconds between two starts that fail */
/* with `reload`, whose user is about to mend the source: as often as a worker looks */
static const double LOOK = 1.0;

void app_enqueue(struct app *app, struct request *r, bool front)
{
    /* without a ready worker the clock starts with the first one */
    bool ready = app->remote != NULL || roster_ready(&app->roster);
    int64_t ms = ready ? app->app_conf->queue_timeout : CONF_OFF;
    queue_put(&app->queue, r, front, ms);
}

const char *app_failure_detail(const struct app *app)
{
    return app->app_conf->debug ? app->backoff.failure : NULL;
}

void app_give_up(struct app *app, unsigned status, const char *failure)
{
    app->checked = true;
    app->stillborn = 0;
    backoff_begin(&app->backoff, app->app_conf->reload ? LOOK : LONGEST, status, failure);
    app_fail_waiting(app);
}

bool app_failing(const struct app *app)
{
    return backoff_active(&app->backoff) && !roster_ready(&app->roster) && !roster_starting(&app->roster);
}

void app_fail_waiting(struct app *app)
{
    if (app_failing(app))
        queue_fail_all(&app->queue, app->backoff.status, app_failure_detail(app));
}
