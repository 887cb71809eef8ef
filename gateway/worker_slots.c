/* worker_slots.c - see worker_slots.h. */
#include "worker_slots.h"

#include "upstream.h"

/* One more slot. NULL: out of memory. */
static struct upstream *add_slot(struct worker *w)
{
    struct upstream_owner owner = {
        .loop = w->owner.loop,
        .conf = w->owner.conf,
        .app = w->owner.app,
        .address = &w->address,
        .done = &w->done,
        .task = w->owner.task,
    };
    struct upstream *up = upstream_new(&owner, (uint16_t)(w->slot_count + 1), w->link);
    if (up == NULL)
        return NULL;
    w->slot_count++;
    list_append(&w->slots, &up->node);
    return up;
}

struct upstream *worker_slot(struct worker *w)
{
    struct upstream *closed = NULL;
    struct list *node, *after;
    if (!worker_stays(w) || (w->owner.app->max_requests == 1 && w->given > 0))
        return NULL;
    LIST_EACH (node, after, &w->slots) {
        struct upstream *up = LIST_OBJECT(node, struct upstream, node);
        if (up->state == UPSTREAM_FREE)
            return up;
        if (up->state == UPSTREAM_CLOSED && up->result == UPSTREAM_NOTHING)
            closed = up;
    }
    if (closed != NULL)
        return closed;
    return w->slot_count < w->concurrency ? add_slot(w) : NULL;
}

static uint32_t count_slots(const struct worker *w, bool (*counts)(const struct upstream *up))
{
    uint32_t n = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &w->slots)
        n += counts(LIST_OBJECT(node, struct upstream, node));
    return n;
}

static bool is_busy(const struct upstream *up)
{
    return up->state != UPSTREAM_FREE && up->state != UPSTREAM_CLOSED;
}

static bool is_awake(const struct upstream *up)
{
    return is_busy(up) && !up->ignored;
}

static bool is_serving(const struct upstream *up)
{
    return up->state == UPSTREAM_BUSY || up->state == UPSTREAM_TAIL;
}

uint32_t worker_busy(const struct worker *w)
{
    return count_slots(w, is_busy);
}

uint32_t worker_awake(const struct worker *w)
{
    return count_slots(w, is_awake);
}

uint32_t worker_serving(const struct worker *w)
{
    return count_slots(w, is_serving);
}
