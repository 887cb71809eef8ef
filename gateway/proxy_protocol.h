/* proxy_protocol.h - the PROXY header, versions 1 and 2, that a balancer writes before a connection's first
 * byte ("The PROXY protocol", HAProxy, doc/proxy-protocol.txt).
 *
 * Pure: bytes in, facts out. What is not exactly right is refused; nothing of it is ever guessed. */
#ifndef LEANGATE_PROXY_PROTOCOL_H
#define LEANGATE_PROXY_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#include "http_parse.h"
#include "network.h"

/* The longest header that is taken, version 2's extensions included: they are skipped. */
enum { PROXY_PROTOCOL_MAX = 4096 };

struct proxy_protocol {
    uint32_t size;         /* HTTP_DONE: bytes of the header */
    struct network source; /* the client; width 0: not told (UNKNOWN, LOCAL, a unix socket) */
    uint16_t port;         /* its port, with `source` */
};

/* Parses data[0..len), the first bytes of a connection, all of them at each call. HTTP_DONE: *header, and the
 * rest of data is what follows. HTTP_MORE: call again with more. HTTP_BAD: this is no PROXY header. */
enum http_parse proxy_protocol_parse(const char *data, size_t len, struct proxy_protocol *header);

#endif
