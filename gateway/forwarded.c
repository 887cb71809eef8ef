/* forwarded.c - see forwarded.h: who is trusted, and the X-Forwarded-* headers. The grammar of one hop stands
 * in forwarded_hop.c. */
#include "forwarded.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "forwarded_hop.h"

struct forwarded {
    unsigned believed;
    bool all;
    bool unix_peers;
    uint32_t count;
    struct network networks[];
};

static const struct {
    const char *name;
    unsigned kind;
} headers[] = {
    {"X-Forwarded-For",    FORWARDED_FOR     },
    {"X-Forwarded-Proto",  FORWARDED_PROTO   },
    {"X-Forwarded-Host",   FORWARDED_HOST    },
    {"X-Forwarded-Prefix", FORWARDED_PREFIX  },
    {"Forwarded",          FORWARDED_STANDARD},
    {"X-Forwarded-*",      FORWARDED_OTHER   },
};
enum { HEADERS = sizeof(headers) / sizeof(headers[0]) - 1 }; /* those that can be believed */

/* `private`: RFC 1918, loopback, link-local (RFC 3927), then RFC 4193, loopback and link-local of IPv6. */
static const char *const private_networks[] = {
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
    "fc00::/7",   "::1",           "fe80::/10",
};
enum { PRIVATE_NETWORKS = sizeof(private_networks) / sizeof(private_networks[0]) };

/* ---- who is trusted ---- */

static void add(struct forwarded *f, const char *text)
{
    bool loose;
    if (network_parse(text, &f->networks[f->count], &loose))
        f->count++;
}

struct forwarded *forwarded_new(const struct conf_list *trusted_proxies, const struct conf_list *believed)
{
    size_t most = (size_t)trusted_proxies->count * PRIVATE_NETWORKS;
    struct forwarded *f = calloc(1, sizeof(*f) + most * sizeof(f->networks[0]));
    if (f == NULL)
        return NULL;
    for (uint32_t i = 0; i < trusted_proxies->count; i++) {
        const char *text = trusted_proxies->items[i];
        bool is_private = strcmp(text, "private") == 0;
        f->all = f->all || strcmp(text, "*") == 0;
        f->unix_peers = f->unix_peers || strcmp(text, "unix") == 0;
        for (size_t n = 0; is_private && n < PRIVATE_NETWORKS; n++)
            add(f, private_networks[n]);
        if (!is_private)
            add(f, text);
    }
    for (uint32_t i = 0; i < believed->count; i++)
        f->believed |= forwarded_kind(believed->items[i], strlen(believed->items[i]));
    f->believed &= ~(unsigned)FORWARDED_OTHER;
    return f;
}

void forwarded_free(struct forwarded *f)
{
    free(f);
}

bool forwarded_trusts(const struct forwarded *f, const struct network *peer)
{
    if (f->all || peer->width == 0)
        return f->all || f->unix_peers;
    for (uint32_t i = 0; i < f->count; i++)
        if (network_has(&f->networks[i], peer))
            return true;
    return false;
}

bool forwarded_trusts_all(const struct forwarded *f)
{
    return f->all;
}

unsigned forwarded_believed(const struct forwarded *f)
{
    return f->believed;
}

unsigned forwarded_kind(const char *name, size_t len)
{
    static const char prefix[] = "X-Forwarded-";
    if (len < strlen("Forwarded") || ((name[0] | 0x20) != 'x' && (name[0] | 0x20) != 'f'))
        return 0;
    for (size_t i = 0; i < HEADERS; i++)
        if (strlen(headers[i].name) == len && strncasecmp(headers[i].name, name, len) == 0)
            return headers[i].kind;
    return len >= sizeof(prefix) - 1 && strncasecmp(name, prefix, sizeof(prefix) - 1) == 0 ? FORWARDED_OTHER
                                                                                           : 0;
}

const char *forwarded_name(unsigned kinds)
{
    size_t i = 0;
    while (i < HEADERS && (headers[i].kind & kinds) == 0)
        i++;
    return headers[i].name;
}

/* ---- what they say ---- */

struct reading {
    const struct forwarded *trust;
    const char *base;
    struct forwarded_lines lines[HEADERS]; /* in the order of `headers` */
    struct forwarded_facts *facts;
    unsigned told; /* facts that Forwarded has told, as the bits of the headers that could tell them, too */
    unsigned hop;  /* where X-Forwarded-For names the client: elements from the right */
};

static const struct forwarded_lines *lines_of(const struct reading *r, unsigned kind)
{
    size_t i = 0;
    while (headers[i].kind != kind)
        i++;
    return &r->lines[i];
}

/* Each reads one header; false: it is broken, and has told nothing. */

