/* test_proxy_protocol.c - PROXY headers, whole, at every split, and broken in every way. */
#include "proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"

#define BYTES(text) text, sizeof(text) - 1
#define V2          "\r\n\r\n\0\r\nQUIT\n"
#define V4_PAIR     "\xc0\x00\x02\x01\x7f\x00\x00\x01\xc0\x00\x01\xbb"
#define V6_PAIR     "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34\x01\xbb"
#define MAPPED_PAIR                                                                                          \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34\x01\xbb"

/* "size source port", or "more", or "bad". */
static const char *parse(const char *data, size_t len)
{
    static char out[128];
    char source[NETWORK_TEXT];
    struct proxy_protocol h;
    char *copy = guard_copy(data, len);
    enum http_parse result = proxy_protocol_parse(copy, len, &h);
    guard_free(copy, len);
    if (result != HTTP_DONE)
        return result == HTTP_MORE ? "more" : "bad";
    assert_in_range(h.size, 1, len);
    network_text(&h.source, source);
    snprintf(out, sizeof(out), "%u %s %u", h.size, source, h.port);
    return out;
}

struct row {
    const char *data;
    size_t len;
    const char *expected;
};

static const struct row good[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"),            "45 192.0.2.1 56324"      },
    {BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "56 255.255.255.255 65535"},
    {BYTES("PROXY TCP6 2001:db8::1 ::1 4660 443\r\n"),                    "37 2001:db8::1 4660"     },
    {BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 443\r\n"),                  "39 192.0.2.1 0"          },
    {BYTES("PROXY UNKNOWN\r\n"),                                          "15  0"                   },
    {BYTES("PROXY UNKNOWN ffff::1 whatever 1 2\r\n"),                     "36  0"                   },
    {BYTES(V2 "\x21\x11\0\x0c" V4_PAIR),                                  "28 192.0.2.1 49152"      },
    {BYTES(V2 "\x21\x11\0\x10" V4_PAIR "\x04\0\x01x"),                    "32 192.0.2.1 49152"      },
    {BYTES(V2 "\x21\x21\0\x24" V6_PAIR),                                  "52 2001:db8::1 4660"     },
    {BYTES(V2 "\x21\x21\0\x24" MAPPED_PAIR),                              "52 192.0.2.1 4660"       },
    {BYTES(V2 "\x20\0\0\0"),                                              "16  0"                   },
    {BYTES(V2 "\x20\x11\0\x0c" V4_PAIR),                                  "28  0"                   },
    {BYTES(V2 "\x20\xff\0\x03"
              "abc"),
     "19  0"                                                                                        },
    {BYTES(V2 "\x21\0\0\x03"
              "abc"),
     "19  0"                                                                                        },
};

static const struct row bad[] = {
    {BYTES("GET / HTTP/1.1\r\n"),                             NULL},
    {BYTES("\x16\x03\x01"),                                   NULL},
    {BYTES("proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n"),      NULL},
    {BYTES("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n"),     NULL},
    {BYTES("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n"),     NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n"),     NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n"),    NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"),        NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2\r\n"),          NULL},
    {BYTES("PROXY TCP4 192.0.2.1\r\n"),                       NULL},
    {BYTES("PROXY TCP4\r\n"),                                 NULL},
    {BYTES("PROXY \r\n"),                                     NULL},
    {BYTES("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n"),    NULL},
    {BYTES("PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n"),     NULL},
    {BYTES("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n"),        NULL},
    {BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"),                     NULL},
    {BYTES("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n"),      NULL},
    {BYTES("PROXY TCP6 [::1] ::1 1 2\r\n"),                   NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n"),     NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n"),     NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n"),  NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 655360\r\n"), NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n"),        NULL},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\r\n"),    NULL},
    {BYTES("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n"),      NULL},
    {BYTES("PROXY UNKNOWNx\r\n"),                             NULL},
    {BYTES("PROXY UNKNOWN a\nb\r\n"),                         NULL},
    {BYTES("PROXY UNKNOWN a\rb\r\n"),                         NULL},
    {BYTES(V2 "\x11\x11\0\x0c" V4_PAIR),                      NULL},
    {BYTES(V2 "\x22\x11\0\x0c" V4_PAIR),                      NULL},
    {BYTES(V2 "\x21\x11\0\x0b" V4_PAIR),                      NULL},
    {BYTES(V2 "\x21\x21\0\x23" V6_PAIR),                      NULL},
    {BYTES(V2 "\x21\x12\0\x0c" V4_PAIR),                      NULL},
    {BYTES(V2 "\x21\x41\0\x0c" V4_PAIR),                      NULL},
    {BYTES(V2 "\x21\x31\0\x0c" V4_PAIR),                      NULL},
    {BYTES(V2 "\x20\x11\xff\xff"),                            NULL},
    {BYTES(V2 "\x20\x11\x0f\xf1"),                            NULL},
    {BYTES("\r\n\r\nX"),                                      NULL},
};

