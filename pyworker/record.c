/* record.c - FastCGI records (specification 1.0, section 3.3).
 *
 * message_inspect() looks at what a connection holds (by MSG_PEEK) before libfcgi reads it, for four
 * reasons: libfcgi overruns a stack buffer on a GET_VALUES with repeated names; it aborts the process when it
 * cannot allocate what the length of a parameter says; it blocks until a head is complete; and the role
 * and the id are needed to refuse a request without reading it. */
#include "record.h"

#include <stdio.h>
#include <string.h>
#include <fastcgi.h>

enum {
    MANAGEMENT_CONTENT_MAX = 1024,   /* the three known names take 48 bytes */
    PARAMETER_MAX = 4 * 1024 * 1024, /* bytes of a name and its value */
    LENGTH_LONG = 4                  /* bytes of a length from 128 on */
};

struct record {
    uint8_t type;
    uint16_t id;
    size_t content;
    size_t len; /* header, content and padding */
};

void record_put_header(uint8_t out[RECORD_HEADER], uint8_t type, uint16_t id, size_t content)
{
    out[0] = FCGI_VERSION_1;
    out[1] = type;
    out[2] = (uint8_t)(id >> 8);
    out[3] = (uint8_t)id;
    out[4] = (uint8_t)(content >> 8);
    out[5] = (uint8_t)content;
    out[6] = 0;
    out[7] = 0;
}

void record_put_end(uint8_t out[RECORD_END], uint16_t id, uint32_t app_status, uint8_t protocol_status)
{
    record_put_header(out, FCGI_END_REQUEST, id, sizeof(FCGI_EndRequestBody));
    memset(out + RECORD_HEADER, 0, sizeof(FCGI_EndRequestBody));
    out[8] = (uint8_t)(app_status >> 24);
    out[9] = (uint8_t)(app_status >> 16);
    out[10] = (uint8_t)(app_status >> 8);
    out[11] = (uint8_t)app_status;
    out[12] = protocol_status;
}

static struct record record_header(const uint8_t *p)
{
    struct record r = {
        .type = p[1], .id = (uint16_t)(p[2] << 8 | p[3]), .content = (size_t)(p[4] << 8 | p[5])};
    r.len = RECORD_HEADER + r.content + p[6];
    return r;
}

size_t record_rest(const uint8_t header[RECORD_HEADER], bool *last)
{
    struct record r = record_header(header);
    *last = r.type == FCGI_PARAMS && r.content == 0;
    return r.len - RECORD_HEADER;
}

static enum message_kind inspect_management(const struct record *r, size_t len, struct message *m)
{
    if (r->type == FCGI_BEGIN_REQUEST || r->content > MANAGEMENT_CONTENT_MAX)
        return MESSAGE_BAD;
    m->len = r->len;
    return r->len <= len ? MESSAGE_MANAGEMENT : MESSAGE_MORE;
}

/* Where a walk over parameters stands: in the two lengths of one, or before `rest` bytes of it. */
struct parameters {
    uint8_t lengths[2 * LENGTH_LONG];
    size_t have;
    size_t rest;
};

static size_t length_size(uint8_t first)
{
    return first < 0x80 ? 1 : LENGTH_LONG;
}

static size_t length_at(const uint8_t *p)
{
    return *p < 0x80 ? *p
                     : (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | (size_t)p[3];
}

/* One more byte of the two lengths; false: what they say is more than a parameter may have. */
static bool parameters_length(struct parameters *p, uint8_t byte)
{
    p->lengths[p->have++] = byte;
    size_t name = length_size(p->lengths[0]);
    if (p->have <= name || p->have < name + length_size(p->lengths[name]))
        return true;
    p->rest = length_at(p->lengths) + length_at(p->lengths + name);
    p->have = 0;
    return p->rest <= PARAMETER_MAX;
}

/* The next piece of the stream, however it is cut; false as above. */
static bool parameters_take(struct parameters *p, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t n = p->rest < len ? p->rest : len;
        p->rest -= n;
        if (n == 0 && !parameters_length(p, *data))
            return false;
        n += n == 0;
        data += n;
        len -= n;
    }
    return true;
}

/* Walks records of request `m->id` and type `type` from `*at` to the empty one. An empty PARAMS with padding
 * is BAD: libfcgi forgets that padding and would read it as a header. */
