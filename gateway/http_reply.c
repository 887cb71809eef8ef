/* http_reply.c - see http_reply.h.
 *
 * http_reply_head() is on the way of every request: it reserves once for the longest head there can be and
 * then copies prepared pieces. */
#include "http_reply.h"

#include <string.h>
#include <strings.h>

#include "ascii.h"
#include "http_date.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Phrases of RFC 9110 15 and the IANA registry, by number. Text in rows, not pointers: nothing to relocate.
 */
static const struct phrase {
    uint16_t status;
    char text[32];
} phrases[] = {
    {100, "Continue"                       },
    {101, "Switching Protocols"            },
    {200, "OK"                             },
    {201, "Created"                        },
    {202, "Accepted"                       },
    {203, "Non-Authoritative Information"  },
    {204, "No Content"                     },
    {205, "Reset Content"                  },
    {206, "Partial Content"                },
    {207, "Multi-Status"                   },
    {208, "Already Reported"               },
    {226, "IM Used"                        },
    {300, "Multiple Choices"               },
    {301, "Moved Permanently"              },
    {302, "Found"                          },
    {303, "See Other"                      },
    {304, "Not Modified"                   },
    {305, "Use Proxy"                      },
    {307, "Temporary Redirect"             },
    {308, "Permanent Redirect"             },
    {400, "Bad Request"                    },
    {401, "Unauthorized"                   },
    {402, "Payment Required"               },
    {403, "Forbidden"                      },
    {404, "Not Found"                      },
    {405, "Method Not Allowed"             },
    {406, "Not Acceptable"                 },
    {407, "Proxy Authentication Required"  },
    {408, "Request Timeout"                },
    {409, "Conflict"                       },
    {410, "Gone"                           },
    {411, "Length Required"                },
    {412, "Precondition Failed"            },
    {413, "Content Too Large"              },
    {414, "URI Too Long"                   },
    {415, "Unsupported Media Type"         },
    {416, "Range Not Satisfiable"          },
    {417, "Expectation Failed"             },
    {418, "I'm a teapot"                   },
    {421, "Misdirected Request"            },
    {422, "Unprocessable Content"          },
    {423, "Locked"                         },
    {424, "Failed Dependency"              },
    {425, "Too Early"                      },
    {426, "Upgrade Required"               },
    {428, "Precondition Required"          },
    {429, "Too Many Requests"              },
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"  },
    {500, "Internal Server Error"          },
    {501, "Not Implemented"                },
    {502, "Bad Gateway"                    },
    {503, "Service Unavailable"            },
    {504, "Gateway Timeout"                },
    {505, "HTTP Version Not Supported"     },
    {506, "Variant Also Negotiates"        },
    {507, "Insufficient Storage"           },
    {508, "Loop Detected"                  },
    {511, "Network Authentication Required"},
};

const char *http_reason(unsigned status)
{
    size_t low = 0, high = COUNT(phrases);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (phrases[middle].status == status)
            return phrases[middle].text;
        if (phrases[middle].status < status)
            low = middle + 1;
        else
            high = middle;
    }
    return "Unknown";
}

bool http_reply_drops(const char *name, size_t len)
{
    static const struct {
        uint8_t len;
        char name[18];
    } dropped[] = {
        {10, "Connection"       },
        {10, "Keep-Alive"       },
        {16, "Proxy-Connection" },
        {2,  "TE"               },
        {7,  "Trailer"          },
        {17, "Transfer-Encoding"},
        {7,  "Upgrade"          },
        {14, "Content-Length"   },
    };
    for (size_t i = 0; i < COUNT(dropped); i++)
        if (dropped[i].len == len && strncasecmp(dropped[i].name, name, len) == 0)
            return true;
    return false;
}

/* ---- date ---- */

enum { DATE_LINE = 37 }; /* "Date: ", 29 bytes, CRLF */

/* The Date line of this second; written anew once a second. The only state of this file. */
static const char *date_line(time_t now)
{
    static time_t written = -1;
    static char line[DATE_LINE + 1];
    if (now != written) {
        memcpy(line, "Date: ", 6);
        http_date(now, line + 6);
        memcpy(line + DATE_LINE - 2, "\r\n", 2);
        written = now;
    }
    return line;
}

/* ---- head ---- */

/* Room for everything in a head whose length is not an argument: status line with the longest phrase 46, Date
 * 37, Content-Length 38, Connection 24, the names and line ends of Server and the id 14, the empty line 2. */
enum { HEAD_FIXED = 192 };

#define PUT_TEXT(at, text) put((at), (text), sizeof(text) - 1)

static char *put(char *at, const void *text, size_t n)
{
    memcpy(at, text, n);
    return at + n;
}

