/* epoll.c - libev asks the kernel for one event less than it has room for.
 *
 * libev doubles its tables of events whenever one call fills them, and never gives them back: ten thousand
 * connections that end at once would leave 150 KB behind for good. It never sees a full table this way, and
 * what is left for the next call comes with the next turn, which is fairer, too. The linker sends its calls
 * here (--wrap).
 *
 * And it hardly waits while libev has something to tell already: that a descriptor could not be added to the
 * set (EV_ERROR: no memory, or fs.epoll.max_user_watches). libev finds that out after it has looked for what
 * is pending, and would tell it after the next event, whenever that is. A millisecond, for what is tried
 * again may fail again. */
#include <ev.h>
#include <sys/epoll.h>

int __real_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms);

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms)
{
    if (timeout_ms != 0 && ev_pending_count(EV_DEFAULT_UC) > 0)
        timeout_ms = 1;
    return __real_epoll_wait(epoll, events, room > 1 ? room - 1 : room, timeout_ms);
}
