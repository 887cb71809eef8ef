/* client.h - who a request comes from: the peer's address, and what it is believed about a client behind it.
 *
 * What is not believed is left out of what the worker gets, and said once for each peer. */
#ifndef LEANGATE_CLIENT_H
#define LEANGATE_CLIENT_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "forwarded.h"
#include "proxy_protocol.h"
#include "request.h"

/* The other end of a connection; any.sa_family is AF_UNIX where it has no address. */
union client_peer {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* The peer as accept() has told it. */
void client_peer_init(union client_peer *peer, const struct sockaddr *address, socklen_t len);

/* A PROXY header has come: the client that it names is the peer from now on, if its sender is trusted and it
 * names one. */
void client_proxied(union client_peer *peer, const struct forwarded *trust,
                    const struct proxy_protocol *header);

/* Says once for each peer that its connections are closed because they do not begin with a PROXY header. */
void client_unproxied(const union client_peer *peer);

/* Fills in where the request comes from, as far as the peer alone tells. Called again it does nothing. */
void client_describe(struct request *r, const union client_peer *peer);

/* The same with what the whole head tells: address, scheme, host, prefix and id. */
void client_learn(struct request *r, const union client_peer *peer, const struct forwarded *trust);

#endif
