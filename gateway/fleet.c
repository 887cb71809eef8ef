/* fleet.c - see fleet.h. */
#include "fleet.h"

#include "stats.h"
#include "tell.h"

/* How long an app starves before a worker that is always busy has to go: long enough that apps which take
 * turns do more than to start. */
static const int64_t PATIENCE_MS = 1000;

static struct fleet_seat *first_seat(const struct fleet *fleet)
{
    return LIST_OBJECT(fleet->starving.next, struct fleet_seat, node);
}

static void wake_first(const struct fleet *fleet)
{
    if (!list_empty(&fleet->starving))
        task_wake(first_seat(fleet)->task);
}

/* Workers that were not told to go. */
static int64_t staying(const struct fleet *fleet)
{
    struct list *node, *after;
    int64_t n = 0;
    LIST_EACH (node, after, &fleet->workers)
        n += worker_stays(LIST_OBJECT(node, struct worker, in_fleet));
    return n;
}

/* How many starving apps will still have no place when every worker that was told to go is gone; negative:
 * places to spare. */
static int64_t shortage(const struct fleet *fleet)
{
    return staying(fleet) + list_count(&fleet->starving) - fleet->limit;
}

static void drop_idle(struct fleet *fleet, struct worker *w)
{
    fleet->idle_count -= list_linked(&w->in_idle);
    list_remove(&w->in_idle);
}

static void make_room(struct fleet *fleet)
{
    int64_t wanted = shortage(fleet);
    while (wanted > 0 && !list_empty(&fleet->idle)) {
        struct worker *w = LIST_OBJECT(fleet->idle.next, struct worker, in_idle);
        tell_room(w, first_seat(fleet)->name, fleet->limit);
        drop_idle(fleet, w);
        worker_end(w, WORKER_ON_IDLE, STATS_EXIT_ROOM);
        wanted--;
    }
    if (wanted > 0 && !timeq_waiting(&fleet->patience))
        timeq_start(timeq_get(PATIENCE_MS), &fleet->patience, &fleet->task);
}

/* The worker that has served longest; NULL: none serves. */
static struct worker *oldest(const struct fleet *fleet)
{
    struct worker *found = NULL;
    struct list *node, *after;
    LIST_EACH (node, after, &fleet->workers) {
        struct worker *w = LIST_OBJECT(node, struct worker, in_fleet);
        if (w->state == WORKER_READY && (found == NULL || w->ready < found->ready))
            found = w;
    }
    return found;
}

/* The first app that has no worker at all; NULL: none. */
static const struct fleet_seat *destitute(const struct fleet *fleet)
{
    struct list *node, *after;
    LIST_EACH (node, after, &fleet->starving) {
        const struct fleet_seat *seat = LIST_OBJECT(node, struct fleet_seat, node);
        if (seat->destitute)
            return seat;
    }
    return NULL;
}

/* Somebody has starved for long, and nobody went idle. */
static void run(struct task *task)
{
    struct fleet *fleet = LIST_OBJECT(task, struct fleet, task);
    timeq_stop(&fleet->patience);
    const struct fleet_seat *seat = destitute(fleet);
    struct worker *w = seat != NULL && shortage(fleet) > 0 ? oldest(fleet) : NULL;
    if (w != NULL) {
        tell_room(w, seat->name, fleet->limit);
        worker_end(w, WORKER_ON_RETIRE, STATS_EXIT_ROOM);
        task_wake(w->owner.task);
    }
    if (!list_empty(&fleet->starving))
        make_room(fleet);
}

void fleet_init(struct fleet *fleet, int64_t limit)
{
    *fleet = (struct fleet){.limit = limit};
    list_init(&fleet->workers);
    list_init(&fleet->idle);
    list_init(&fleet->starving);
    task_init(&fleet->task, run);
}

void fleet_close(struct fleet *fleet)
{
    timeq_stop(&fleet->patience);
    task_cancel(&fleet->task);
}

bool fleet_admit(struct fleet *fleet, struct fleet_seat *seat)
{
    bool first = list_empty(&fleet->starving) || fleet->starving.next == &seat->node;
    if (first && fleet->count < fleet->limit) {
        fleet_withdraw(fleet, seat);
        return true;
    }
    if (!list_linked(&seat->node))
        list_append(&fleet->starving, &seat->node);
    make_room(fleet);
    return false;
}

void fleet_withdraw(struct fleet *fleet, struct fleet_seat *seat)
{
    if (!list_linked(&seat->node))
        return;
    list_remove(&seat->node);
    wake_first(fleet);
}

void fleet_join(struct fleet *fleet, struct worker *w)
{
    list_append(&fleet->workers, &w->in_fleet);
    fleet->count++;
}

void fleet_leave(struct fleet *fleet, struct worker *w)
{
    list_remove(&w->in_fleet);
    drop_idle(fleet, w);
    fleet->count--;
    wake_first(fleet);
}

void fleet_set_limit(struct fleet *fleet, int64_t limit)
{
    fleet->limit = limit;
    wake_first(fleet);
}

bool fleet_full(const struct fleet *fleet)
{
    int64_t waiting = list_count(&fleet->starving);
    return (waiting > 0 ? fleet->count + waiting : staying(fleet)) >= fleet->limit;
}

bool fleet_busy(const struct fleet *fleet)
{
    return fleet->count > fleet->idle_count;
}

void fleet_set_idle(struct fleet *fleet, struct worker *w, bool idle)
{
    if (idle == list_linked(&w->in_idle))
        return;
    if (!idle) {
        drop_idle(fleet, w);
        return;
    }
    list_append(&fleet->idle, &w->in_idle);
    fleet->idle_count++;
    if (!list_empty(&fleet->starving))
        make_room(fleet);
}
