/* test_http_head.c - every request of the tables is parsed whole, byte by byte and at every split point, each
 * time from a fresh copy that ends at an unreadable page: the verdict has to be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "http_head.h"
#include "http_path.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(text)  (text), sizeof(text) - 1
#define LINE         "GET / HTTP/1.1\r\n"
#define HOST         "Host: a\r\n"
#define POST         "POST / HTTP/1.1\r\nHost: a\r\n"
#define OLD          "POST / HTTP/1.0\r\n"
#define END          "\r\n"
#define TEN(text)    text text text text text text text text text text

static const struct http_head_limits limits = {.request_line = 200, .size = 2000, .field_count = 12};

/* ---- one request, cut in every way ---- */

/* The padding too, so that two of them can be compared as bytes. */
static void begin(struct http_head *h)
{
    memset(h, 0, sizeof(*h));
    http_head_init(h);
}

static enum http_parse feed(struct http_head *h, const char *data, size_t len,
                            const struct http_head_limits *max)
{
    char *copy = guard_copy(data, len);
    enum http_parse result = http_head_parse(h, copy, len, max);
    guard_free(copy, len);
    return result;
}

/* Only what a caller may look at: nothing private, and behind an error its reason alone. */
static void assert_same(enum http_parse result, const struct http_head *a, const struct http_head *b)
{
    if (result == HTTP_DONE)
        assert_memory_equal(a, b, offsetof(struct http_head, line));
    if (result == HTTP_BAD) {
        assert_int_equal(a->status, b->status);
        assert_string_equal(a->reason, b->reason);
    }
}

/* Feeds data[0..len) byte by byte; *taken is how many bytes it took to come to the verdict. */
static enum http_parse feed_bytes(struct http_head *h, const char *data, size_t len,
                                  const struct http_head_limits *max, size_t *taken)
{
    enum http_parse result = HTTP_MORE;
    begin(h);
    for (*taken = 0; result == HTTP_MORE && *taken < len;)
        result = feed(h, data, ++*taken, max);
    return result;
}

static enum http_parse parse_with(struct http_head *h, const char *data, size_t len,
                                  const struct http_head_limits *max)
{
    struct http_head other;
    size_t taken;
    begin(h);
    enum http_parse result = feed(h, data, len, max);
    assert_int_equal(feed_bytes(&other, data, len, max, &taken), result);
    assert_same(result, h, &other);
    for (size_t split = 0; split <= len; split++) {
        begin(&other);
        enum http_parse first = feed(&other, data, split, max);
        if (first == HTTP_MORE)
            first = feed(&other, data, len, max);
        assert_int_equal(first, result);
        assert_same(result, h, &other);
    }
    return result;
}

static enum http_parse parse(struct http_head *h, const char *data, size_t len)
{
    return parse_with(h, data, len, &limits);
}

static void assert_slice(const char *data, struct slice slice, const char *expected)
{
    assert_int_equal(slice.len, strlen(expected));
    assert_memory_equal(data + slice.off, expected, slice.len);
}

/* ---- what is refused ---- */

struct refused {
    const char *data;
    size_t len;
    unsigned status;
    const char *reason;
};