static char *put_field(char *at, const char *name, const char *value)
{
    at = put(at, name, strlen(name));
    at = PUT_TEXT(at, ": ");
    at = put(at, value, strlen(value));
    return PUT_TEXT(at, "\r\n");
}

static char *put_length(char *at, uint64_t length)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + length % 10);
        length /= 10;
    } while (length != 0);
    at = PUT_TEXT(at, "Content-Length: ");
    at = put(at, digits + i, sizeof(digits) - i);
    return PUT_TEXT(at, "\r\n");
}

static char *put_status_line(char *at, const struct http_reply *reply, const char *reason, size_t reason_len)
{
    at = PUT_TEXT(at, "HTTP/1.1 ");
    *at++ = (char)('0' + reply->status / 100);
    *at++ = (char)('0' + reply->status / 10 % 10);
    *at++ = (char)('0' + reply->status % 10);
    *at++ = ' ';
    at = put(at, reason, reason_len);
    return PUT_TEXT(at, "\r\n");
}

/* RFC 9112 6.3, as seen by the one who writes. */
static enum http_framing choose_framing(const struct http_reply *reply)
{
    if (reply->head_request || reply->status < 200 || reply->status == 204 || reply->status == 304)
        return HTTP_FRAMING_NONE;
    if (reply->content_length >= 0)
        return HTTP_FRAMING_LENGTH;
    return reply->minor >= 1 ? HTTP_FRAMING_CHUNKED : HTTP_FRAMING_CLOSE;
}

/* Content-Length also tells what a GET would have brought (RFC 9110 8.6), but never goes with 1xx and 204. */
static char *put_framing(char *at, const struct http_reply *reply, enum http_framing framing, bool keep_alive)
{
    if (reply->content_length >= 0 && reply->status >= 200 && reply->status != 204)
        at = put_length(at, (uint64_t)reply->content_length);
    if (framing == HTTP_FRAMING_CHUNKED)
        at = PUT_TEXT(at, "Transfer-Encoding: chunked\r\n");
    if (!keep_alive)
        at = PUT_TEXT(at, "Connection: close\r\n");
    else if (reply->minor == 0)
        at = PUT_TEXT(at, "Connection: keep-alive\r\n");
    return at;
}

/* Whether `fields` holds a line of this name. */
static bool has_field(const struct http_reply *reply, const char *name)
{
    size_t n = strlen(name), left;
    const char *line = reply->fields;
    for (left = reply->fields_len; left > n; left = reply->fields_len - (size_t)(line - reply->fields)) {
        if (line[n] == ':' && strncasecmp(line, name, n) == 0)
            return true;
        line = (const char *)memchr(line, '\n', left) + 1;
    }
    return false;
}

bool http_reply_head(struct buf *out, const struct http_reply *reply, enum http_framing *framing,
                     bool *keep_alive)
{
    bool own = reply->reason != NULL && reply->reason_len > 0;
    const char *reason = own ? reply->reason : http_reason(reply->status);
    size_t reason_len = own ? reply->reason_len : strlen(reason);
    size_t most = HEAD_FIXED + reason_len + reply->fields_len;
    bool server = reply->server != NULL && !reply->has_server;
    if (server)
        most += strlen(reply->server);
    bool id = reply->id_name != NULL && !has_field(reply, reply->id_name);
    if (id)
        most += strlen(reply->id_name) + strlen(reply->id);
    if (reply->timing != NULL)
        most += strlen("Server-Timing: \r\n") + strlen(reply->timing);
    if (!buf_reserve(out, most))
        return false;

    *framing = choose_framing(reply);
    *keep_alive = reply->keep_alive && *framing != HTTP_FRAMING_CLOSE;
    char *at = put_status_line(out->data + out->len, reply, reason, reason_len);
    if (!reply->has_date)
        at = put(at, date_line(reply->now), DATE_LINE);
    if (server)
        at = put_field(at, "Server", reply->server);
    if (reply->fields_len > 0)
        at = put(at, reply->fields, reply->fields_len);
    if (id)
        at = put_field(at, reply->id_name, reply->id);
    if (reply->timing != NULL)
        at = put_field(at, "Server-Timing", reply->timing);
    at = put_framing(at, reply, *framing, *keep_alive);
    at = PUT_TEXT(at, "\r\n");
    out->len = (uint32_t)(at - out->data);
    return true;
}

/* ---- error bodies ---- */

/* Appends text that came from outside: control bytes but HTAB and LF as '?', and what HTML gives a meaning
 * escaped. */
