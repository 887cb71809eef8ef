/* test_http_reply.c - heads byte for byte, framing as a table of cases, error bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "http_reply.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { BIRTHDAY = 784111777 }; /* Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 5.6.7 */

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static const struct http_reply plain = {
    .status = 200, .content_length = -1, .minor = 1, .keep_alive = true, .now = BIRTHDAY};

static void assert_head(const struct http_reply *reply, const char *expected)
{
    struct buf out;
    enum http_framing framing;
    bool keep_alive;
    buf_init(&out, 4096);
    assert_true(buf_puts(&out, "before"));
    assert_true(http_reply_head(&out, reply, &framing, &keep_alive));
    assert_true(buf_putc(&out, '\0'));
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

/* ---- heads ---- */

static void test_head(void **state)
{
    (void)state;
    static const char fields[] = "Content-Type: text/plain\r\nX: y\r\n";
    struct http_reply reply = plain;
    assert_head(&reply, "beforeHTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n");
    reply.fields = fields;
    reply.fields_len = sizeof(fields) - 1;
    reply.content_length = 12;
    assert_head(&reply, "beforeHTTP/1.1 200 OK\r\n" DATE
                        "Content-Type: text/plain\r\nX: y\r\nContent-Length: 12\r\n\r\n");
    reply.server = "leangate";
    reply.id_name = "X-Request-ID";
    reply.id = "0af";
    assert_head(&reply,
                "beforeHTTP/1.1 200 OK\r\n" DATE "Server: leangate\r\nContent-Type: text/plain\r\nX: y\r\n"
                "X-Request-ID: 0af\r\nContent-Length: 12\r\n\r\n");
}

static void test_what_the_fields_hold_is_not_repeated(void **state)
{
    (void)state;
    static const char fields[] = "Date: then\r\nServer: other\r\nx-request-id: its own\r\n";
    struct http_reply reply = plain;
    reply.fields = fields;
    reply.fields_len = sizeof(fields) - 1;
    reply.has_date = reply.has_server = true;
    reply.server = "leangate";
    reply.id_name = "X-Request-ID";
    reply.id = "0af";
    reply.content_length = 0;
    assert_head(&reply, "beforeHTTP/1.1 200 OK\r\nDate: then\r\nServer: other\r\nx-request-id: its own\r\n"
                        "Content-Length: 0\r\n\r\n");
    reply.id_name = "X-Request";
    assert_head(&reply, "beforeHTTP/1.1 200 OK\r\nDate: then\r\nServer: other\r\nx-request-id: its own\r\n"
                        "X-Request: 0af\r\nContent-Length: 0\r\n\r\n");
}

static void test_reason(void **state)
{
    (void)state;
    struct http_reply reply = plain;
    reply.content_length = 0;
    reply.status = 404;
    reply.reason = "Gone fishing, nothing here";
    reply.reason_len = strlen("Gone fishing");
    assert_head(&reply, "beforeHTTP/1.1 404 Gone fishing\r\n" DATE "Content-Length: 0\r\n\r\n");
    reply.reason_len = 0;
    assert_head(&reply, "beforeHTTP/1.1 404 Not Found\r\n" DATE "Content-Length: 0\r\n\r\n");
    reply.reason = NULL;
    reply.status = 599;
    assert_head(&reply, "beforeHTTP/1.1 599 Unknown\r\n" DATE "Content-Length: 0\r\n\r\n");
}

static void test_old_client(void **state)
{
    (void)state;
    struct http_reply reply = plain;
    reply.minor = 0;
    assert_head(&reply, "beforeHTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\n");
    reply.content_length = INT64_MAX;
    assert_head(&reply, "beforeHTTP/1.1 200 OK\r\n" DATE
                        "Content-Length: 9223372036854775807\r\nConnection: keep-alive\r\n\r\n");
}

/* ---- framing ---- */

static void test_framing(void **state)
{
    (void)state;
    static const struct {
        int status, minor;
        bool head, wants_keep_alive;
        int64_t length;
        enum http_framing framing;
        bool keep_alive;
        const char *written; /* of Content-Length, Transfer-Encoding and Connection */
    } rows[] = {
        {200, 1, false, true,  5,  HTTP_FRAMING_LENGTH,  true,  "Content-Length: 5\r\n"                     },
        {200, 1, false, true,  0,  HTTP_FRAMING_LENGTH,  true,  "Content-Length: 0\r\n"                     },
        {200, 1, false, true,  -1, HTTP_FRAMING_CHUNKED, true,  "Transfer-Encoding: chunked\r\n"            },
        {200, 1, false, false, 5,  HTTP_FRAMING_LENGTH,  false, "Content-Length: 5\r\nConnection: close\r\n"},
        {200, 1, false, false, -1, HTTP_FRAMING_CHUNKED, false,
         "Transfer-Encoding: chunked\r\nConnection: close\r\n"                                              },
        {200, 0, false, true,  5,  HTTP_FRAMING_LENGTH,  true,
         "Content-Length: 5\r\nConnection: keep-alive\r\n"                                                  },
        {200, 0, false, false, 5,  HTTP_FRAMING_LENGTH,  false, "Content-Length: 5\r\nConnection: close\r\n"},
        {200, 0, false, true,  -1, HTTP_FRAMING_CLOSE,   false, "Connection: close\r\n"                     },
        {200, 1, true,  true,  5,  HTTP_FRAMING_NONE,    true,  "Content-Length: 5\r\n"                     },
        {200, 1, true,  true,  -1, HTTP_FRAMING_NONE,    true,  ""                                          },
        {200, 0, true,  true,  -1, HTTP_FRAMING_NONE,    true,  "Connection: keep-alive\r\n"                },
        {304, 1, false, true,  5,  HTTP_FRAMING_NONE,    true,  "Content-Length: 5\r\n"                     },
        {304, 1, false, true,  -1, HTTP_FRAMING_NONE,    true,  ""                                          },
        {204, 1, false, true,  5,  HTTP_FRAMING_NONE,    true,  ""                                          },
        {204, 1, true,  true,  0,  HTTP_FRAMING_NONE,    true,  ""                                          },
        {204, 0, false, true,  -1, HTTP_FRAMING_NONE,    true,  "Connection: keep-alive\r\n"                },
        {100, 1, false, true,  5,  HTTP_FRAMING_NONE,    true,  ""                                          },
        {206, 1, false, true,  5,  HTTP_FRAMING_LENGTH,  true,  "Content-Length: 5\r\n"                     },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_reply reply = {.status = (uint16_t)rows[i].status,
                                   .reason = "R",
                                   .reason_len = 1,
                                   .content_length = rows[i].length,
                                   .minor = (uint8_t)rows[i].minor,
                                   .head_request = rows[i].head,
                                   .keep_alive = rows[i].wants_keep_alive,
                                   .has_date = true};
        struct buf out;
        enum http_framing framing;
        bool keep_alive;
        buf_init(&out, 1000);
        assert_true(http_reply_head(&out, &reply, &framing, &keep_alive));
        assert_int_equal(framing, rows[i].framing);
        assert_int_equal(keep_alive, rows[i].keep_alive);
        size_t start = strlen("HTTP/1.1 200 R\r\n"), written = strlen(rows[i].written);
        assert_int_equal(out.len, start + written + 2);
        assert_memory_equal(out.data + start, rows[i].written, written);
        assert_memory_equal(out.data + start + written, "\r\n", 2);
        buf_free(&out);
    }
}

/* The longest of everything fits what is reserved: growth at any ceiling either works or leaves `out` as it
 * was. */
static void test_no_room(void **state)
{
    (void)state;
    static const char fields[] = "A: b\r\n";
    struct http_reply reply = {.status = 431,
                               .fields = fields,
                               .fields_len = sizeof(fields) - 1,
                               .content_length = INT64_MAX,
                               .server = "leangate",
                               .id_name = "X-Request-ID",
                               .id = "0123456789abcdef",
                               .now = BIRTHDAY};
    bool fitted = false;
    for (uint32_t max = 0; max < 400; max++) {
        struct buf out;
        enum http_framing framing;
        bool keep_alive;
        buf_init(&out, max);
        bool fits = http_reply_head(&out, &reply, &framing, &keep_alive);
        assert_true(fits || out.len == 0);
        assert_true(fits || !fitted);
        assert_true(out.len <= max);
        fitted = fits;
        buf_free(&out);
    }
    assert_true(fitted);
}

/* ---- names, phrases, dates ---- */

static void test_drops(void **state)
{
    (void)state;
    static const char *const dropped[] = {"Connection",        "connection", "Keep-Alive",
                                          "PROXY-CONNECTION",  "te",         "Trailer",
                                          "Transfer-Encoding", "Upgrade",    "content-length"};
    static const char *const passed[] = {
        "",     "T",        "TEx",       "Connections", "Connectio", "Content-Type", "Proxy-Authenticate",
        "Date", "Upgrades", "Set-Cookie"};
    for (size_t i = 0; i < COUNT(dropped); i++)
        assert_true(http_reply_drops(dropped[i], strlen(dropped[i])));
    for (size_t i = 0; i < COUNT(passed); i++)
        assert_false(http_reply_drops(passed[i], strlen(passed[i])));
}

static void test_phrases(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *phrase;
    } rows[] = {
        {100, "Continue"                       },
        {200, "OK"                             },
        {204, "No Content"                     },
        {304, "Not Modified"                   },
        {400, "Bad Request"                    },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {408, "Request Timeout"                },
        {413, "Content Too Large"              },
        {414, "URI Too Long"                   },
        {417, "Expectation Failed"             },
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"          },
        {501, "Not Implemented"                },
        {502, "Bad Gateway"                    },
        {503, "Service Unavailable"            },
        {504, "Gateway Timeout"                },
        {505, "HTTP Version Not Supported"     },
        {511, "Network Authentication Required"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_string_equal(http_reason(rows[i].status), rows[i].phrase);
    unsigned known = 0;
    for (unsigned status = 0; status < 1100; status++)
        known += strcmp(http_reason(status), "Unknown") != 0;
    assert_int_equal(known, 59);
}

static void test_date_follows_the_clock(void **state)
{
    (void)state;
    struct http_reply reply = plain;
    reply.content_length = 0;
    for (int round = 0; round < 2; round++) {
        reply.now = BIRTHDAY;
        assert_head(&reply, "beforeHTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
        assert_head(&reply, "beforeHTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
        reply.now++;
        assert_head(&reply, "beforeHTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
                            "Content-Length: 0\r\n\r\n");
    }
}

/* ---- error bodies ---- */

static void test_error_body(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *detail, *id;
        bool html;
        const char *expected;
    } rows[] = {
        {404, "no app at /x",                    "5f",  false, "404 Not Found: no app at /x (id 5f)\n"    },
        {404, NULL,                              "5f",  false, "404 Not Found (id 5f)\n"                  },
        {503, "queue full",                      NULL,  false, "503 Service Unavailable: queue full\n"    },
        {500, NULL,                              NULL,  false, "500 Internal Server Error\n"              },
        {599, NULL,                              NULL,  false, "599 Unknown\n"                            },
        {500, "a<b>\r\x1b[1m\x7f\t\nc\xc3\xa4&", NULL,  false,
         "500 Internal Server Error: a<b>??[1m?\t\nc\xc3\xa4&\n"                                          },
        {404, NULL,                              NULL,  true,
         "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>404 Not Found</title>\n"
         "<h1>404 Not Found</h1>\n</html>\n"                                                              },
        {404, "<script>'\"&\r",                  "5<f", true,
         "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>404 Not Found</title>\n"
         "<h1>404 Not Found</h1>\n<pre>&lt;script&gt;&#39;&quot;&amp;?</pre>\n<p>id 5&lt;f</p>\n</html>\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t needed = strlen(rows[i].expected);
        for (size_t max = 0; max <= needed; max++) {
            struct buf out;
            buf_init(&out, (uint32_t)max);
            bool fits = http_reply_error_body(&out, rows[i].status, rows[i].detail, rows[i].id, rows[i].html);
            assert_int_equal(fits, max == needed);
            assert_int_equal(out.len, fits ? needed : 0);
            if (fits)
                assert_memory_equal(out.data, rows[i].expected, needed);
            buf_free(&out);
        }
    }
}

static void test_accept(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool html;
    } rows[] = {
        {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true },
        {"text/html",                                                                  true },
        {" TEXT/HTML ; charset=utf-8 ",                                                true },
        {"*/*;q=0.1, text/html;q=0.2",                                                 true },
        {"text/plain;q=0.5, text/html;Q=0.6",                                          true },
        {"text/html, text/plain;q=0.999",                                              true },
        {"text/plain;q=0, */*",                                                        true },
        {"text/html;level=1;q=0.5, */*;q=0.1",                                         true },
        {"",                                                                           false},
        {"*/*",                                                                        false},
        {"text/*",                                                                     false},
        {"application/json",                                                           false},
        {"text/plain",                                                                 false},
        {"text/html, text/plain",                                                      false},
        {"text/html;q=0.5, text/plain",                                                false},
        {"text/html;q=0.5, */*",                                                       false},
        {"text/html;q=0.5, text/*;q=0.7, */*;q=0.1",                                   false},
        {"text/html;q=0",                                                              false},
        {"text/html;q=x, */*;q=0.1",                                                   false},
        {"text/html;q=2, */*;q=0.1",                                                   false},
        {"text/html;q=1.001, */*;q=0.1",                                               false},
        {"text/html;q=, */*;q=0.1",                                                    false},
        {"text/html;q=0.x, */*;q=0.1",                                                 false},
        {"text/html;q=0.5000, */*;q=0.1",                                              false},
        {"text/htmlx, xtext/html",                                                     false},
        {",,;;,",                                                                      false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].accept);
        char *copy = guard_copy(rows[i].accept, len);
        if (http_accept_prefers_html(copy, len) != rows[i].html)
            fail_msg("Accept: %s", rows[i].accept);
        guard_free(copy, len);
    }
}

static void test_accept_weight(void **unused)
{
    (void)unused;
    static const struct {
        const char *value;
        int weight; /* of gzip */
    } rows[] = {
        {"",                  -1  },
        {"br",                -1  },
        {"gzip",              1000},
        {"br, GZip;q=0.5 ,x", 500 },
        {",,gzip; Q=0.25",    250 },
        {"gzip;q=0",          0   },
        {"gzip;q=0.001",      1   },
        {"gzip;q=1.001",      0   },
        {"gzip;x=1;q=0.3",    300 },
        {"gzipp",             -1  },
        {"*",                 -1  },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].value);
        char *copy = guard_copy(rows[i].value, len);
        int weight = http_accept_weight(copy, len, "gzip");
        guard_free(copy, len);
        if (weight != rows[i].weight)
            fail_msg("%s: %d", rows[i].value, weight);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),       cmocka_unit_test(test_what_the_fields_hold_is_not_repeated),
        cmocka_unit_test(test_reason),     cmocka_unit_test(test_old_client),
        cmocka_unit_test(test_framing),    cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_drops),      cmocka_unit_test(test_phrases),
        cmocka_unit_test(test_error_body), cmocka_unit_test(test_date_follows_the_clock),
        cmocka_unit_test(test_accept),     cmocka_unit_test(test_accept_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