static const struct refused refused_lines[] = {
    {BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),     400, "this is not HTTP"                            },
    {BYTES("\0"),                                               400, "this is not HTTP"                            },
    {BYTES(" GET / HTTP/1.1\r\n"),                              400, "this is not HTTP"                            },
    {BYTES("\r\n\r\nGET / HTTP/1.1\r\n"),                       400, "this is not HTTP"                            },
    {BYTES("\n" LINE),                                          400, "bare LF"                                     },
    {BYTES("\rGET / HTTP/1.1\r\n"),                             400, "this is not HTTP"                            },
    {BYTES("\r\r\n" LINE),                                      400, "this is not HTTP"                            },
    {BYTES("GET\t/ HTTP/1.1\r\n"),                              400, "this is not HTTP"                            },
    {BYTES("GET\r\n"),                                          400, "this is not HTTP"                            },
    {BYTES("GET\n"),                                            400, "bare LF"                                     },
    {BYTES("G\x80T / HTTP/1.1\r\n"),                            400, "this is not HTTP"                            },
    {BYTES("G(T / HTTP/1.1\r\n"),                               400, "this is not HTTP"                            },
    {BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n"), 400, "the method is too long"                      },
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),                 505, "only HTTP/1.0 and HTTP/1.1 are spoken here"  },
    {BYTES("GET / HTTP/1.2\r\n"),                               505, "only HTTP/1.0 and HTTP/1.1 are spoken here"  },
    {BYTES("GET / HTTP/0.9\r\n"),                               505, "only HTTP/1.0 and HTTP/1.1 are spoken here"  },
    {BYTES("GET / HTTP/3.1\r\n"),                               505, "only HTTP/1.0 and HTTP/1.1 are spoken here"  },
    {BYTES("GET /\r\n"),                                        400, "no HTTP version"                             },
    {BYTES("GET /\n"),                                          400, "bare LF"                                     },
    {BYTES("GET \r\n"),                                         400, "no HTTP version"                             },
    {BYTES("GET / HTTP/1.1\n"),                                 400, "bare LF"                                     },
    {BYTES("GET / \r\n"),                                       400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/1.1 \r\n"),                              400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/1.1\r\r\n"),                             400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/1.10\r\n"),                              400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/11\r\n"),                                400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/2\r\n"),                                 400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/1,1\r\n"),                               400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/x.1\r\n"),                               400, "malformed HTTP version"                      },
    {BYTES("GET / HTTP/1.x\r\n"),                               400, "malformed HTTP version"                      },
    {BYTES("GET / http/1.1\r\n"),                               400, "malformed HTTP version"                      },
    {BYTES("GET / ICY/1.1a\r\n"),                               400, "malformed HTTP version"                      },
    {BYTES("GET / x HTTP/1.1\r\n"),                             400, "malformed HTTP version"                      },
    {BYTES("GET /  HTTP/1.1\r\n"),                              400, "malformed HTTP version"                      },
    {BYTES("GET  / HTTP/1.1\r\n"),                              400, "more than one space in the request line"     },
    {BYTES("GET /\t HTTP/1.1\r\n"),                             400, "control or non-ASCII byte in the target"     },
    {BYTES("GET /\0 HTTP/1.1\r\n"),                             400, "control or non-ASCII byte in the target"     },
    {BYTES("GET /\x7f HTTP/1.1\r\n"),                           400, "control or non-ASCII byte in the target"     },
    {BYTES("GET /\xc3\xa4 HTTP/1.1\r\n"),                       400, "control or non-ASCII byte in the target"     },
    {BYTES("GET /\rx HTTP/1.1\r\n"),                            400, "control or non-ASCII byte in the target"     },
    {BYTES("GET /a#b HTTP/1.1\r\n"),                            400, "raw '#' in the target"                       },
    {BYTES("CONNECT a:443 HTTP/1.1\r\n"),                       405, "CONNECT and TRACE are not served"            },
    {BYTES("TRACE / HTTP/1.1\r\n"),                             405, "CONNECT and TRACE are not served"            },
    {BYTES("GET * HTTP/1.1\r\n"),                               400, "the target * goes with OPTIONS only"         },
    {BYTES("OPTIONS ** HTTP/1.1\r\n"),                          400, "the target is neither a path nor an http URL"},
    {BYTES("GET a HTTP/1.1\r\n"),                               400, "the target is neither a path nor an http URL"},
    {BYTES("GET ?a HTTP/1.1\r\n"),                              400, "the target is neither a path nor an http URL"},
    {BYTES("GET ftp://a/ HTTP/1.1\r\n"),                        400, "the target is neither a path nor an http URL"},
    {BYTES("GET http:/a HTTP/1.1\r\n"),                         400, "the target is neither a path nor an http URL"},
    {BYTES("GET http:// HTTP/1.1\r\n"),                         400, "the target is neither a path nor an http URL"},
    {BYTES("GET http:/// HTTP/1.1\r\n"),                        400, "bad host in the target"                      },
    {BYTES("GET http://?a HTTP/1.1\r\n"),                       400, "bad host in the target"                      },
    {BYTES("GET http://u@a/ HTTP/1.1\r\n"),                     400, "bad host in the target"                      },
    {BYTES("GET http://a:65536/ HTTP/1.1\r\n"),                 400, "bad host in the target"                      },
    {BYTES("GET https://[::1/ HTTP/1.1\r\n"),                   400, "bad host in the target"                      },
};

