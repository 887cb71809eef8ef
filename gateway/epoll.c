/* epoll.c - libev asks the kernel for one event less than it has room for.
 *
 * libev doubles its tables of events whenever one call fills them, and never gives them back: ten thousand
 * connections that end at once would leave 150 KB behind for good. It never sees a full table this way, and
 * what is left for the next call comes with the next turn, which is fairer, too. The linker sends its calls
 * here (--wrap). */
#include <sys/epoll.h>

int __real_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms);

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms)
{
    return __real_epoll_wait(epoll, events, room > 1 ? room - 1 : room, timeout_ms);
}
