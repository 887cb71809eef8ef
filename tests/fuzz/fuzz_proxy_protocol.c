/* fuzz_proxy_protocol.c - any bytes as the start of a connection: nothing is said before the header's last
 * byte, what follows it changes nothing, and a verdict once given stays. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* In an allocation of exactly its size. */
static enum http_parse parse(const uint8_t *data, size_t size, struct proxy_protocol *header)
{
    char *copy = malloc(size + (size == 0));
    check(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    enum http_parse result = proxy_protocol_parse(copy, size, header);
    free(copy);
    return result;
}

static void check_header(const struct proxy_protocol *h, size_t size)
{
    char text[NETWORK_TEXT];
    struct network again;
    check(h->size > 0 && h->size <= size && h->size <= PROXY_PROTOCOL_MAX);
    check(h->source.width == 0 || h->source.width == 32 || h->source.width == 128);
    check(h->source.bits == h->source.width);
    if (h->source.width == 0)
        return;
    network_text(&h->source, text);
    check(network_address(text, strlen(text), &again));
    check(again.width == h->source.width && memcmp(again.bytes, h->source.bytes, sizeof(again.bytes)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_protocol whole, part;
    enum http_parse result = parse(data, size, &whole);
    if (result == HTTP_DONE)
        check_header(&whole, size);
    enum http_parse before = HTTP_MORE;
    for (size_t n = 0; n <= size; n++) {
        enum http_parse now = parse(data, n, &part);
        check(before == HTTP_MORE || now == before);
        check(now != HTTP_DONE || (n >= whole.size && part.size == whole.size && part.port == whole.port &&
                                   memcmp(&part.source, &whole.source, sizeof(part.source)) == 0));
        check(result != HTTP_DONE || n >= whole.size || now == HTTP_MORE);
        before = now;
    }
    check(before == result);
    return 0;
}
