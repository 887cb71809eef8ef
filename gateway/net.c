/* net.c - see net.h. Addresses are numeric ("localhost" is the exception): a resolver would cost the gateway
 * more memory than everything else in it. */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Splits host:port at the last colon; false when there is no port or a part is too long. */
static bool split(const char *spec, char host[NET_ADDRESS_MAX], uint16_t *port)
{
    const char *colon = strrchr(spec, ':');
    if (colon == NULL)
        return false;
    const char *start = spec;
    size_t len = (size_t)(colon - spec);
    if (len >= 2 && spec[0] == '[' && colon[-1] == ']') {
        start++;
        len -= 2;
    }
    if (len >= NET_ADDRESS_MAX)
        return false;
    memcpy(host, start, len);
    host[len] = '\0';
    char *end;
    errno = 0;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (errno != 0 || end == colon + 1 || *end != '\0' || number > 65535)
        return false;
    *port = (uint16_t)number;
    return true;
}

/* Fills in the address of a TCP specification; false for one that cannot be read. `dual`: both families were
 * asked for. */
static bool tcp_address(const char *spec, struct net_address *a, bool *dual)
{
    char host[NET_ADDRESS_MAX];
    uint16_t port;
    memset(a, 0, sizeof(*a));
    *dual = false;
    if (!split(spec, host, &port))
        return false;
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (*name == '\0' || inet_pton(AF_INET6, name, &a->to.v6.sin6_addr) == 1) {
        *dual = *name == '\0';
        a->to.v6.sin6_family = AF_INET6;
        a->to.v6.sin6_port = htons(port);
        a->len = sizeof(a->to.v6);
    } else if (inet_pton(AF_INET, name, &a->to.v4.sin_addr) == 1) {
        a->to.v4.sin_family = AF_INET;
        a->to.v4.sin_port = htons(port);
        a->len = sizeof(a->to.v4);
    }
    return a->len > 0;
}

static void explain(char error[NET_ERROR_MAX], int code)
{
    static const struct {
        int code;
        const char *text;
    } known[] = {
        {EADDRINUSE,    "address in use (stop what listens there, or take another address)"},
        {EADDRNOTAVAIL, "no interface of this machine has that address"                    },
        {EACCES,        "permission denied (a port below 1024 needs privileges)"           },
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].code == code) {
            snprintf(error, NET_ERROR_MAX, "%s", known[i].text);
            return;
        }
    snprintf(error, NET_ERROR_MAX, "%s", strerror(code));
}

static int fail(int fd, char error[NET_ERROR_MAX], int code)
{
    explain(error, code);
    if (fd != -1)
        close(fd);
    return -1;
}

static int listen_tcp(const struct net_listen *l, char error[NET_ERROR_MAX])
{
    struct net_address a;
    bool dual;
    int on = 1, off = 0;
    if (!tcp_address(l->spec, &a, &dual)) {
        snprintf(error, NET_ERROR_MAX,
                 "not an address (try 127.0.0.1:8000, [::1]:8000, :8000 or unix:/path)");
        return -1;
    }
    int fd = socket(a.to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1 && dual) { /* a kernel without IPv6 */
        uint16_t port = a.to.v6.sin6_port;
        memset(&a, 0, sizeof(a));
        a.len = sizeof(a.to.v4);
        a.to.v4.sin_family = AF_INET;
        a.to.v4.sin_port = port;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd == -1)
        return fail(fd, error, errno);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1)
        return fail(fd, error, errno);
    if (a.to.any.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, dual ? &off : &on, sizeof(on)) == -1)
        return fail(fd, error, errno);
    if (bind(fd, &a.to.any, a.len) == -1 || listen(fd, l->backlog) == -1)
        return fail(fd, error, errno);
    return fd;
}

/* Removes a socket file that nobody listens on. Anything else stays. False, with the reason in error[]: no
 * socket can be made there. */
static bool remove_stale(const struct net_address *a, char error[NET_ERROR_MAX])
{
    struct stat st;
    if (lstat(a->to.un.sun_path, &st) == -1)
        return true;
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(error, NET_ERROR_MAX, "a file of that name is there, and it is no socket");
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return true;
    bool stale = connect(fd, &a->to.any, a->len) == -1 && errno == ECONNREFUSED;
    close(fd);
    if (!stale || unlink(a->to.un.sun_path) == 0 || errno == ENOENT)
        return true;
    snprintf(error, NET_ERROR_MAX, "nobody listens on the socket of that name, and it cannot be removed: %s",
             strerror(errno));
    return false;
}