static const struct refused refused_fields[] = {
    {BYTES(LINE " " HOST END),                                     400, "whitespace before the first field"   },
    {BYTES(LINE "\t" HOST END),                                    400, "whitespace before the first field"   },
    {BYTES(LINE HOST " folded\r\n" END),                           400, "folded field line"                   },
    {BYTES(LINE HOST "\tfolded: x\r\n" END),                       400, "folded field line"                   },
    {BYTES(LINE "Host : a\r\n" END),                               400, "whitespace in or behind a field name"},
    {BYTES(LINE HOST "A\t: a\r\n" END),                            400, "whitespace in or behind a field name"},
    {BYTES(LINE HOST "A b: a\r\n" END),                            400, "whitespace in or behind a field name"},
    {BYTES(LINE HOST ": a\r\n" END),                               400, "empty field name"                    },
    {BYTES(LINE HOST "nothing\r\n" END),                           400, "field line without a colon"          },
    {BYTES(LINE HOST "a\rb: c\r\n" END),                           400, "bad byte in a field name"            },
    {BYTES(LINE HOST "a\0b: c\r\n" END),                           400, "bad byte in a field name"            },
    {BYTES(LINE HOST "a\x01: c\r\n" END),                          400, "bad byte in a field name"            },
    {BYTES(LINE HOST "a\x7f: c\r\n" END),                          400, "bad byte in a field name"            },
    {BYTES(LINE HOST "\xe4: c\r\n" END),                           400, "bad byte in a field name"            },
    {BYTES(LINE HOST "a(b): c\r\n" END),                           400, "bad byte in a field name"            },
    {BYTES(LINE HOST "a=b: c\r\n" END),                            400, "bad byte in a field name"            },
    {BYTES(LINE HOST "\"a\": c\r\n" END),                          400, "bad byte in a field name"            },
    {BYTES(LINE HOST "A: b\0\r\n" END),                            400, "control byte in a field value"       },
    {BYTES(LINE HOST "A: 0123456789abcdef\x01"
                     "0123456789\r\n" END),
     400,                                                               "control byte in a field value"       },
    {BYTES(LINE HOST "A: 0123456789abcdef0123456789\x1f\r\n" END), 400, "control byte in a field value"       },
    {BYTES(LINE HOST "A: \x7f\r\n" END),                           400, "control byte in a field value"       },
    {BYTES(LINE HOST "A: 0123456789abc\x7f"
                     "def0123456789\r\n" END),
     400,                                                               "control byte in a field value"       },
    {BYTES(LINE HOST "A: b\rc\r\n" END),                           400, "control byte in a field value"       },
    {BYTES(LINE HOST "A: b\r\r\n" END),                            400, "control byte in a field value"       },
    {BYTES(LINE HOST "A: b\n" END),                                400, "bare LF"                             },
    {BYTES(LINE HOST "\n"),                                        400, "bare LF"                             },
    {BYTES(LINE HOST "\r\r\n"),                                    400, "bad byte in a field name"            },
    {BYTES(LINE HOST "A: b\n\r\n"),                                400, "bare LF"                             },
    {BYTES(LINE END),                                              400, "no Host field"                       },
    {BYTES("GET http://a/ HTTP/1.1\r\n" END),                      400, "no Host field"                       },
    {BYTES(LINE HOST HOST END),                                    400, "two Host fields"                     },
    {BYTES(LINE HOST "X: y\r\nhOST: b\r\n" END),                   400, "two Host fields"                     },
    {BYTES(OLD HOST HOST END),                                     400, "two Host fields"                     },
    {BYTES("GET http://a/ HTTP/1.1\r\nHost: b/c\r\n" END),         400, "bad Host"                            },
    {BYTES(OLD "Host:\r\n" END),                                   400, "bad Host"                            },
    {BYTES(POST "Expect: 200-ok\r\n" END),                         417, "only 100-continue can be expected"   },
    {BYTES(POST "Expect:\r\n" END),                                417, "only 100-continue can be expected"   },
    {BYTES(POST "Expect: 100-continue, x\r\n" END),                417, "only 100-continue can be expected"   },
    {BYTES(POST "Expect: 100-continue\r\nExpect: x\r\n" END),      417, "only 100-continue can be expected"   },
};

