/* threads.c - see threads.h.
 *
 *   importing thread:  lead ─▶ serve ─▶ lead ─▶ serve ...      nobody else is awake
 *   guard:             parked ─▶ watch ─▶ parked
 *                                  │ one request takes longer than a moment, and nobody leads
 *                                  ▼
 *                                lead ─┬─ the importing thread has come out: hand it over; parked
 *                                      └─ else serve it, a further helper watches ─▶ lead ...
 *
 * A helper that leads beside a short request would cost more than it brings: two threads that run Python take
 * turns with one lock, and each turn is a switch. So while requests are short the guard only looks, once in a
 * moment, whether they go on coming. It sleeps as soon as none comes: an idle worker has no wake-ups. */
#include "threads.h"

#include "exchange.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <sys/eventfd.h>

enum { MOMENT_NS = 1000000 }; /* a short request is over by then */

static void lock(struct threads *t)
{
    (void)pthread_mutex_lock(&t->lock); /* fails for a thread that holds it already, and none does */
}

static void unlock(struct threads *t)
{
    (void)pthread_mutex_unlock(&t->lock);
}

bool threads_open(struct threads *t, struct worker *w, unsigned limit)
{
    *t = (struct threads){.worker = w, .limit = limit};
    (void)pthread_mutex_init(&t->lock, NULL); /* glibc's cannot fail without attributes */
    (void)pthread_cond_init(&t->parked, NULL);
    (void)pthread_cond_init(&t->finished, NULL);
    t->own = exchange_new(w);
    t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->own == NULL)
        errno = ENOMEM;
    return t->own != NULL && t->wake != -1;
}

/* --- helpers; these hold the lock where not said otherwise --- */

static void *help(void *arg);

/* A thread that cannot be made is missed only by requests that overlap; the next one tries again. */
static bool add_helper(struct threads *t)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, help, t) != 0)
        return false;
    (void)pthread_detach(thread);
    t->helpers++;
    return true;
}

/* Whether one more could be served, and nobody would notice that it has come. */
static bool is_unguarded(const struct threads *t)
{
    return !t->leading && !t->guarding && !t->guard_wanted && t->serving < t->limit;
}

/* The caller enters the app: somebody must notice if it stays there. */
static void enter(struct threads *t)
{
    t->begun++;
    t->serving++;
    if (!is_unguarded(t))
        return;
    t->guard_wanted = true;
    if (t->waiting > 0)
        (void)pthread_cond_signal(&t->parked);
    else if (t->helpers + 1 < t->limit)
        t->guard_wanted = add_helper(t);
}

static void leave(struct threads *t)
{
    t->serving--;
    (void)pthread_cond_broadcast(&t->finished);
}

static void wake_importing(struct threads *t)
{
    (void)eventfd_write(t->wake, 1); /* as in core_wake() */
}

static void end(struct threads *t, enum core_event event, int error)
{
    if (t->ended)
        return;
    t->ended = true;
    t->end = event;
    t->error = error;
    core_wake(&t->worker->core); /* whoever leads */
    wake_importing(t);
}

/* Waits in core_next(). The lock is given away meanwhile. At the end what has come is refused at once: a
 * request that another thread is inside may last long. */
static enum core_event lead(struct threads *t, struct exchange *x)
{
    t->leading = true;
    unlock(t);
    enum core_event event = core_next(&t->worker->core, &x->request);
    int error = errno;
    bool last = event == CORE_STOP || event == CORE_ERROR;
    if (last)
        core_refuse(&t->worker->core);
    lock(t);
    t->leading = false;
    if (t->ended)
        (void)pthread_cond_broadcast(&t->finished);
    if (last)
        end(t, event, error);
    return event;
}

/* Looks once in a moment. Returns true when the importing thread is inside the app since the last look and
 * nobody leads; false when nothing happens any more. */
static bool watch(struct threads *t)
{
    const struct timespec moment = {.tv_nsec = MOMENT_NS};
    bool moved = true;
    bool stuck = false;

    t->guarding = true;
    while (moved && !t->ended) {
        unsigned long seen = t->begun;
        unlock(t);
        (void)nanosleep(&moment, NULL); /* a look that comes too early does no harm */
        lock(t);
        moved = t->begun != seen;
        stuck = !moved && t->inside && !t->leading;
    }
    t->guarding = false;
    return stuck && !t->ended && t->serving < t->limit;
}

