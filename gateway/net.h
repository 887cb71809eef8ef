/* net.h - sockets: the listening ones from their specification, and addresses as text. */
#ifndef LEANGATE_NET_H
#define LEANGATE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { NET_ADDRESS_MAX = 64, NET_ERROR_MAX = 256, NET_URL_MAX = 128 };

/* An address of a socket. */
struct net_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } to;
    socklen_t len;
};

struct net_listen {
    const char *spec; /* host:port, :port, [v6]:port, unix:/path */
    int backlog;
    unsigned mode; /* permissions of a unix socket */
};

/* A listening, non-blocking, close-on-exec socket for the specification. Returns it, or -1 with the reason in
 * error[] ("address in use"). A socket file is removed first if nobody answers on it; an answered one is in
 * use. */
int net_listen(const struct net_listen *listen, char error[NET_ERROR_MAX]);

/* Address and port of a socket's own end as text; a unix socket gives "unix" and no port. */
void net_own_address(int fd, char address[NET_ADDRESS_MAX], char port[8]);

/* Where a listening socket is reached: "http://127.0.0.1:8000", "http://[::]:8000", "unix:/path", and with an
 * abstract name "unix:@name". */
void net_url(int fd, char url[NET_URL_MAX]);

/* Address and port of a peer as text, IPv4-mapped IPv6 ones as IPv4; "" for a unix socket's. */
void net_peer_address(const struct sockaddr *peer, socklen_t len, char address[NET_ADDRESS_MAX],
                      char port[8]);

/* Whether it was for want of memory or descriptors that a call about a socket failed: another time it may go.
 */
bool net_is_shortage(int error);

/* From the path of a unix socket; from unix:/path or host:port. False: it cannot be read, or is too long. */
bool net_unix_address(const char *path, struct net_address *address);
bool net_address(const char *spec, struct net_address *address);

/* A non-blocking, close-on-exec connection, or one that is on its way (TCP): then the first write or read
 * tells how it went. -1 with errno. */
int net_connect(const struct net_address *address);

/* No delay for small answers; a no-op for unix sockets. */
void net_set_nodelay(int fd);

#endif
