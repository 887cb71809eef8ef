/* waiter.c - see waiter.h. Each wait has a future of its own: who is cancelled takes nobody else along. They
 * are woken in the order in which they began, or pieces of a body would change places. */
#include "waiter.h"

#include "asgi.h"
#include "call.h"

PyObject *waiter_begin(struct waiter *w, struct call *c, bool for_room)
{
    struct waiter **at = &c->waiters;

    w->future = PyObject_CallFunctionObjArgs(c->asgi->create_future, NULL);
    w->steps =
        w->future == NULL ? NULL : PyObject_CallMethodObjArgs(w->future, c->asgi->key[KEY_AWAIT], NULL);
    if (w->steps == NULL) {
        Py_CLEAR(w->future);
        return NULL;
    }
    w->call = c;
    w->for_room = for_room;
    while (*at != NULL)
        at = &(*at)->next;
    w->next = NULL;
    *at = w;
    return PyIter_Next(w->steps);
}

int waiter_resume(struct waiter *w, PyObject **yielded)
{
    *yielded = PyIter_Next(w->steps);
    if (*yielded != NULL)
        return 0;
    waiter_end(w);
    return PyErr_Occurred() == NULL ? 1 : -1;
}

void waiter_end(struct waiter *w)
{
    if (w->call == NULL)
        return;
    struct waiter **at = &w->call->waiters;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->call = NULL;
    Py_CLEAR(w->steps);
    Py_CLEAR(w->future);
}

/* A future that is done already was cancelled, or woken a moment ago. */
static bool wake(const struct asgi *a, PyObject *future)
{
    PyObject *result = PyObject_CallMethodObjArgs(future, a->key[KEY_DONE], NULL);
    if (result == Py_False) {
        Py_DECREF(result);
        result = PyObject_CallMethodObjArgs(future, a->key[KEY_SET_RESULT], Py_None, NULL);
    }
    Py_XDECREF(result);
    return result != NULL;
}

static void wake_all(struct call *c, bool for_room)
{
    PyObject *type, *value, *traceback;

    if (c->waiters == NULL)
        return;
    PyErr_Fetch(&type, &value, &traceback);
    for (const struct waiter *w = c->waiters; w != NULL; w = w->next)
        if (w->for_room == for_room && !wake(c->asgi, w->future) && !asgi_interrupted(c->asgi))
            PyErr_WriteUnraisable(w->future); /* the loop is closed */
    PyErr_Restore(type, value, traceback);
}

void waiter_wake_room(struct call *c)
{
    wake_all(c, true);
}

void waiter_wake_news(struct call *c)
{
    wake_all(c, false);
}
