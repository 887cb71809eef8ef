/* peer.c - who is at the other end of a connection, and how long we wait for it. */
#define _GNU_SOURCE
#include "peer.h"

#include <stdio.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "control.h"

/* A gateway sends whole requests; other web servers may pass a slow client's body on as it comes. libfcgi
 * takes the EAGAIN of a read that waited this long for the end of the connection. */
enum { SILENCE_SECONDS = 10 };

bool peer_is_unix(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

bool peer_is_named(int fd)
{
    int type = 0;
    struct sockaddr_storage peer;
    socklen_t type_len = sizeof(type), peer_len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_STREAM &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 && peer_len > sizeof(sa_family_t);
}

uid_t peer_uid(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.uid : (uid_t)-1;
}

bool peer_is_trusted(int fd, uid_t gateway)
{
    uid_t uid = peer_uid(fd);
    return uid != (uid_t)-1 && (uid == 0 || uid == geteuid() || uid == gateway);
}

void peer_report(int control, int fd)
{
    char note[96];

    (void)snprintf(note, sizeof(note), "NOTE refused a connection from uid %ld", (long)peer_uid(fd));
    (void)control_say(control, note); /* a lost note harms nobody */
}

bool peer_limit_silence(int fd)
{
    const struct timeval limit = {.tv_sec = SILENCE_SECONDS};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0;
}

bool peer_send(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}
