/* forwarded_hop.h - the words of forwarding headers: lists read from the right, addresses with their ports,
 * schemes, prefixes, and one element of Forwarded (RFC 7239 4). Pure. */
#ifndef LEANGATE_FORWARDED_HOP_H
#define LEANGATE_FORWARDED_HOP_H

#include <stdbool.h>
#include <stdint.h>

#include "network.h"
#include "slice.h"

enum { FORWARDED_LINES_MAX = 16 };

/* The values of one header in the order of their lines. Of more lines than fit the last ones are kept: lists
 * are read from the right. */
struct forwarded_lines {
    struct slice values[FORWARDED_LINES_MAX]; /* a ring */
    uint32_t count;                           /* lines added */
};

void forwarded_lines_add(struct forwarded_lines *lines, struct slice value);

/* Walks the elements of all lines from the last one to the left. */
struct forwarded_walk {
    const char *base;
    const struct forwarded_lines *lines;
    uint32_t line; /* lines that were not begun yet */
    uint32_t start;
    uint32_t end;
    bool open;   /* the line start..end holds one more element */
    bool quotes; /* a comma between quotes is none */
};

void forwarded_walk_start(struct forwarded_walk *walk, const char *base, const struct forwarded_lines *lines,
                          bool quotes);

/* The next element to the left, without blanks around it; empty ones are passed over (RFC 9110 5.6.1). False:
 * there is none. */
bool forwarded_walk_left(struct forwarded_walk *walk, struct slice *element);

/* One hop. */
struct forwarded_hop {
    struct network client; /* width 0: hidden ("unknown", "_name") or not told */
    uint16_t port;         /* with has_port */
    bool has_port;
    bool named;         /* there was a `for`, be it hidden */
    const char *scheme; /* "http", "https" or NULL */
    struct slice host;
};

/* An address with or without a port: 192.0.2.1, 192.0.2.1:80, [2001:db8::1]:80, unknown; without `standard`
 * 2001:db8::1, too, with it an obfuscated name or port (RFC 7239 6). Fills client, port and named; false: it
 * is none of these. */
bool forwarded_hop_node(const char *base, struct slice text, bool standard, struct forwarded_hop *hop);

/* An element of Forwarded: for, proto, host; by and extensions only have to be well-formed. */
bool forwarded_hop_parse(const char *base, struct slice element, struct forwarded_hop *hop);

/* "http" or "https", as a constant; NULL: neither. */
const char *forwarded_hop_scheme(const char *base, struct slice text);

/* A path of plain characters; *prefix comes without its final slash, and may be empty. */
bool forwarded_hop_prefix(const char *base, struct slice text, struct slice *prefix);

#endif