static const struct refused refused_framing[] = {
    {BYTES(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" END),          400,
     "Content-Length with Transfer-Encoding"                                                                                       },
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n" END),          400,
     "Content-Length with Transfer-Encoding"                                                                                       },
    {BYTES(POST "Content-Length: 1\r\nTransfer-Encoding: gzip\r\n" END),             400,
     "Content-Length with Transfer-Encoding"                                                                                       },
    {BYTES(POST "Content-Length: 1\r\nContent-Length: 1\r\n" END),                   400, "repeated Content-Length"                },
    {BYTES(POST "Content-Length: 0\r\ncontent-length: 0\r\n" END),                   400, "repeated Content-Length"                },
    {BYTES(POST "Content-Length: 1, 1\r\n" END),                                     400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 1,\r\n" END),                                       400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: +1\r\n" END),                                       400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: -1\r\n" END),                                       400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 1 2\r\n" END),                                      400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 0x1\r\n" END),                                      400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: a\r\n" END),                                        400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 1.0\r\n" END),                                      400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: \"1\"\r\n" END),                                    400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length:\r\n" END),                                          400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: \xb2\r\n" END),                                     400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 9223372036854775808\r\n" END),                      400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 9999999999999999999\r\n" END),                      400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 18446744073709551617\r\n" END),                     400, "bad Content-Length"                     },
    {BYTES(POST "Content-Length: 00000000000000000001\r\n" END),                     400, "bad Content-Length"                     },
    {BYTES(OLD "Transfer-Encoding: chunked\r\n" END),                                400, "Transfer-Encoding in HTTP/1.0"          },
    {BYTES(OLD "Transfer-Encoding: gzip\r\n" END),                                   400, "Transfer-Encoding in HTTP/1.0"          },
    {BYTES(POST "Transfer-Encoding: gzip\r\n" END),                                  400, "chunked is not the last transfer coding"},
    {BYTES(POST "Transfer-Encoding: identity\r\n" END),                              400, "chunked is not the last transfer coding"},
    {BYTES(POST "Transfer-Encoding: gzip, chunked\r\n" END),                         501, "unknown transfer coding"                },
    {BYTES(POST "Transfer-Encoding: chunked, gzip\r\n" END),                         400, "chunked is not the last transfer coding"},
    {BYTES(POST "Transfer-Encoding: xchunked\r\n" END),                              400, "chunked is not the last transfer coding"},
    {BYTES(POST "Transfer-Encoding: x;y=z\r\n" END),                                 400, "chunked is not the last transfer coding"},
    {BYTES(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" END),    501,
     "unknown transfer coding"                                                                                                     },
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n" END),    400,
     "chunked is not the last transfer coding"                                                                                     },
    {BYTES(POST "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n" END),             400,
     "chunked is not the last transfer coding"                                                                                     },
    {BYTES(POST "Transfer-Encoding: chunked, chunked\r\n" END),                      400, "repeated Transfer-Encoding"             },
    {BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END), 400,
     "repeated Transfer-Encoding"                                                                                                  },
    {BYTES(POST "Transfer-Encoding: chunked,\r\n" END),                              400, "malformed Transfer-Encoding"            },
    {BYTES(POST "Transfer-Encoding: , chunked\r\n" END),                             400, "malformed Transfer-Encoding"            },
    {BYTES(POST "Transfer-Encoding:\r\n" END),                                       400, "malformed Transfer-Encoding"            },
    {BYTES(POST "Transfer-Encoding: chunked;a=b\r\n" END),                           400, "malformed Transfer-Encoding"            },
    {BYTES(POST "Transfer-Encoding: \"chunked\"\r\n" END),                           400, "malformed Transfer-Encoding"            },
    {BYTES(POST "Transfer-Encoding: chunked foo\r\n" END),                           400, "malformed Transfer-Encoding"            },
    {BYTES(POST "Transfer-Encoding: \x0b"
                "chunked\r\n" END),
     400,                                                                                 "control byte in a field value"          },
    {BYTES(POST "Transfer-Encoding : chunked\r\n" END),                              400, "whitespace in or behind a field name"   },
};

static void check_refused(const struct refused *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct http_head h;
        if (parse(&h, rows[i].data, rows[i].len) != HTTP_BAD)
            fail_msg("accepted: %s", rows[i].data);
        if (h.status != rows[i].status || strcmp(h.reason, rows[i].reason) != 0)
            fail_msg("%s\n-> %d %s", rows[i].data, h.status, h.reason);
    }
}

static void test_refused(void **state)
{
    (void)state;
    check_refused(refused_lines, COUNT(refused_lines));
    check_refused(refused_fields, COUNT(refused_fields));
    check_refused(refused_framing, COUNT(refused_framing));
}

/* What is no HTTP is refused at the byte that shows it, not at a line end that may never come. */
static void test_refused_early(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t len;
        size_t at;
    } rows[] = {
        {BYTES("\x16\x03\x01"),                           1                                       },
        {BYTES("\r\r"),                                   2                                       },
        {BYTES("\r\n\x80"),                               3                                       },
        {BYTES("GET\r\n"),                                4                                       },
        {BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"),      33                                      },
        {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),       16                                      },
        {BYTES(LINE " " HOST END),                        sizeof(LINE " " HOST) - 1               },
        {BYTES(POST "Content-Length: x\r\nA: b\r\n" END), sizeof(POST "Content-Length: x\r\n") - 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_head h;
        size_t taken;
        assert_int_equal(feed_bytes(&h, rows[i].data, rows[i].len, &limits, &taken), HTTP_BAD);
        assert_int_equal(taken, rows[i].at);
    }
}