static bool put_escaped(struct buf *out, const char *text, bool html)
{
    static const struct {
        char c;
        char entity[7];
    } entities[] = {
        {'&',  "&amp;" },
        {'<',  "&lt;"  },
        {'>',  "&gt;"  },
        {'"',  "&quot;"},
        {'\'', "&#39;" },
    };
    for (; *text != '\0'; text++) {
        const char *entity = NULL;
        for (size_t i = 0; html && i < COUNT(entities); i++)
            if (entities[i].c == *text)
                entity = entities[i].entity;
        bool control = ((uint8_t)*text < ' ' && *text != '\t' && *text != '\n') || *text == 0x7f;
        if (!(entity ? buf_puts(out, entity) : buf_putc(out, control ? '?' : *text)))
            return false;
    }
    return true;
}

static bool put_status(struct buf *out, unsigned status)
{
    return buf_put_uint(out, status) && buf_putc(out, ' ') && buf_puts(out, http_reason(status));
}

/* `before`, the text, `behind`; nothing at all without a text. */
static bool put_part(struct buf *out, const char *before, const char *text, const char *behind, bool html)
{
    if (text == NULL)
        return true;
    return buf_puts(out, before) && put_escaped(out, text, html) && buf_puts(out, behind);
}

static bool put_html(struct buf *out, unsigned status, const char *detail, const char *id)
{
    return buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>") &&
           put_status(out, status) && buf_puts(out, "</title>\n<h1>") && put_status(out, status) &&
           buf_puts(out, "</h1>\n") && put_part(out, "<pre>", detail, "</pre>\n", true) &&
           put_part(out, "<p>id ", id, "</p>\n", true) && buf_puts(out, "</html>\n");
}

static bool put_plain(struct buf *out, unsigned status, const char *detail, const char *id)
{
    return put_status(out, status) && put_part(out, ": ", detail, "", false) &&
           put_part(out, " (id ", id, ")", false) && buf_putc(out, '\n');
}

bool http_reply_error_body(struct buf *out, unsigned status, const char *detail, const char *id, bool html)
{
    uint32_t before = out->len;
    if (html ? put_html(out, status, detail, id) : put_plain(out, status, detail, id))
        return true;
    out->len = before;
    return false;
}

/* ---- Accept ---- */

/* A weight in thousandths (RFC 9110 12.4.2): "0.5" is 500; what is no weight counts as 0. */
static int parse_weight(const char *text, size_t n)
{
    if (n == 0 || n > 5 || (text[0] != '0' && text[0] != '1') || (n > 1 && text[1] != '.'))
        return 0;
    int weight = (text[0] - '0') * 1000;
    for (size_t i = 2, unit = 100; i < n; i++, unit /= 10) {
        if (!is_digit(text[i]))
            return 0;
        weight += (text[i] - '0') * (int)unit;
    }
    return weight <= 1000 ? weight : 0;
}

/* The weight among the parameters at..end of a media range; 1000 without one. */
static int find_weight(const char *at, const char *end)
{
    const char *parameter;
    size_t n;
    while (next_element(&at, end, ';', &parameter, &n))
        if (n >= 2 && (parameter[0] | 0x20) == 'q' && parameter[1] == '=')
            return parse_weight(parameter + 2, n - 2);
    return 1000;
}

/* Steps through the media ranges or codings of a list, each with its weight. */
static bool next_weighted(const char **at, const char *end, const char **name, size_t *n, int *weight)
{
    const char *rest;
    size_t len;
    if (!next_element(at, end, ',', &rest, &len))
        return false;
    const char *stop = rest + len;
    (void)next_element(&rest, stop, ';', name, n);
    *weight = find_weight(rest, stop);
    return true;
}

int http_accept_weight(const char *value, size_t len, const char *name)
{
    const char *at = value, *own;
    size_t n, name_len = strlen(name);
    int weight;
    while (next_weighted(&at, value + len, &own, &n, &weight))
        if (n == name_len && strncasecmp(own, name, n) == 0)
            return weight;
    return -1;
}

bool http_accept_prefers_html(const char *value, size_t len)
{
    enum { HTML, PLAIN, ANY_TEXT, ANY, RANGES };
    static const char ranges[RANGES][11] = {"text/html", "text/plain", "text/*", "*/*"};
    int weights[RANGES] = {-1, -1, -1, 0}, weight; /* -1: not named, the next wider one holds */
    const char *at = value, *type;
    size_t n;
    while (next_weighted(&at, value + len, &type, &n, &weight))
        for (size_t i = 0; i < RANGES; i++)
            if (n == strlen(ranges[i]) && strncasecmp(type, ranges[i], n) == 0)
                weights[i] = weight;
    int any = weights[ANY_TEXT] >= 0 ? weights[ANY_TEXT] : weights[ANY];
    int html = weights[HTML] >= 0 ? weights[HTML] : any;
    int plain = weights[PLAIN] >= 0 ? weights[PLAIN] : any;
    return html > plain;
}
