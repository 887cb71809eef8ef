/* inherit.c - the first acts of a worker: its descriptors out of reach of the app and its subprocesses. */
#define _GNU_SOURCE
#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/socket.h>

#include "control.h"

int inherit_control(void)
{
    return control_is_channel(CONTROL_FD) && fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) == 0 ? CONTROL_FD : -1;
}

bool inherit_null_stdin(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null == STDIN_FILENO)
        return fcntl(null, F_SETFD, 0) == 0; /* fd 0 was closed */
    if (null == -1)
        return false;
    bool done = dup2(null, STDIN_FILENO) == STDIN_FILENO;
    (void)close(null);
    return done;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

int inherit_listener(int listener)
{
    if (listener == -1) {
        if (!is_listening(STDIN_FILENO)) {
            errno = ENOTSOCK;
            return -1;
        }
        listener = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
    }
    int flags = listener == -1 ? -1 : fcntl(listener, F_GETFL);
    if (flags == -1 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) == -1 || !inherit_null_stdin())
        return -1;
    return listener;
}