/* ---- Host ---- */

static void test_host(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool good;
    } rows[] = {
        {"a",                   true },
        {"example.com",         true },
        {"EXAMPLE.com:8080",    true },
        {"a_b-c~d.e",           true },
        {"127.0.0.1",           true },
        {"127.0.0.1:0",         true },
        {"a:65535",             true },
        {"[::1]",               true },
        {"[::1]:443",           true },
        {"[2001:db8::1]",       true },
        {"[::ffff:1.2.3.4]",    true },
        {"a:00080",             true },
        {"",                    false},
        {":80",                 false},
        {"a:",                  false},
        {"a:65536",             false},
        {"a:000080",            false},
        {"a:-1",                false},
        {"a:8o",                false},
        {"a:b:c",               false},
        {"a:80:80",             false},
        {"::1",                 false},
        {"[::1",                false},
        {"[]",                  false},
        {"[",                   false},
        {"[::1]x",              false},
        {"[::1]:",              false},
        {"[127.0.0.1]",         false},
        {"[a]",                 false},
        {"[::1%25eth0]",        false},
        {"[v1.a]",              false},
        {"a]",                  false},
        {"[1:2:3:4:5:6:7:8:9]", false},
        {"u@a",                 false},
        {"u:p@a",               false},
        {"a/b",                 false},
        {"a?b",                 false},
        {"a#b",                 false},
        {"a b",                 false},
        {"a\tb",                false},
        {"a,b",                 false},
        {"a%2eb",               false},
        {"a\\b",                false},
        {"\"a\"",               false},
        {"\xc3\xa4",            false},
        {"a;b",                 false},
        {"http://a",            false},
        {"<a>",                 false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[200];
        struct http_head h;
        int n = snprintf(text, sizeof(text), LINE "Host: %s\r\n\r\n", rows[i].host);
        enum http_parse result = parse(&h, text, (size_t)n);
        if (result != (rows[i].good ? HTTP_DONE : HTTP_BAD))
            fail_msg("Host: %s", rows[i].host);
        if (rows[i].good)
            assert_slice(text, h.authority, rows[i].host);
        else
            assert_string_equal(h.reason, "bad Host");
    }
}

static void test_host_length(void **state)
{
    (void)state;
    static const struct http_head_limits roomy = {.request_line = 100, .size = 1000, .field_count = 1};
    for (int len = 254; len <= 257; len++) {
        char text[400];
        struct http_head h;
        int n = snprintf(text, sizeof(text), LINE "Host: %0*d\r\n\r\n", len, 0);
        assert_int_equal(parse_with(&h, text, (size_t)n, &roomy), len <= 255 ? HTTP_DONE : HTTP_BAD);
    }
}

/* ---- targets ---- */

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query, *authority;
    } rows[] = {
        {"/",                        "/",                    "",      "a"             },
        {"/x/y",                     "/x/y",                 "",      "a"             },
        {"/x?",                      "/x",                   "",      "a"             },
        {"/x?y=1&z",                 "/x",                   "y=1&z", "a"             },
        {"/x?y?z",                   "/x",                   "y?z",   "a"             },
        {"//x//",                    "//x//",                "",      "a"             },
        {"/%2e%2E/<\"{|}\\^`>'",     "/%2e%2E/<\"{|}\\^`>'", "",      "a"             },
        {"http://b/x?y",             "/x",                   "y",     "b"             },
        {"http://b",                 "/",                    "",      "b"             },
        {"http://b?y",               "/",                    "y",     "b"             },
        {"HTTPS://B.example:8443/x", "/x",                   "",      "B.example:8443"},
        {"http://[::1]:80/x",        "/x",                   "",      "[::1]:80"      },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[200];
        struct http_head h;
        int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].target);
        assert_int_equal(parse(&h, text, (size_t)n), HTTP_DONE);
        assert_slice(text, h.method, "GET");
        assert_slice(text, h.target, rows[i].target);
        assert_slice(text, h.path, rows[i].path);
        assert_slice(text, h.query, rows[i].query);
        assert_slice(text, h.authority, rows[i].authority);
    }
}

static void test_asterisk(void **state)
{
    (void)state;
    static const char text[] = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_head h;
    assert_int_equal(parse(&h, BYTES(text)), HTTP_DONE);
    assert_slice(text, h.path, "*");
    assert_slice(text, h.query, "");
}

