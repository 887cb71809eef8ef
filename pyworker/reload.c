/* reload.c - see reload.h. Files are looked at when a request has begun, and at no other time: an idle worker
 * does not wake up for it. */
#define _GNU_SOURCE
#include "reload.h"

#include <time.h>

#include "asgi.h"
#include "control.h"

/* Whether a second has passed since the last look, which is now. */
static bool is_due(struct worker *w)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == -1 || now.tv_sec == w->looked)
        return false;
    w->looked = now.tv_sec;
    return true;
}

/* A look that fails is logged, and changes nothing. */
static bool is_stale(struct exchange *x)
{
    struct worker *w = x->worker;

    if (w->sources == NULL || w->stale || !is_due(w))
        return w->stale;
    PyObject *changed = PyObject_CallMethod(w->sources, "changed", NULL);
    if (changed == NULL && (w->asgi == NULL || !asgi_interrupted(w->asgi)))
        exchange_log(x, NULL);
    w->stale = changed == Py_True;
    Py_XDECREF(changed);
    return w->stale;
}

static void refuse(struct exchange *x)
{
    struct core *core = &x->worker->core;

    threads_done(&x->worker->threads, x);
    exchange_refuse(x);
    if (core->single)
        (void)control_say(core->control, "STALE"); /* a zygote that is gone kills us */
    else
        core_wake(core);
}

bool reload_refuses(struct exchange *x)
{
    if (!is_stale(x))
        return false;
    Py_BEGIN_ALLOW_THREADS
    refuse(x);
    Py_END_ALLOW_THREADS
    return true;
}

bool reload_serve(struct exchange *x)
{
    return reload_refuses(x) || x->worker->serve_fresh(x);
}