#define EACH(row, rows) for (const struct row *row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++)

static void test_good(void **state)
{
    (void)state;
    EACH(row, good)
    assert_string_equal(parse(row->data, row->len), row->expected);
}

/* What follows changes nothing, and nothing is said before the last byte. */
static void test_good_at_every_split(void **state)
{
    (void)state;
    char data[256];
    EACH(row, good)
    {
        for (size_t n = 0; n < row->len; n++)
            assert_string_equal(parse(row->data, n), "more");
        memcpy(data, row->data, row->len);
        memcpy(data + row->len, "\r\nGET ", 6);
        for (size_t n = 0; n <= 6; n++)
            assert_string_equal(parse(data, row->len + n), row->expected);
    }
}

/* Once bad it stays so, and it is bad by its end at the latest. */
static void test_bad_at_every_split(void **state)
{
    (void)state;
    EACH(row, bad)
    {
        bool was_bad = false;
        for (size_t n = 0; n <= row->len; n++) {
            const char *result = parse(row->data, n);
            if (strcmp(result, was_bad ? "bad" : "more") != 0 && strcmp(result, "bad") != 0)
                fail_msg("%.*s: %s at %zu", (int)row->len, row->data, result, n);
            was_bad = strcmp(result, "bad") == 0;
        }
        if (!was_bad)
            fail_msg("taken: %.*s", (int)row->len, row->data);
    }
}

static void test_longest_line(void **state)
{
    (void)state;
    char line[128];
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_string_equal(parse(line, 106), "more");
    assert_string_equal(parse(line, 107), "bad");
    memcpy(line + 105, "\r\n", 2);
    assert_string_equal(parse(line, 107), "107  0");
    memcpy(line + 105, "x\r\n", 3);
    assert_string_equal(parse(line, 108), "bad");
}

static void test_longest_extensions(void **state)
{
    (void)state;
    char data[PROXY_PROTOCOL_MAX + 1];
    memset(data, 'x', sizeof(data));
    memcpy(data, V2 "\x21\x11\x0f\xf0" V4_PAIR, 28);
    assert_string_equal(parse(data, PROXY_PROTOCOL_MAX - 1), "more");
    assert_string_equal(parse(data, PROXY_PROTOCOL_MAX), "4096 192.0.2.1 49152");
    assert_string_equal(parse(data, PROXY_PROTOCOL_MAX + 1), "4096 192.0.2.1 49152");
    data[15] = '\xf1';
    assert_string_equal(parse(data, 16), "bad");
}

/* A unix socket's addresses are there, and tell nothing. */
static void test_unix(void **state)
{
    (void)state;
    char data[16 + 216];
    memset(data, '/', sizeof(data));
    memcpy(data, V2 "\x21\x31\0\xd8", 16);
    assert_string_equal(parse(data, sizeof(data)), "232  0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_good_at_every_split),
        cmocka_unit_test(test_bad_at_every_split),
        cmocka_unit_test(test_longest_line),
        cmocka_unit_test(test_longest_extensions),
        cmocka_unit_test(test_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
