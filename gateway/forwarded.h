/* forwarded.h - whom the gateway believes about the client, and what such a proxy says: X-Forwarded-For,
 * -Proto, -Host, -Prefix, and Forwarded (RFC 7239).
 *
 * Pure: a compiled set of networks and a parsed head in, facts out. Lists are read from the right, where the
 * proxy next to us writes, up to the first address that is not trusted: what stands left of it anybody may
 * have written, and it is not looked at. A value that is broken up to there is ignored as a whole. */
#ifndef LEANGATE_FORWARDED_H
#define LEANGATE_FORWARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "http_head.h"
#include "network.h"
#include "slice.h"

/* The headers, as bits. */
enum {
    FORWARDED_FOR = 1,
    FORWARDED_PROTO = 2,
    FORWARDED_HOST = 4,
    FORWARDED_PREFIX = 8,
    FORWARDED_STANDARD = 16, /* Forwarded */
    FORWARDED_OTHER = 32     /* any other X-Forwarded-*: never believed */
};

struct forwarded;

/* Compiles trusted_proxies and forwarded, which were checked when they were read. NULL when out of memory. */
struct forwarded *forwarded_new(const struct conf_list *trusted_proxies, const struct conf_list *believed);
void forwarded_free(struct forwarded *f);

/* Whether the peer's word is taken; width 0 is the peer of a unix socket. */
bool forwarded_trusts(const struct forwarded *f, const struct network *peer);

/* Whether trusted_proxies is `*`. */
bool forwarded_trusts_all(const struct forwarded *f);

/* The headers that `forwarded` lists, as bits. */
unsigned forwarded_believed(const struct forwarded *f);

/* The bit of a header's name; 0: none of these headers. */
unsigned forwarded_kind(const char *name, size_t len);

/* The name of the header with the lowest bit in `kinds`, as it is usually written. */
const char *forwarded_name(unsigned kinds);

/* What a head says. Slices are those of the head's buffer; what was not told is empty. Where Forwarded and an
 * X-Forwarded-* header are believed and both tell a fact, Forwarded is taken. */
struct forwarded_facts {
    struct network client; /* width 0: not told, or not as an address */
    uint16_t port;         /* with has_port */
    bool has_port;
    const char *scheme;  /* "http", "https" or NULL */
    struct slice host;   /* host[:port] */
    struct slice prefix; /* "/a/b", no slash at its end */
    unsigned seen;       /* headers that came */
    unsigned good;       /* of these, those believed and well-formed */
};

/* Reads all of it; with `trusted` false only `seen` is filled. */
void forwarded_read(const struct forwarded *f, const struct http_head *head, const char *base, bool trusted,
                    struct forwarded_facts *facts);

#endif
