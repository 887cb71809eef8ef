/* succession.c - see succession.h. */
#include "succession.h"

#include "proc.h"
#include "stats.h"
#include "tell.h"
#include "timeq.h"
#include "worker_slots.h"

static const double LOOK_SECONDS = 0.01; /* between two looks at a worker's memory */

static bool too_large(struct worker *w)
{
    double now = timeq_clock();
    if (w->owner.app->max_rss == CONF_OFF || now - w->looked < LOOK_SECONDS)
        return false;
    w->looked = now;
    return proc_resident(w->child.pid) > (uint64_t)w->owner.app->max_rss;
}

void succession_begin(struct worker *w, struct task *task)
{
    timeq_start(timeq_get(w->owner.app->max_age), &w->age, task);
}

void succession_look(struct worker *w)
{
    int64_t most = w->owner.app->max_requests;
    if (w->state != WORKER_READY)
        return;
    if (most == 1 && w->given > 0 && worker_busy(w) == 0) {
        worker_end(w, WORKER_ON_RETIRE, STATS_EXIT_REPLACED);
        return;
    }
    if (w->worn != NULL)
        return;
    if (most > 1 && w->served >= most)
        w->worn = "max_requests";
    else if (w->age.expired)
        w->worn = "max_age";
    else if (too_large(w))
        w->worn = "max_rss";
}

bool succession_takes(const struct worker *w)
{
    return w->state == WORKER_READY && (w->worn != NULL || (w->outdated && w->owner.app->max_requests != 1));
}

bool succession_due(const struct roster *roster, uint32_t waiting, bool needed)
{
    bool wanted = false, busy = waiting > 0;
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers) {
        const struct worker *w = LIST_OBJECT(node, struct worker, node);
        if (w->state == WORKER_STARTING)
            return false;
        wanted = wanted || succession_takes(w);
        busy = busy || worker_awake(w) > 0 || (needed && w->outdated);
    }
    return wanted && busy;
}

void succession_complete(struct roster *roster, struct worker *successor)
{
    bool replaced = false;
    struct list *node, *after;
    successor->successor = false;
    LIST_EACH (node, after, &roster->workers) {
        struct worker *w = LIST_OBJECT(node, struct worker, node);
        if (w == successor || !succession_takes(w) || (replaced && !w->outdated))
            continue;
        tell_replaced(w);
        worker_end(w, WORKER_ON_RETIRE, STATS_EXIT_REPLACED);
        replaced = true;
    }
}