static void test_methods(void **state)
{
    (void)state;
    static const char *const methods[] = {
        "GET", "g", "M-SEARCH", "connect", "!#$%&'*+-.^_`|~09az", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"};
    for (size_t i = 0; i < COUNT(methods); i++) {
        char text[100];
        struct http_head h;
        int n = snprintf(text, sizeof(text), "%s / HTTP/1.0\r\n\r\n", methods[i]);
        assert_int_equal(parse(&h, text, (size_t)n), HTTP_DONE);
        assert_slice(text, h.method, methods[i]);
        assert_int_equal(h.minor, 0);
        assert_int_equal(h.authority.len, 0);
        assert_int_equal(h.fields.len, 0);
    }
}

/* ---- framing and the connection ---- */

static void test_framing(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        bool has_length, chunked;
        uint64_t length;
    } rows[] = {
        {"",                                                                                      false, false, 0        },
        {"Content-Length: 0\r\n",                                                                 true,  false, 0        },
        {"content-length:\t42 \t \r\n",                                                           true,  false, 42       },
        {"CONTENT-LENGTH:9223372036854775807\r\n",                                                true,  false, INT64_MAX},
        {"Content-Length: 0000000000000000007\r\n",                                               true,  false, 7        },
        {"Content-Lengths: 7\r\nContent_Length: 8\r\nXontent-Length: 9\r\nContent-Lengtx: 1\r\n", false,
         false,                                                                                                 0        },
        {"Transfer-Encoding: chunked\r\n",                                                        false, true,  0        },
        {"transfer-encoding:\t CHUNKED \r\n",                                                     false, true,  0        },
        {"Transfer_Encoding: gzip\r\n",                                                           false, false, 0        },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[300];
        struct http_head h;
        int n = snprintf(text, sizeof(text), POST "%s\r\n", rows[i].fields);
        assert_int_equal(parse(&h, text, (size_t)n), HTTP_DONE);
        assert_int_equal(h.has_length, rows[i].has_length);
        assert_int_equal(h.chunked, rows[i].chunked);
        assert_true(!h.has_length || h.content_length == rows[i].length);
    }
}

static void test_connection(void **state)
{
    (void)state;
    static const struct {
        const char *line, *fields;
        bool keep_alive, websocket, expect;
    } rows[] = {
        {LINE, "",                                                               true,  false, false},
        {LINE, "Connection: close\r\n",                                          false, false, false},
        {LINE, "Connection: x, CLOSE ,\r\n",                                     false, false, false},
        {LINE, "Connection: keep-alive\r\nConnection: close\r\n",                false, false, false},
        {LINE, "Connection: closed\r\n",                                         true,  false, false},
        {LINE, "Connection:\r\n",                                                true,  false, false},
        {LINE, "Connection: \"close\"\r\n",                                      true,  false, false},
        {LINE, "Proxy-Connection: close\r\n",                                    true,  false, false},
        {LINE, "Connection: Upgrade\r\nUpgrade: WebSocket\r\n",                  true,  true,  false},
        {LINE, "Upgrade: h2c, websocket\r\nConnection: keep-alive, upgrade\r\n", true,  true,  false},
        {LINE, "Upgrade: websocket\r\n",                                         true,  false, false},
        {LINE, "Connection: upgrade\r\nUpgrade: h2c\r\n",                        true,  false, false},
        {LINE, "Expect: 100-Continue\r\n",                                       true,  false, true },
        {OLD,  "",                                                               false, false, false},
        {OLD,  "Connection: Keep-Alive\r\n",                                     true,  false, false},
        {OLD,  "Connection: keep-alive, close\r\n",                              false, false, false},
        {OLD,  "Connection: upgrade\r\nUpgrade: websocket\r\n",                  false, false, false},
        {OLD,  "Expect: 100-continue\r\n",                                       false, false, false},
        {OLD,  "Expect: anything\r\n",                                           false, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[200];
        struct http_head h;
        int n = snprintf(text, sizeof(text), "%sHost: a\r\n%s\r\n", rows[i].line, rows[i].fields);
        assert_int_equal(parse(&h, text, (size_t)n), HTTP_DONE);
        assert_int_equal(h.keep_alive, rows[i].keep_alive);
        assert_int_equal(h.websocket, rows[i].websocket);
        assert_int_equal(h.expect_continue, rows[i].expect);
    }
}

/* ---- fields ---- */

static void test_fields(void **state)
{
    (void)state;
    static const char text[] =
        "\r\nGET /p HTTP/1.1\r\nHost: a\r\nEmpty:\r\nBlank: \t \r\nX-a!: b: \xe4\tc  d \r\n"
        "Last:z\r\n\r\nGET /next";
    static const char *const expected[][2] = {
        {"Host",  "a"            },
        {"Empty", ""             },
        {"Blank", ""             },
        {"X-a!",  "b: \xe4\tc  d"},
        {"Last",  "z"            }
    };
    struct http_head h;
    struct http_field field;
    uint32_t cursor = 0;
    assert_int_equal(parse(&h, BYTES(text)), HTTP_DONE);
    assert_int_equal(h.size, sizeof(text) - 1 - strlen("GET /next"));
    assert_int_equal(h.field_count, COUNT(expected));
    assert_int_equal(h.fields.off + h.fields.len + 2, h.size);
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(http_head_next_field(&h, text, &cursor, &field));
        assert_slice(text, field.name, expected[i][0]);
        assert_slice(text, field.value, expected[i][1]);
    }
    assert_false(http_head_next_field(&h, text, &cursor, &field));
    assert_false(http_head_next_field(&h, text, &cursor, &field));
}

