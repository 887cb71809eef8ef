/* status_view.c - see status_view.h. */
#include "status_view.h"
#include "worker_slots.h"

const char *const status_view_states[STATUS_VIEW_STATES] = {"asleep", "starting", "idle",
                                                            "busy",   "stopping", "backoff"};

enum status_view_state status_view_state(const struct app *app)
{
    if (app == NULL)
        return STATUS_VIEW_ASLEEP;
    if (app->remote != NULL)
        return status_view_in_flight(app) > 0 ? STATUS_VIEW_BUSY : STATUS_VIEW_IDLE;
    if (app_failing(app))
        return STATUS_VIEW_BACKOFF;
    if (roster_ready(&app->roster) > 0)
        return status_view_in_flight(app) > 0 ? STATUS_VIEW_BUSY : STATUS_VIEW_IDLE;
    if (roster_starting(&app->roster))
        return STATUS_VIEW_STARTING;
    return app->roster.count > 0 ? STATUS_VIEW_STOPPING : STATUS_VIEW_ASLEEP;
}

const char *status_view_worker(const struct worker *w)
{
    if (w->state == WORKER_READY)
        return worker_busy(w) > 0 ? "busy" : "idle";
    return worker_state_name(w->state);
}

uint32_t status_view_in_flight(const struct app *app)
{
    uint32_t n = app->remote != NULL ? remote_busy(app->remote) : 0;
    struct list *node, *after;
    LIST_EACH (node, after, &app->roster.workers)
        n += worker_busy(LIST_OBJECT(node, struct worker, node));
    return n;
}

const struct worker *status_view_nth(const struct app *app, uint32_t n)
{
    struct list *node, *after;
    if (app != NULL)
        LIST_EACH (node, after, &app->roster.workers)
            if (n-- == 0)
                return LIST_OBJECT(node, struct worker, node);
    return NULL;
}

void status_view_time(time_t at, char text[STATUS_VIEW_TIME])
{
    struct tm tm;
    text[0] = '\0';
    if (gmtime_r(&at, &tm) != NULL)
        (void)strftime(text, STATUS_VIEW_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
