/* roster.c - see roster.h. */
#include "roster.h"

#include "worker_slots.h"

static struct worker *worker_of(struct list *node)
{
    return LIST_OBJECT(node, struct worker, node);
}

void roster_init(struct roster *roster)
{
    list_init(&roster->workers);
    roster->count = 0;
}

void roster_add(struct roster *roster, struct worker *w)
{
    list_append(&roster->workers, &w->node);
    roster->count++;
}

void roster_remove(struct roster *roster, struct worker *w)
{
    roster->count--;
    worker_free(w);
}

uint32_t roster_ready(const struct roster *roster)
{
    uint32_t n = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers)
        n += worker_of(node)->state == WORKER_READY;
    return n;
}

bool roster_starting(const struct roster *roster)
{
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers)
        if (worker_of(node)->state == WORKER_STARTING)
            return true;
    return false;
}

uint32_t roster_serving(const struct roster *roster)
{
    uint32_t n = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers)
        n += worker_stays(worker_of(node));
    return n;
}

bool roster_awake(const struct roster *roster)
{
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers) {
        const struct worker *w = worker_of(node);
        if (worker_stays(w) && (!w->idle.expired || worker_awake(w) > 0))
            return true;
    }
    return false;
}

struct upstream *roster_slot(const struct roster *roster, struct worker **owner)
{
    struct upstream *best = NULL;
    bool ready = roster_ready(roster);
    long best_rank = -1;
    struct list *node, *after;
    LIST_EACH (node, after, &roster->workers) {
        struct worker *w = worker_of(node);
        if (ready && w->state != WORKER_READY)
            continue;
        struct upstream *up = worker_slot(w);
        long rank = w->state == WORKER_READY ? 1 + (long)worker_busy(w) : 0;
        if (up != NULL && rank > best_rank) {
            best = up;
            best_rank = rank;
            *owner = w;
        }
    }
    return best;
}