/* Serves with the GIL; the lock is given away meanwhile. `state` is the thread's, made at its first request.
 * It is never released: what the app keeps by thread lasts as long as the thread. */
static void serve(struct threads *t, struct exchange *x, PyThreadState **state)
{
    enter(t);
    unlock(t);
    if (*state == NULL)
        (void)PyGILState_Ensure();
    else
        PyEval_RestoreThread(*state);
    bool interrupted = !t->worker->serve(x);
    if (interrupted)
        PyErr_Clear();
    *state = PyEval_SaveThread();
    lock(t);
    leave(t);
    t->interrupted = t->interrupted || interrupted;
    if (interrupted)
        core_wake(&t->worker->core); /* whoever leads next */
}

/* Leads and serves as long as the importing thread is inside the same request. Beyond it the two would take
 * turns with the lock of Python for ever, under a load of short requests. */
static void work(struct threads *t, PyThreadState **state)
{
    struct exchange *x = exchange_new(t->worker);
    unsigned long turn = t->turn;
    while (x != NULL && t->inside && t->turn == turn && !t->leading && !t->ended && t->serving < t->limit) {
        if (lead(t, x) != CORE_REQUEST) {
            wake_importing(t); /* nobody may lead now, and the handlers of signals run there */
            continue;
        }
        if (t->inside) {
            serve(t, x, state);
        } else {
            t->handed = x;
            x = NULL;
            wake_importing(t);
        }
    }
    exchange_free(x);
}

static void *help(void *arg)
{
    struct threads *t = arg;
    PyThreadState *state = NULL;

    lock(t);
    while (!t->ended) {
        if (!t->guard_wanted) {
            t->waiting++;
            (void)pthread_cond_wait(&t->parked, &t->lock);
            t->waiting--;
            continue;
        }
        t->guard_wanted = false;
        if (watch(t))
            work(t, &state);
        /* all were busy when that one entered */
        t->guard_wanted = t->guard_wanted || (t->inside && is_unguarded(t));
    }
    t->helpers--;
    unlock(t);
    return NULL;
}

/* --- the importing thread --- */

/* Waits for a request that the leader takes for it. The lock is given away meanwhile. Returns whether a
 * signal came first. */
static bool wait_idle(struct threads *t)
{
    struct pollfd wake = {.fd = t->wake, .events = POLLIN};
    eventfd_t count;

    unlock(t);
    bool signalled = poll(&wake, 1, -1) == -1; /* which no SA_RESTART restarts */
    (void)eventfd_read(t->wake, &count);       /* fails when it was a signal */
    lock(t);
    return signalled;
}

/* Takes the request that was handed over, in place of its own empty exchange. */
static enum core_event take_handed(struct threads *t)
{
    exchange_free(t->own);
    t->own = t->handed;
    t->handed = NULL;
    return CORE_REQUEST;
}

enum core_event threads_next(struct threads *t)
{
    enum core_event event = CORE_SIGNAL; /* one has come, or has made the leader go */
    bool waited = false;
    bool signalled = false;

    lock(t);
    while (t->handed == NULL && !t->ended && t->leading && !signalled) {
        signalled = wait_idle(t);
        waited = true;
    }
    if (t->handed != NULL)
        event = take_handed(t);
    else if (t->ended)
        event = t->end;
    else if (!waited)
        event = lead(t, t->own);
    t->inside = event == CORE_REQUEST;
    t->turn += t->inside;
    if (t->inside)
        enter(t);
    errno = t->error;
    unlock(t);
    return event;
}

void threads_done(struct threads *t, const struct exchange *x)
{
    lock(t);
    if (x == t->own) { /* a helper leaves when its request is over: closing the core waits for that */
        t->inside = false;
        leave(t);
    }
    unlock(t);
}

void threads_finish(struct threads *t)
{
    lock(t);
    end(t, CORE_STOP, 0);
    (void)pthread_cond_broadcast(&t->parked);
    while (t->leading)
        (void)pthread_cond_wait(&t->finished, &t->lock);
    struct exchange *handed = t->handed;
    t->handed = NULL;
    unlock(t);
    /* The importing thread has ended by an exception: nobody comes for it. */
    if (handed != NULL) {
        exchange_refuse(handed);
        exchange_free(handed);
    }
    core_refuse(&t->worker->core); /* nobody may have led since */
    lock(t);
    while (t->serving > 0)
        (void)pthread_cond_wait(&t->finished, &t->lock);
    unlock(t);
}
