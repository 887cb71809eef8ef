/* network.c - see network.h. */
#include "network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "units.h"

enum { V4 = 32, V6 = 128, MAPPED = 96 /* bits of ::ffff:0:0/96, RFC 4291 2.5.5.2 */ };

/* Clears the bits behind the prefix; whether there were any. */
static bool mask(struct network *n)
{
    bool cleared = false;
    for (unsigned i = 0; i < n->width / 8u; i++) {
        unsigned kept = n->bits >= 8 * (i + 1) ? 8 : n->bits > 8 * i ? n->bits - 8 * i : 0;
        uint8_t bits = (uint8_t)(0xff00u >> kept);
        cleared = cleared || (n->bytes[i] & ~bits & 0xff) != 0;
        n->bytes[i] &= bits;
    }
    return cleared;
}

bool network_address(const char *text, size_t len, struct network *a)
{
    char copy[INET6_ADDRSTRLEN];
    *a = (struct network){.width = 0};
    if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    struct in6_addr v6;
    if (inet_pton(AF_INET, copy, a->bytes) == 1) {
        a->width = a->bits = V4;
    } else if (inet_pton(AF_INET6, copy, &v6) == 1) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);
        memcpy(a->bytes, mapped ? v6.s6_addr + MAPPED / 8 : v6.s6_addr, mapped ? V4 / 8 : V6 / 8);
        a->width = a->bits = mapped ? V4 : V6;
    }
    return a->width != 0;
}

bool network_parse(const char *text, struct network *n, bool *loose)
{
    int64_t bits;
    size_t len = strcspn(text, "/");
    *loose = false;
    if (!network_address(text, len, n))
        return false;
    if (text[len] == '\0')
        return true;
    bool mapped = n->width == V4 && memchr(text, ':', len) != NULL;
    if (!units_number(text + len + 1, &bits) || bits < (mapped ? MAPPED : 0) ||
        bits > (mapped ? V6 : n->width))
        return false;
    n->bits = (uint8_t)(bits - (mapped ? MAPPED : 0));
    *loose = mask(n);
    return true;
}

bool network_has(const struct network *n, const struct network *address)
{
    struct network masked = *address;
    if (address->width == 0 || address->width != n->width)
        return false;
    masked.bits = n->bits;
    (void)mask(&masked);
    return memcmp(masked.bytes, n->bytes, sizeof(n->bytes)) == 0;
}

void network_text(const struct network *n, char text[NETWORK_TEXT])
{
    char address[INET6_ADDRSTRLEN] = "";
    if (n->width != 0)
        (void)inet_ntop(n->width == V4 ? AF_INET : AF_INET6, n->bytes, address, sizeof(address));
    if (n->bits < n->width)
        (void)snprintf(text, NETWORK_TEXT, "%s/%u", address, n->bits);
    else
        (void)snprintf(text, NETWORK_TEXT, "%s", address);
}