/* Every byte at every place of a value, so that each lane of a wide comparison is asked. */
static void test_every_byte_in_a_value(void **state)
{
    (void)state;
    char text[] = LINE HOST "Name: 0123456789abcdefghijklmnopqrstuvwxyz0123456789\r\n\r\n";
    size_t first = sizeof(LINE HOST "Name:") - 1, last = sizeof(text) - 1 - 4;
    for (size_t at = first; at < last; at++)
        for (int byte = 0; byte < 256; byte++) {
            char saved = text[at];
            bool good = (byte >= 0x20 && byte != 0x7f) || byte == '\t';
            struct http_head h;
            text[at] = (char)byte;
            begin(&h);
            assert_int_equal(http_head_parse(&h, text, sizeof(text) - 1, &limits),
                             good ? HTTP_DONE : HTTP_BAD);
            text[at] = saved;
        }
}

static void test_more(void **state)
{
    (void)state;
    static const char text[] = POST "Content-Length: 3\r\n\r\n";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct http_head h;
        assert_int_equal(parse(&h, text, len), HTTP_MORE);
        assert_int_equal(h.size, 0);
    }
    struct http_head h;
    begin(&h);
    assert_int_equal(http_head_parse(&h, NULL, 0, &limits), HTTP_MORE);
}

/* ---- limits: at each, and one past it ---- */

static void test_request_line_limit(void **state)
{
    (void)state;
    for (int extra = -1; extra <= 2; extra++) {
        char text[400];
        struct http_head h;
        int path = (int)limits.request_line + extra - (int)strlen("GET / HTTP/1.1");
        int n = snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", path, 0);
        enum http_parse result = parse(&h, text, (size_t)n);
        assert_int_equal(result, extra <= 0 ? HTTP_DONE : HTTP_BAD);
        assert_int_equal(h.status, extra <= 0 ? 0 : 414);
    }
}

static void test_request_line_limit_without_line_end(void **state)
{
    (void)state;
    char text[400];
    struct http_head h;
    size_t taken;
    memset(text, 'x', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_int_equal(feed_bytes(&h, text, sizeof(text), &limits, &taken), HTTP_BAD);
    assert_int_equal(h.status, 414);
    assert_int_equal(taken, limits.request_line + 1);
}

static void test_size_limit(void **state)
{
    (void)state;
    for (int extra = -1; extra <= 3; extra++) {
        char text[2100];
        struct http_head h;
        int filler = (int)limits.size + extra - (int)strlen(LINE HOST "A: \r\n\r\n");
        int n = snprintf(text, sizeof(text), LINE HOST "A: %0*d\r\n\r\n", filler, 0);
        assert_int_equal(n, (int)limits.size + extra);
        assert_int_equal(parse(&h, text, (size_t)n), extra <= 0 ? HTTP_DONE : HTTP_BAD);
        assert_int_equal(h.status, extra <= 0 ? 0 : 431);
    }
}

static void test_size_limit_without_line_end(void **state)
{
    (void)state;
    char text[2100];
    struct http_head h;
    size_t taken;
    memset(text, 'x', sizeof(text));
    memcpy(text, LINE, sizeof(LINE) - 1);
    assert_int_equal(feed_bytes(&h, text, sizeof(text), &limits, &taken), HTTP_BAD);
    assert_int_equal(h.status, 431);
    assert_int_equal(taken, limits.size);
}

static void test_field_count_limit(void **state)
{
    (void)state;
    struct http_head h;
    static const char at[] = LINE HOST "A: b\r\n" TEN("A: b\r\n") END;
    static const char past[] = LINE HOST "A: b\r\n" TEN("A: b\r\n") "A: b\r\n" END;
    assert_int_equal(parse(&h, BYTES(at)), HTTP_DONE);
    assert_int_equal(h.field_count, limits.field_count);
    assert_int_equal(parse(&h, BYTES(past)), HTTP_BAD);
    assert_int_equal(h.status, 431);
}

/* ---- lists and paths ---- */

static void test_list_has(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool has;
    } rows[] = {
        {"close",      true },
        {"Close",      true },
        {" close\t",   true },
        {"a,close",    true },
        {"close,a",    true },
        {",, close ,", true },
        {"a , CLOSE",  true },
        {"",           false},
        {",",          false},
        {"closed",     false},
        {"xclose",     false},
        {"clos",       false},
        {"clo,se",     false},
        {"close x",    false},
        {"a;close",    false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].list);
        char *copy = guard_copy(rows[i].list, len);
        assert_int_equal(http_list_has(copy, len, "close"), rows[i].has);
        guard_free(copy, len);
    }
}

