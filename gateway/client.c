/* client.c - see client.h. */
#include "client.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

/* ---- addresses ---- */

void client_peer_init(union client_peer *peer, const struct sockaddr *address, socklen_t len)
{
    memset(peer, 0, sizeof(*peer));
    peer->any.sa_family = AF_UNIX;
    bool v4 = len >= sizeof(peer->v4) && address->sa_family == AF_INET;
    bool v6 = len >= sizeof(peer->v6) && address->sa_family == AF_INET6;
    if (v4 || v6)
        memcpy(peer, address, v4 ? sizeof(peer->v4) : sizeof(peer->v6));
}

/* The address alone; width 0 for a unix socket's. */
static struct network address_of(const union client_peer *peer)
{
    static const struct in6_addr none;
    struct network a = {.width = 0};
    const struct in6_addr *v6 = peer->any.sa_family == AF_INET6 ? &peer->v6.sin6_addr : &none;
    if (peer->any.sa_family == AF_INET) {
        memcpy(a.bytes, &peer->v4.sin_addr, 4);
        a.width = a.bits = 32;
    } else if (IN6_IS_ADDR_V4MAPPED(v6)) {
        memcpy(a.bytes, &v6->s6_addr[12], 4);
        a.width = a.bits = 32;
    } else if (peer->any.sa_family == AF_INET6) {
        memcpy(a.bytes, v6, sizeof(*v6));
        a.width = a.bits = 128;
    }
    return a;
}

/* ---- warnings ---- */

enum warning { UNTRUSTED, BROKEN, UNLISTED, UNPROXIED, PROXY_UNTRUSTED };

/* Whether this is the first time. A full memory means silence: who can choose the addresses must not be able
 * to fill the log. */
static bool first_time(const struct network *peer, enum warning what)
{
    static struct {
        struct network peer;
        enum warning what;
    } said[64];
    static size_t count;
    for (size_t i = 0; i < count; i++)
        if (said[i].what == what && said[i].peer.width == peer->width &&
            memcmp(said[i].peer.bytes, peer->bytes, sizeof(peer->bytes)) == 0)
            return false;
    if (count == sizeof(said) / sizeof(said[0]))
        return false;
    said[count].peer = *peer;
    said[count++].what = what;
    return true;
}

static void warn(const struct network *peer, enum warning what, const char *header)
{
    char text[NETWORK_TEXT];
    if (!first_time(peer, what))
        return;
    network_text(peer, text);
    const char *who = peer->width != 0 ? text : "a unix socket";
    const char *key = peer->width != 0 ? text : "unix";
    switch (what) {
    case UNTRUSTED:
    case PROXY_UNTRUSTED:
        log_warning("%s from %s ignored: add trusted_proxies = %s", header, who, key);
        break;
    case BROKEN:
        log_warning("%s from %s ignored: its value is broken", header, who);
        break;
    case UNLISTED:
        log_info("%s from %s ignored: it is not in forwarded", header, who);
        break;
    case UNPROXIED:
        log_warning(
            "connections from %s are closed: they do not begin with a PROXY header (proxy_protocol = on)",
            who);
        break;
    }
}

/* ---- the PROXY header ---- */

void client_proxied(union client_peer *peer, const struct forwarded *trust,
                    const struct proxy_protocol *header)
{
    const struct network *source = &header->source;
    struct network sender = address_of(peer);
    if (source->width == 0)
        return;
    if (!forwarded_trusts(trust, &sender)) {
        warn(&sender, PROXY_UNTRUSTED, "PROXY header");
        return;
    }
    memset(peer, 0, sizeof(*peer));
    peer->any.sa_family = source->width == 32 ? AF_INET : AF_INET6;
    if (source->width == 32) {
        memcpy(&peer->v4.sin_addr, source->bytes, sizeof(peer->v4.sin_addr));
        peer->v4.sin_port = htons(header->port);
    } else {
        memcpy(&peer->v6.sin6_addr, source->bytes, sizeof(peer->v6.sin6_addr));
        peer->v6.sin6_port = htons(header->port);
    }
}

void client_unproxied(const union client_peer *peer)
{
    const struct network sender = address_of(peer);
    warn(&sender, UNPROXIED, NULL);
}

/* ---- a request ---- */

void client_describe(struct request *r, const union client_peer *peer)
{
    if (r->scheme != NULL)
        return;
    r->scheme = "http";
    socklen_t len = peer->any.sa_family == AF_INET6  ? sizeof(peer->v6)
                    : peer->any.sa_family == AF_INET ? sizeof(peer->v4)
                                                     : 0;
    net_peer_address(&peer->any, len, r->remote_addr, r->remote_port);
}

/* An address that a header has told comes with its port or with none: the peer's belongs to the proxy. */
static void take_address(struct request *r, const struct forwarded_facts *facts)
{
    network_text(&facts->client, r->remote_addr);
    r->remote_port[0] = '\0';
    if (facts->has_port)
        snprintf(r->remote_port, sizeof(r->remote_port), "%u", facts->port);
}

/* An id that a trusted proxy gives: 1 to REQUEST_ID_MAX bytes of visible ASCII without quote and backslash,
 * in one field; any other is not taken, and one is made. */
static void take_id(struct request *r)
{
    const char *name = r->conf->request_id, *data = r->in.data;
    struct slice id = {0, 0};
    unsigned count = 0;
    for (uint32_t cursor = 0; *name != '\0' && http_head_next_named(&r->head, data, name, &cursor, &id);)
        count++;
    if (count != 1 || id.len > REQUEST_ID_MAX)
        return;
    for (uint32_t i = 0; i < id.len; i++) {
        char c = data[id.off + i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\')
            return;
    }
    memcpy(r->id, data + id.off, id.len);
    r->id[id.len] = '\0';
}

static void warn_ignored(const struct network *peer, bool trusted, const struct forwarded *trust,
                         const struct forwarded_facts *facts)
{
    unsigned believed = facts->seen & forwarded_believed(trust);
    unsigned unlisted = facts->seen & ~forwarded_believed(trust) & ~(unsigned)FORWARDED_OTHER;
    if (!trusted && believed != 0)
        warn(peer, UNTRUSTED, forwarded_name(believed));
    if (trusted && (believed & ~facts->good) != 0)
        warn(peer, BROKEN, forwarded_name(believed & ~facts->good));
    if (trusted && unlisted != 0)
        warn(peer, UNLISTED, forwarded_name(unlisted));
}

void client_learn(struct request *r, const union client_peer *peer, const struct forwarded *trust)
{
    struct forwarded_facts facts;
    const struct network sender = address_of(peer);
    bool trusted = forwarded_trusts(trust, &sender);
    client_describe(r, peer);
    forwarded_read(trust, &r->head, r->in.data, trusted, &facts);
    if (facts.seen != 0)
        warn_ignored(&sender, trusted, trust, &facts);
    if (trusted)
        take_id(r);
    r->forwarded = facts.good;
    if (facts.client.width != 0)
        take_address(r, &facts);
    if (facts.scheme != NULL)
        r->scheme = facts.scheme;
    if (facts.host.len > 0)
        r->head.authority = facts.host; /* routing and all variables go by it */
    r->prefix = facts.prefix;
}
