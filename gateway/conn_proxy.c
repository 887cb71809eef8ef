/* conn_proxy.c - see conn_proxy.h. */
#include "conn_proxy.h"

#include "memory.h"
#include "proxy_protocol.h"

/* The PROXY header is whole; what follows it is HTTP. */
static void on_proxy_header(struct conn *c, const struct proxy_protocol *header)
{
    struct request *r = c->request;
    client_proxied(&c->peer, c->pool->forwarded, header);
    buf_consume(&r->in, header->size);
    r->began = timeq_clock();
    if (r->in.len > 0)
        conn_state_move(c, CONN_HEAD);
    else
        conn_state_rest(c);
}

bool conn_proxy_step(struct conn *c)
{
    struct proxy_protocol header;
    size_t n;
    int got = conn_state_receive(c, memory_scratch, PROXY_PROTOCOL_MAX, &n);
    if (got <= 0)
        return conn_state_nothing(c, got);
    if (c->request == NULL && !conn_state_open(c))
        return true;
    if (!buf_put(&c->request->in, memory_scratch, n)) {
        conn_state_abandon(c);
        return true;
    }
    switch (proxy_protocol_parse(c->request->in.data, c->request->in.len, &header)) {
    case HTTP_DONE:
        on_proxy_header(c, &header);
        return true;
    case HTTP_BAD:
        client_unproxied(&c->peer);
        conn_state_abandon(c);
        return true;
    case HTTP_MORE:
        break;
    }
    return false;
}