static int listen_unix(const struct net_listen *l, const char *path, char error[NET_ERROR_MAX])
{
    struct net_address a;
    if (!net_unix_address(path, &a)) {
        snprintf(error, NET_ERROR_MAX, "the path of a unix socket has at most %zu bytes",
                 sizeof(a.to.un.sun_path) - 1);
        return -1;
    }
    if (!remove_stale(&a, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return fail(fd, error, errno);
    /* The mode by umask, not by chmod afterwards: the name may be another file by then. */
    mode_t before = umask(0777 & ~(mode_t)l->mode);
    int bound = bind(fd, &a.to.any, a.len);
    int code = errno;
    umask(before);
    if (bound == -1) {
        fail(fd, error, code);
        if (code == EACCES) /* no port is meant */
            snprintf(error, NET_ERROR_MAX, "permission denied (this user may make no file in its directory)");
        return -1;
    }
    if (listen(fd, l->backlog) == -1)
        return fail(fd, error, errno);
    return fd;
}

int net_listen(const struct net_listen *l, char error[NET_ERROR_MAX])
{
    if (strncmp(l->spec, "unix:", 5) == 0)
        return listen_unix(l, l->spec + 5, error);
    return listen_tcp(l, error);
}

void net_peer_address(const struct sockaddr *peer, socklen_t len, char address[NET_ADDRESS_MAX], char port[8])
{
    struct net_address a;
    address[0] = port[0] = '\0';
    if (len > sizeof(a.to))
        return;
    memcpy(&a.to, peer, len);
    if (len >= sizeof(a.to.v4) && a.to.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a.to.v4.sin_addr, address, NET_ADDRESS_MAX);
        snprintf(port, 8, "%u", ntohs(a.to.v4.sin_port));
    } else if (len >= sizeof(a.to.v6) && a.to.any.sa_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&a.to.v6.sin6_addr))
            inet_ntop(AF_INET, &a.to.v6.sin6_addr.s6_addr[12], address, NET_ADDRESS_MAX);
        else
            inet_ntop(AF_INET6, &a.to.v6.sin6_addr, address, NET_ADDRESS_MAX);
        snprintf(port, 8, "%u", ntohs(a.to.v6.sin6_port));
    }
}

void net_own_address(int fd, char address[NET_ADDRESS_MAX], char port[8])
{
    struct net_address a = {.len = sizeof(a.to)}; /* AF_UNSPEC is 0 */
    address[0] = port[0] = '\0';
    if (getsockname(fd, &a.to.any, &a.len) == -1)
        return;
    if (a.to.any.sa_family == AF_UNIX)
        snprintf(address, NET_ADDRESS_MAX, "unix");
    else
        net_peer_address(&a.to.any, a.len, address, port);
}

void net_url(int fd, char url[NET_URL_MAX])
{
    struct net_address a = {.len = sizeof(a.to)}; /* AF_UNSPEC is 0 */
    char address[NET_ADDRESS_MAX], port[8];
    bool known = getsockname(fd, &a.to.any, &a.len) == 0;
    if (known && a.to.any.sa_family == AF_UNIX) {
        size_t head = offsetof(struct sockaddr_un, sun_path);
        bool abstract = a.len > head && a.to.un.sun_path[0] == '\0';
        size_t n = a.len > head ? (abstract ? a.len - head : strnlen(a.to.un.sun_path, a.len - head)) : 0;
        snprintf(url, NET_URL_MAX, "unix:%s%.*s", abstract ? "@" : "", (int)(n - abstract),
                 a.to.un.sun_path + abstract);
        return;
    }
    net_own_address(fd, address, port);
    bool v6 = strchr(address, ':') != NULL;
    snprintf(url, NET_URL_MAX, "http://%s%s%s:%s", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

bool net_is_shortage(int error)
{
    return error == ENOMEM || error == ENOBUFS || error == EMFILE || error == ENFILE;
}

bool net_unix_address(const char *path, struct net_address *address)
{
    size_t len = strlen(path);
    *address = (struct net_address){.len = sizeof(address->to.un)};
    address->to.un.sun_family = AF_UNIX;
    if (len >= sizeof(address->to.un.sun_path))
        return false;
    memcpy(address->to.un.sun_path, path, len + 1);
    return true;
}

bool net_address(const char *spec, struct net_address *address)
{
    bool dual;
    return strncmp(spec, "unix:", 5) == 0 ? net_unix_address(spec + 5, address)
                                          : tcp_address(spec, address, &dual);
}

int net_connect(const struct net_address *address)
{
    int fd = socket(address->to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    net_set_nodelay(fd);
    if (connect(fd, &address->to.any, address->len) == 0 || errno == EINPROGRESS)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

void net_set_nodelay(int fd)
{
    int on = 1;
    /* Fails for unix sockets, which have no delay anyway. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}