static void test_path_normalise(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        const char *path; /* NULL: refused */
    } rows[] = {
        {"/",            "/"       },
        {"/a/b",         "/a/b"    },
        {"/a/b/",        "/a/b/"   },
        {"//",           "//"      },
        {"//a//b",       "//a//b"  },
        {"/a/./b",       "/a/b"    },
        {"/./a",         "/a"      },
        {"/.",           "/"       },
        {"/a/.",         "/a/"     },
        {"/a/..",        "/"       },
        {"/a/../",       "/"       },
        {"/a/b/..",      "/a/"     },
        {"/a/b/../c",    "/a/c"    },
        {"/a//../b",     "/a/b"    },
        {"//..",         "/"       },
        {"/a/b/../../c", "/c"      },
        {"/...",         "/..."    },
        {"/.a",          "/.a"     },
        {"/..a",         "/..a"    },
        {"/a.",          "/a."     },
        {"/%61%2Fb",     "/a/b"    },
        {"/a/%2e%2E/b",  "/b"      },
        {"/a%2f..%2fb",  "/b"      },
        {"/a/%2e",       "/a/"     },
        {"/%25%32%65",   "/%2e"    },
        {"/%252e%252e/", "/%2e%2e/"},
        {"/a+b",         "/a+b"    },
        {"/%ff",         "/\xff"   },
        {"/\\..\\a",     "/\\..\\a"},
        {"/%0a",         "/\n"     },
        {"*",            "*"       },
        {"/*",           "/*"      },
        {"/..",          NULL      },
        {"/../",         NULL      },
        {"/../a",        NULL      },
        {"/a/../..",     NULL      },
        {"/./..",        NULL      },
        {"/%2e%2e",      NULL      },
        {"/a/..%2f..",   NULL      },
        {"/a/../../b",   NULL      },
        {"/%",           NULL      },
        {"/%4",          NULL      },
        {"/%4g",         NULL      },
        {"/%g4",         NULL      },
        {"/%%41",        NULL      },
        {"/%00",         NULL      },
        {"/a%00b",       NULL      },
        {"/%u0041",      NULL      },
        {"",             NULL      },
        {"a",            NULL      },
        {"%2a",          NULL      },
        {"**",           NULL      },
        {".",            NULL      },
        {"%2e%2e/a",     NULL      },
        {"/%-1",         NULL      },
        {"/% 1",         NULL      },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[64];
        size_t len = strlen(rows[i].raw);
        char *raw = guard_copy(rows[i].raw, len), *guarded = guard_copy(out, len);
        long n = http_path_normalise(raw, len, guarded);
        if (n != (rows[i].path ? (long)strlen(rows[i].path) : -1))
            fail_msg("%s -> %ld", rows[i].raw, n);
        if (rows[i].path)
            assert_memory_equal(guarded, rows[i].path, (size_t)n);
        guard_free(raw, len);
        guard_free(guarded, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_early),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_host_length),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_asterisk),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_connection),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_every_byte_in_a_value),
        cmocka_unit_test(test_more),
        cmocka_unit_test(test_request_line_limit),
        cmocka_unit_test(test_request_line_limit_without_line_end),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_size_limit_without_line_end),
        cmocka_unit_test(test_field_count_limit),
        cmocka_unit_test(test_list_has),
        cmocka_unit_test(test_path_normalise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