static enum message_kind inspect_stream(const uint8_t *data, size_t len, size_t *at, uint8_t type,
                                        uint16_t id)
{
    struct parameters parameters = {.have = 0};
    while (*at + RECORD_HEADER <= len) {
        struct record r = record_header(data + *at);
        bool last = r.content == 0;
        if (data[*at] != FCGI_VERSION_1 || r.type != type || r.id != id || (last && r.len > RECORD_HEADER))
            return MESSAGE_BAD;
        size_t seen = len - *at - RECORD_HEADER;
        if (type == FCGI_PARAMS &&
            !parameters_take(&parameters, data + *at + RECORD_HEADER, r.content < seen ? r.content : seen))
            return MESSAGE_BAD;
        *at += r.len;
        if (last)
            return MESSAGE_REQUEST;
    }
    return MESSAGE_MORE;
}

enum message_kind message_inspect(const uint8_t *data, size_t len, struct message *m)
{
    *m = (struct message){0};
    if (len > 0 && data[0] != FCGI_VERSION_1)
        return MESSAGE_BAD;
    if (len < RECORD_HEADER)
        return MESSAGE_MORE;
    struct record r = record_header(data);
    if (r.id == FCGI_NULL_REQUEST_ID)
        return inspect_management(&r, len, m);
    if (r.type != FCGI_BEGIN_REQUEST || r.content != sizeof(FCGI_BeginRequestBody))
        return MESSAGE_BAD;
    if (len < RECORD_HEADER + sizeof(FCGI_BeginRequestBody))
        return MESSAGE_MORE;
    m->id = r.id;
    m->role = (uint16_t)(data[8] << 8 | data[9]);

    size_t at = r.len;
    enum message_kind kind = inspect_stream(data, len, &at, FCGI_PARAMS, r.id);
    if (kind == MESSAGE_REQUEST) {
        m->head = at;
        /* What is wrong with STDIN is found, and told to the app, when it is read. */
        m->whole = inspect_stream(data, len, &at, FCGI_STDIN, r.id) == MESSAGE_REQUEST;
        m->len = at;
    }
    return kind;
}

/* Whether the names of a GET_VALUES record hold `name`. A length of 128 or more (four bytes) is no name of
 * ours. */
static bool values_has(const uint8_t *p, size_t len, const char *name)
{
    while (len >= 2 && p[0] < 0x80 && p[1] < 0x80 && (size_t)p[0] + p[1] + 2 <= len) {
        if (p[0] == strlen(name) && memcmp(p + 2, name, p[0]) == 0)
            return true;
        size_t pair = (size_t)p[0] + p[1] + 2;
        p += pair;
        len -= pair;
    }
    return false;
}

static size_t values_put(uint8_t *out, const char *name, unsigned value)
{
    char digits[16];
    int n = snprintf(digits, sizeof(digits), "%u", value);
    size_t name_len = strlen(name);
    size_t value_len = (size_t)n;

    out[0] = (uint8_t)name_len;
    out[1] = (uint8_t)value_len;
    memcpy(out + 2, name, name_len);
    memcpy(out + 2 + name_len, digits, value_len);
    return 2 + name_len + value_len;
}

size_t message_reply(const uint8_t *record, size_t len, unsigned conns, unsigned requests,
                     uint8_t out[RECORD_REPLY_MAX])
{
    struct record r = record_header(record);
    if (r.type != FCGI_GET_VALUES) {
        record_put_header(out, FCGI_UNKNOWN_TYPE, FCGI_NULL_REQUEST_ID, sizeof(FCGI_UnknownTypeBody));
        memset(out + RECORD_HEADER, 0, sizeof(FCGI_UnknownTypeBody));
        out[RECORD_HEADER] = r.type;
        return RECORD_HEADER + sizeof(FCGI_UnknownTypeBody);
    }
    const struct {
        const char *name;
        unsigned value;
    } known[] = {
        {FCGI_MAX_CONNS,  conns   },
        {FCGI_MAX_REQS,   requests},
        {FCGI_MPXS_CONNS, 0       }
    };
    size_t at = RECORD_HEADER;
    size_t content = r.content <= len - RECORD_HEADER ? r.content : len - RECORD_HEADER;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (values_has(record + RECORD_HEADER, content, known[i].name))
            at += values_put(out + at, known[i].name, known[i].value);
    record_put_header(out, FCGI_GET_VALUES_RESULT, FCGI_NULL_REQUEST_ID, at - RECORD_HEADER);
    return at;
}
