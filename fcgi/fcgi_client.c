/* fcgi_client.c - see fcgi_client.h. One step per state takes what it can of the data:
 *
 *     HEADER --+--> CONTENT --+--> PADDING --+--> HEADER      what is empty is not entered
 *              +--> STATUS  --+              |
 *              +--> SKIP    --+              +--> END_REQUEST is told here, so that what the data still holds
 *              +--> BROKEN, for ever              behind it is the start of another record
 */
#include "fcgi_client.h"

#include <fastcgi.h>
#include <string.h>

enum state {
    STATE_HEADER,
    STATE_CONTENT, /* of STDOUT or STDERR: handed out piece by piece */
    STATE_STATUS,  /* of END_REQUEST: gathered in `header` */
    STATE_SKIP,    /* of a management record */
    STATE_PADDING,
    STATE_BROKEN
};

_Static_assert(sizeof(FCGI_EndRequestBody) == FCGI_RECORD_HEADER, "both are gathered in the same 8 bytes");

void fcgi_client_init(struct fcgi_client *c)
{
    *c = (struct fcgi_client){.state = STATE_HEADER};
}

void fcgi_client_begin(struct fcgi_client *c, uint16_t id)
{
    c->id = id;
    c->stdout_ended = false;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void record_end(struct fcgi_client *c, struct fcgi_event *event)
{
    c->state = STATE_HEADER;
    c->have = 0;
    if (c->type != FCGI_END_REQUEST)
        return;
    const uint8_t *body = c->header;
    event->type = FCGI_EVENT_END;
    event->app_status = (uint32_t)body[0] << 24 | (uint32_t)body[1] << 16 | (uint32_t)body[2] << 8 | body[3];
    event->protocol_status = body[4];
    c->id = 0;
}

static void content_end(struct fcgi_client *c, struct fcgi_event *event)
{
    if (c->padding > 0)
        c->state = STATE_PADDING;
    else
        record_end(c, event);
}

/* What is wrong with a record of an application type (1 to 8); NULL: nothing. */
static const char *application_error(const struct fcgi_client *c, uint16_t id)
{
    if (id == 0)
        return "application record with request id 0";
    if (c->id == 0)
        return "record outside of a request";
    if (id != c->id)
        return "record of another request";
    switch (c->type) {
    case FCGI_STDOUT:
        return c->stdout_ended && c->content > 0 ? "STDOUT after its end" : NULL;
    case FCGI_STDERR:
        return NULL;
    case FCGI_END_REQUEST:
        return c->content == sizeof(FCGI_EndRequestBody) ? NULL : "END_REQUEST of a wrong length";
    default:
        return "record type that only a web server sends";
    }
}

/* The same for every record. Management types are those above DATA, known or not; they carry id 0
 * (section 3.3). */
static const char *header_error(const struct fcgi_client *c, uint16_t id)
{
    if (c->header[0] != FCGI_VERSION_1)
        return "not FastCGI version 1";
    if (c->type >= FCGI_BEGIN_REQUEST && c->type <= FCGI_DATA)
        return application_error(c, id);
    return id == 0 ? NULL : "management record with a request id";
}

static uint8_t content_state(uint8_t type)
{
    switch (type) {
    case FCGI_STDOUT:
    case FCGI_STDERR:
        return STATE_CONTENT;
    case FCGI_END_REQUEST:
        return STATE_STATUS;
    default:
        return STATE_SKIP;
    }
}

static void header_done(struct fcgi_client *c, struct fcgi_event *event)
{
    const uint8_t *h = c->header;
    uint16_t id = (uint16_t)(h[2] << 8 | h[3]);
    c->type = h[1];
    c->content = (uint32_t)h[4] << 8 | h[5];
    c->padding = h[6];
    event->reason = header_error(c, id);
    if (event->reason != NULL) {
        event->type = FCGI_EVENT_BAD;
        c->state = STATE_BROKEN;
        return;
    }
    c->have = 0;
    if (c->content > 0) {
        c->state = content_state(c->type);
        return;
    }
    /* libfcgi ends STDOUT once more when the worker had ended it before FCGX_Finish_r: told only once. */
    if (c->type == FCGI_STDOUT && !c->stdout_ended) {
        c->stdout_ended = true;
        event->type = FCGI_EVENT_STDOUT_END;
    }
    content_end(c, event);
}

/* Moves bytes to `header`; true when all 8 are there. */
static bool gather(struct fcgi_client *c, const uint8_t *data, size_t len, size_t *taken)
{
    *taken = smaller(len, FCGI_RECORD_HEADER - (size_t)c->have);
    memcpy(c->header + c->have, data, *taken);
    c->have = (uint8_t)(c->have + *taken);
    return c->have == FCGI_RECORD_HEADER;
}

static size_t step_header(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    size_t taken;
    if (gather(c, data, len, &taken))
        header_done(c, event);
    return taken;
}

static size_t step_status(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    size_t taken;
    if (gather(c, data, len, &taken))
        content_end(c, event);
    return taken;
}

static size_t step_skip(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    (void)data;
    size_t taken = smaller(len, c->content);
    c->content -= (uint32_t)taken;
    if (c->content == 0)
        content_end(c, event);
    return taken;
}

static size_t step_content(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    event->type = c->type == FCGI_STDOUT ? FCGI_EVENT_STDOUT : FCGI_EVENT_STDERR;
    event->data = data;
    event->len = step_skip(c, data, len, event);
    return event->len;
}

static size_t step_padding(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    (void)data;
    size_t taken = smaller(len, c->padding);
    c->padding -= (uint32_t)taken;
    if (c->padding == 0)
        record_end(c, event);
    return taken;
}

static size_t step_broken(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    (void)c;
    (void)data;
    (void)len;
    event->type = FCGI_EVENT_BAD;
    event->reason = "data after an error";
    return 0;
}

static size_t (*const steps[])(struct fcgi_client *, const uint8_t *, size_t, struct fcgi_event *) = {
    [STATE_HEADER] = step_header, [STATE_CONTENT] = step_content, [STATE_STATUS] = step_status,
    [STATE_SKIP] = step_skip,     [STATE_PADDING] = step_padding, [STATE_BROKEN] = step_broken,
};

size_t fcgi_client_next(struct fcgi_client *c, const uint8_t *data, size_t len, struct fcgi_event *event)
{
    size_t taken = 0;
    *event = (struct fcgi_event){.type = FCGI_EVENT_MORE};
    while (taken < len && event->type == FCGI_EVENT_MORE)
        taken += steps[c->state](c, data + taken, len - taken, event);
    return taken;
}
