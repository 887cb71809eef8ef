/* network.h - addresses and networks, IPv4 and IPv6, as numbers; pure.
 *
 * An address is a network of full width. IPv4-mapped IPv6 addresses are kept as IPv4, so that each address
 * has one form; an IPv6 network holds no IPv4 address. */
#ifndef LEANGATE_NETWORK_H
#define LEANGATE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network {
    uint8_t bytes[16]; /* zero behind `bits` */
    uint8_t width;     /* 32 or 128; 0: none, neither network nor address */
    uint8_t bits;      /* of the prefix; == width for an address */
};

enum { NETWORK_TEXT = 50 }; /* bytes that hold any network as text, with its NUL */

/* text[0..len) as one numeric address. */
bool network_address(const char *text, size_t len, struct network *address);

/* "10.0.0.0/8", "fc00::/7" or one address. *loose: bits behind the prefix were set; they are cleared. */
bool network_parse(const char *text, struct network *network, bool *loose);

/* Whether the address lies in the network. */
bool network_has(const struct network *network, const struct network *address);

/* Writes it as it is usually written; the prefix only where it is no address. */
void network_text(const struct network *network, char text[NETWORK_TEXT]);

#endif
