/* router.h - which app answers: domain, then the longest path prefix of whole segments. Pure. */
#ifndef LEANGATE_ROUTER_H
#define LEANGATE_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

struct router;

struct route {
    uint32_t app;        /* index into conf->apps */
    uint32_t prefix_len; /* bytes of the path that matched, without a final slash: 0 for "/" */
};

/* The routes of a configuration, whose strings it goes on using. NULL when out of memory. */
struct router *router_new(const struct conf *conf);
void router_free(struct router *router);

/* Finds the app for a host (with or without port, any case; may be empty) and a normalised path. An exact
 * domain wins over "*.example.com", the longer such pattern over the shorter, and any pattern over none.
 * False: no app. */
bool router_find(const struct router *router, const char *host, size_t host_len, const char *path,
                 size_t path_len, struct route *route);

#endif
