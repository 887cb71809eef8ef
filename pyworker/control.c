/* control.c - the control channel to the gateway. Plain C: it may be called with or without the GIL. */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool control_is_channel(int fd)
{
    int domain = 0;
    int type = 0;
    socklen_t domain_len = sizeof(domain);
    socklen_t type_len = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_SEQPACKET;
}

uid_t control_peer_uid(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.uid : (uid_t)-1;
}

bool control_send(int fd, const char *text, size_t len)
{
    if (fd == -1)
        return true;
    if (len > CONTROL_MESSAGE_MAX) {
        errno = EMSGSIZE;
        return false;
    }
    ssize_t sent;
    do {
        sent = send(fd, text, len, MSG_NOSIGNAL);
    } while (sent == -1 && errno == EINTR);
    return sent != -1;
}

enum control_event control_receive(int fd)
{
    static const char stop[] = "STOP";
    char text[sizeof(stop)];
    ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);

    if (n == -1)
        return errno == EAGAIN || errno == EINTR ? CONTROL_NOTHING : CONTROL_STOP;
    if (n == 0)
        return CONTROL_STOP;
    /* A longer message is cut by recv; STOP alone has exactly its own length. */
    return (size_t)n == sizeof(stop) - 1 && memcmp(text, stop, sizeof(stop) - 1) == 0 ? CONTROL_STOP
                                                                                      : CONTROL_NOTHING;
}