static bool read_standard(struct reading *r)
{
    struct forwarded_walk walk;
    struct slice element;
    struct forwarded_hop hop = {.scheme = NULL};
    forwarded_walk_start(&walk, r->base, lines_of(r, FORWARDED_STANDARD), true);
    while (forwarded_walk_left(&walk, &element)) {
        if (!forwarded_hop_parse(r->base, element, &hop))
            return false;
        if (hop.client.width == 0 || !forwarded_trusts(r->trust, &hop.client))
            break;
    }
    r->facts->client = hop.client;
    r->facts->port = hop.port;
    r->facts->has_port = hop.has_port;
    r->facts->scheme = hop.scheme;
    r->facts->host = hop.host;
    r->told = (hop.named ? FORWARDED_FOR : 0) | (hop.scheme != NULL ? FORWARDED_PROTO : 0) |
              (hop.host.len > 0 ? FORWARDED_HOST : 0);
    return true;
}

static bool read_for(struct reading *r)
{
    struct forwarded_walk walk;
    struct slice element;
    struct forwarded_hop hop = {.scheme = NULL};
    unsigned count = 0;
    forwarded_walk_start(&walk, r->base, lines_of(r, FORWARDED_FOR), false);
    while (forwarded_walk_left(&walk, &element)) {
        count++;
        if (!forwarded_hop_node(r->base, element, false, &hop))
            return false;
        if (hop.client.width == 0 || !forwarded_trusts(r->trust, &hop.client))
            break;
    }
    r->hop = count > 0 ? count - 1 : 0;
    if ((r->told & FORWARDED_FOR) == 0) {
        r->facts->client = hop.client;
        r->facts->port = hop.port;
        r->facts->has_port = hop.has_port;
    }
    return true;
}

/* The element that the client's own proxy has written: as far from the right as the client stands in
 * X-Forwarded-For; in a shorter list the leftmost. */
static struct slice pick(const struct reading *r, unsigned kind)
{
    struct forwarded_walk walk;
    struct slice element = {0, 0}, next;
    forwarded_walk_start(&walk, r->base, lines_of(r, kind), false);
    for (unsigned i = 0; i <= r->hop && forwarded_walk_left(&walk, &next); i++)
        element = next;
    return element;
}

static bool read_proto(struct reading *r)
{
    struct slice element = pick(r, FORWARDED_PROTO);
    const char *scheme = forwarded_hop_scheme(r->base, element);
    if ((r->told & FORWARDED_PROTO) == 0)
        r->facts->scheme = scheme;
    return scheme != NULL;
}

static bool read_host(struct reading *r)
{
    struct slice element = pick(r, FORWARDED_HOST);
    bool good = http_head_valid_authority(r->base + element.off, element.len);
    if (good && (r->told & FORWARDED_HOST) == 0)
        r->facts->host = element;
    return good;
}

/* One value only: of several it is not known how they belong together. */
static bool read_prefix(struct reading *r)
{
    const struct forwarded_lines *lines = lines_of(r, FORWARDED_PREFIX);
    return lines->count == 1 && forwarded_hop_prefix(r->base, lines->values[0], &r->facts->prefix);
}

/* In this order: what Forwarded tells goes before the others, and X-Forwarded-For says which hop counts. */
static const struct {
    unsigned kind;
    bool (*read)(struct reading *r);
} readers[] = {
    {FORWARDED_STANDARD, read_standard},
    {FORWARDED_FOR,      read_for     },
    {FORWARDED_PROTO,    read_proto   },
    {FORWARDED_HOST,     read_host    },
    {FORWARDED_PREFIX,   read_prefix  },
};

static void read_believed(struct reading *r, const struct http_head *head)
{
    struct http_field field;
    for (uint32_t cursor = 0; http_head_next_field(head, r->base, &cursor, &field);) {
        unsigned kind = forwarded_kind(r->base + field.name.off, field.name.len);
        for (size_t i = 0; kind != 0 && i < HEADERS; i++)
            if (headers[i].kind == kind)
                forwarded_lines_add(&r->lines[i], field.value);
    }
    unsigned kinds = r->facts->seen & r->trust->believed;
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
        if ((kinds & readers[i].kind) != 0 && readers[i].read(r))
            r->facts->good |= readers[i].kind;
}

void forwarded_read(const struct forwarded *f, const struct http_head *head, const char *base, bool trusted,
                    struct forwarded_facts *facts)
{
    struct http_field field;
    *facts = (struct forwarded_facts){.scheme = NULL};
    for (uint32_t cursor = 0; http_head_next_field(head, base, &cursor, &field);)
        facts->seen |= forwarded_kind(base + field.name.off, field.name.len);
    if (!trusted || (facts->seen & f->believed) == 0)
        return;
    struct reading r = {.trust = f, .base = base, .facts = facts};
    read_believed(&r, head);
}
