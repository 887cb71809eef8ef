/* test_forwarded.c - whom to believe, and what: chains, spoofed and broken headers. */
#include "forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"

#define LIST(...)                                                                                            \
    {                                                                                                        \
        (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)      \
    }

static const struct http_head_limits limits = {.request_line = 8192, .size = 1 << 20, .field_count = 1000};
static const struct conf_list proxies = LIST("10.0.0.0/8", "::1", "2001:db8:1::/48");
static const struct conf_list everything =
    LIST("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "forwarded");
static const struct conf_list usual = LIST("x-forwarded-for", "x-forwarded-proto");

/* What the fields say, as words: "client[:port] scheme host prefix", "-" for what was not told, then the
 * number of the headers that are good. */
static const char *read_fields(const struct conf_list *believed, bool trusted, const char *fields)
{
    static char out[512];
    static char text[1 << 19];
    char client[NETWORK_TEXT], port[16] = "";
    struct http_head head;
    struct forwarded_facts facts;
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    char *base = guard_copy(text, (size_t)len);
    http_head_init(&head);
    assert_int_equal(http_head_parse(&head, base, (size_t)len, &limits), HTTP_DONE);
    struct forwarded *f = forwarded_new(&proxies, believed);
    assert_non_null(f);
    forwarded_read(f, &head, base, trusted, &facts);
    network_text(&facts.client, client);
    if (facts.has_port)
        snprintf(port, sizeof(port), ":%u", facts.port);
    snprintf(out, sizeof(out), "%s%s %s %.*s %.*s %u", facts.client.width > 0 ? client : "-", port,
             facts.scheme != NULL ? facts.scheme : "-", facts.host.len > 0 ? (int)facts.host.len : 1,
             facts.host.len > 0 ? base + facts.host.off : "-",
             facts.prefix.len > 0 ? (int)facts.prefix.len : 1,
             facts.prefix.len > 0 ? base + facts.prefix.off : "-", facts.good);
    forwarded_free(f);
    guard_free(base, (size_t)len);
    return out;
}

struct row {
    const char *fields;
    const char *expected;
};

static void check(const struct conf_list *believed, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *result = read_fields(believed, true, rows[i].fields);
        if (strcmp(result, rows[i].expected) != 0)
            fail_msg("%s%s, not %s", rows[i].fields, result, rows[i].expected);
    }
}

#define CHECK(believed, rows) check(believed, rows, sizeof(rows) / sizeof(rows[0]))

#define FOR(value)    "X-Forwarded-For: " value "\r\n"
#define PROTO(value)  "X-Forwarded-Proto: " value "\r\n"
#define HOST(value)   "X-Forwarded-Host: " value "\r\n"
#define PREFIX(value) "X-Forwarded-Prefix: " value "\r\n"
#define STD(value)    "Forwarded: " value "\r\n"

static void test_for(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"",                                        "- - - - 0"                },
        {FOR("192.0.2.1"),                          "192.0.2.1 - - - 1"        },
        {"x-forwarded-FOR:192.0.2.1\r\n",           "192.0.2.1 - - - 1"        },
        {FOR("192.0.2.1:80"),                       "192.0.2.1:80 - - - 1"     },
        {FOR("2001:db8::9"),                        "2001:db8::9 - - - 1"      },
        {FOR("[2001:db8::9]"),                      "2001:db8::9 - - - 1"      },
        {FOR("[2001:db8::9]:65535"),                "2001:db8::9:65535 - - - 1"},
        {FOR("::ffff:192.0.2.1"),                   "192.0.2.1 - - - 1"        },
        {FOR("6.6.6.6, 192.0.2.1"),                 "192.0.2.1 - - - 1"        },
        {FOR("6.6.6.6, 192.0.2.1, 10.0.0.7"),       "192.0.2.1 - - - 1"        },
        {FOR("6.6.6.6,192.0.2.1:9,10.0.0.7:1,::1"), "192.0.2.1:9 - - - 1"      },
        {FOR("6.6.6.6") FOR("192.0.2.1"),           "192.0.2.1 - - - 1"        },
        {FOR("6.6.6.6, 192.0.2.1") FOR("10.0.0.7"), "192.0.2.1 - - - 1"        },
        {FOR("10.0.0.9, 10.0.0.8"),                 "10.0.0.9 - - - 1"         },
        {FOR("192.0.2.1, , ,10.0.0.7 ,"),           "192.0.2.1 - - - 1"        },
        {FOR(" \t192.0.2.1\t "),                    "192.0.2.1 - - - 1"        },
        {FOR(""),                                   "- - - - 1"                },
        {FOR("unknown"),                            "- - - - 1"                },
        {FOR("192.0.2.1, unknown, 10.0.0.7"),       "- - - - 1"                },
 /* what the client has written does not matter, however broken it is */
        {FOR("'; DROP TABLE, 192.0.2.1"),           "192.0.2.1 - - - 1"        },
        {FOR("\"a, 192.0.2.1"),                     "192.0.2.1 - - - 1"        },
 /* broken where it counts: nothing of it is taken */
        {FOR("192.0.2.1, bogus"),                   "- - - - 0"                },
        {FOR("192.0.2.1, bogus, 10.0.0.7"),         "- - - - 0"                },
        {FOR("192.0.2.1:"),                         "- - - - 0"                },
        {FOR("192.0.2.1:x"),                        "- - - - 0"                },
        {FOR("192.0.2.1:65536"),                    "- - - - 0"                },
        {FOR("192.0.2.1:000080"),                   "- - - - 0"                },
        {FOR("192.0.2.256"),                        "- - - - 0"                },
        {FOR("[192.0.2.1]"),                        "- - - - 0"                },
        {FOR("[2001:db8::9"),                       "- - - - 0"                },
        {FOR("[2001:db8::9]x"),                     "- - - - 0"                },
        {FOR("[]"),                                 "- - - - 0"                },
        {FOR("\"192.0.2.1\""),                      "- - - - 0"                },
        {FOR("_hidden"),                            "- - - - 0"                },
        {FOR("192.0.2.1 10.0.0.7"),                 "- - - - 0"                },
    };
    CHECK(&usual, rows);
}

static void test_proto_and_host(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {PROTO("https"),                                  "- https - - 2"               },
        {PROTO("HTTPS"),                                  "- https - - 2"               },
        {PROTO("http"),                                   "- http - - 2"                },
        {PROTO("https") PROTO("http"),                    "- http - - 2"                },
        {PROTO("https, http"),                            "- http - - 2"                },
        {PROTO("junk, https"),                            "- https - - 2"               },
 /* the proxy that the client has met stands one place further left */
        {FOR("192.0.2.1, 10.0.0.7") PROTO("https, http"), "192.0.2.1 https - - 3"       },
        {FOR("192.0.2.1, 10.0.0.7") PROTO("https"),       "192.0.2.1 https - - 3"       },
        {FOR("6.6.6.6, 192.0.2.1") PROTO("https, http"),  "192.0.2.1 http - - 3"        },
        {FOR("bogus") PROTO("https"),                     "- https - - 2"               },
        {PROTO("ftp"),                                    "- - - - 0"                   },
        {PROTO("https;"),                                 "- - - - 0"                   },
        {PROTO(""),                                       "- - - - 0"                   },
        {HOST("www.example.com"),                         "- - www.example.com - 4"     },
        {HOST("www.example.com:8443"),                    "- - www.example.com:8443 - 4"},
        {HOST("[2001:db8::9]:1"),                         "- - [2001:db8::9]:1 - 4"     },
        {HOST("evil.example, www.example.com"),           "- - www.example.com - 4"     },
        {FOR("192.0.2.1, 10.0.0.7") HOST("outer, inner"), "192.0.2.1 - outer - 5"       },
        {HOST("a b"),                                     "- - - - 0"                   },
        {HOST("user@www.example.com"),                    "- - - - 0"                   },
        {HOST("www.example.com/x"),                       "- - - - 0"                   },
        {HOST("www.example.com:x"),                       "- - - - 0"                   },
        {HOST(""),                                        "- - - - 0"                   },
    };
    CHECK(&everything, rows);
}

static void test_prefix(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {PREFIX("/app"),            "- - - /app 8"  },
        {PREFIX("/a/b.c/"),         "- - - /a/b.c 8"},
        {PREFIX("/"),               "- - - - 8"     },
        {PREFIX("app"),             "- - - - 0"     },
        {PREFIX("/a//b"),           "- - - - 0"     },
        {PREFIX("//evil"),          "- - - - 0"     },
        {PREFIX("/a/../b"),         "- - - - 0"     },
        {PREFIX("/a/.."),           "- - - - 0"     },
        {PREFIX("/./a"),            "- - - - 0"     },
        {PREFIX("/a%2fb"),          "- - - - 0"     },
        {PREFIX("/a?b"),            "- - - - 0"     },
        {PREFIX("/a b"),            "- - - - 0"     },
        {PREFIX("/\xc3\xa4"),       "- - - - 0"     },
        {PREFIX("/a, /b"),          "- - - - 0"     },
        {PREFIX("/a") PREFIX("/b"), "- - - - 0"     },
        {PREFIX(""),                "- - - - 0"     },
    };
    CHECK(&everything, rows);
}

static void test_standard(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {STD("for=192.0.2.1"),                                         "192.0.2.1 - - - 16"                 },
        {STD("For=\"192.0.2.1:4711\";PROTO=https;Host=a.example"),     "192.0.2.1:4711 https a.example - 16"},
        {STD("for=\"[2001:db8::9]:80\" ; proto=http"),                 "2001:db8::9:80 http - - 16"         },
        {STD("for=\"[2001:db8::9]\";by=_me;host=\"a:80\";x=\"\\\"\""), "2001:db8::9 - a:80 - 16"            },
        {STD("for=6.6.6.6;proto=https, for=192.0.2.1"),                "192.0.2.1 - - - 16"                 },
        {STD("for=192.0.2.1;proto=https, for=10.0.0.7;proto=http"),    "192.0.2.1 https - - 16"             },
        {STD("for=192.0.2.1;proto=https") STD("for=10.0.0.7"),         "192.0.2.1 https - - 16"             },
        {STD("for=10.0.0.9;host=x, for=10.0.0.7"),                     "10.0.0.9 - x - 16"                  },
        {STD("for=unknown;proto=https"),                               "- https - - 16"                     },
        {STD("for=_secret"),                                           "- - - - 16"                         },
        {STD("for=\"_secret:_port\""),                                 "- - - - 16"                         },
        {STD("for=\"192.0.2.1:_port\""),                               "192.0.2.1 - - - 16"                 },
        {STD("proto=https"),                                           "- https - - 16"                     },
        {STD("by=10.0.0.1, for=10.0.0.7"),                             "- - - - 16"                         },
        {STD(";;for=192.0.2.1;;"),                                     "192.0.2.1 - - - 16"                 },
 /* a quote that the client has opened is not closed by a proxy's */
        {STD("for=\", for=192.0.2.1"),                                 "192.0.2.1 - - - 16"                 },
        {STD("for=\"6.6.6.6, for=\"192.0.2.1\""),                      "192.0.2.1 - - - 16"                 },
        {STD("x=\"a,b\\\",c\", for=10.0.0.7"),                         "- - - - 16"                         },
        {STD("for=192.0.2.1, for=bogus"),                              "- - - - 0"                          },
        {STD("for=2001:db8::9"),                                       "- - - - 0"                          },
        {STD("for=\"2001:db8::9\""),                                   "- - - - 0"                          },
        {STD("for=192.0.2.1;for=192.0.2.2"),                           "- - - - 0"                          },
        {STD("for=192.0.2.1;proto=https;proto=http"),                  "- - - - 0"                          },
        {STD("for=192.0.2.1;host=a;host=b"),                           "- - - - 0"                          },
        {STD("for=192.0.2.1;proto=gopher"),                            "- - - - 0"                          },
        {STD("for=192.0.2.1;host=\"a b\""),                            "- - - - 0"                          },
        {STD("for=192.0.2.1;host=\"\""),                               "- - - - 0"                          },
        {STD("for=\"192.0.2.\\1\""),                                   "- - - - 0"                          },
        {STD("for=192.0.2.1 proto=https"),                             "- - - - 0"                          },
        {STD("for=\"192.0.2.1\"proto=https"),                          "- - - - 0"                          },
        {STD("for"),                                                   "- - - - 0"                          },
        {STD("for="),                                                  "- - - - 0"                          },
        {STD("for=\"\""),                                              "- - - - 0"                          },
        {STD("=192.0.2.1"),                                            "- - - - 0"                          },
        {STD("for=192.0.2.1\""),                                       "- - - - 0"                          },
        {STD("x=\"\\"),                                                "- - - - 0"                          },
        {STD("192.0.2.1"),                                             "- - - - 0"                          },
    };
    CHECK(&everything, rows);
}

static void test_both(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {FOR("192.0.2.1") STD("for=192.0.2.2;proto=https") PROTO("http"), "192.0.2.2 https - - 19"},
        {FOR("192.0.2.1") STD("host=a") PROTO("http") HOST("b"),          "192.0.2.1 http a - 23" },
        {FOR("192.0.2.1") STD("for=_x"),                                  "- - - - 17"            },
        {FOR("192.0.2.1") STD("for=bogus;proto=https"),                   "192.0.2.1 - - - 1"     },
    };
    CHECK(&everything, rows);
}

/* Of headers that are not listed, and of peers that are not trusted, nothing is taken. */
static void test_unbelieved(void **state)
{
    (void)state;
    static const struct conf_list nothing = {.items = NULL};
    const char *all = FOR("192.0.2.1") PROTO("https") HOST("a") PREFIX("/p") STD("for=192.0.2.2");
    assert_string_equal(read_fields(&usual, true, all), "192.0.2.1 https - - 3");
    assert_string_equal(read_fields(&nothing, true, all), "- - - - 0");
    assert_string_equal(read_fields(&everything, false, all), "- - - - 0");
}

/* Of very many lines the last ones count. */
static void test_many_lines(void **state)
{
    (void)state;
    static char fields[64 * 1024];
    size_t n = 0;
    for (int i = 0; i < 900; i++)
        n += (size_t)snprintf(fields + n, sizeof(fields) - n, FOR("192.0.2.%d"), i % 200);
    assert_string_equal(read_fields(&usual, true, fields), "192.0.2.99 - - - 1");
    n = (size_t)snprintf(fields, sizeof(fields), FOR("192.0.2.1"));
    for (int i = 0; i < 900; i++)
        n += (size_t)snprintf(fields + n, sizeof(fields) - n, FOR("10.0.0.%d"), i % 200);
    assert_string_equal(read_fields(&usual, true, fields), "10.0.0.84 - - - 1");
}

static bool trusts(const struct conf_list *list, const char *peer)
{
    struct network address = {.width = 0};
    struct forwarded *f = forwarded_new(list, &usual);
    assert_non_null(f);
    if (*peer != '\0')
        assert_true(network_address(peer, strlen(peer), &address));
    bool result = forwarded_trusts(f, &address);
    forwarded_free(f);
    return result;
}

static void test_trust(void **state)
{
    (void)state;
    const struct conf_list nobody = {.items = NULL}, standard = LIST("127.0.0.1", "::1", "unix"),
                           private = LIST("private"), all = LIST("192.0.2.1", "*");
    static const char *const within[] = {"10.255.0.1",  "172.16.0.1", "172.31.255.255",
                                         "192.168.3.4", "127.9.9.9",  "169.254.1.1",
                                         "fd12::1",     "::1",        "fe80::1"};
    static const char *const outside[] = {"11.0.0.1",    "172.32.0.1",  "172.15.0.1", "192.169.0.1",
                                          "128.0.0.1",   "169.255.0.1", "fec0::1",    "::2",
                                          "2001:db8::1", "192.0.2.1"};
    assert_true(trusts(&standard, "127.0.0.1") && trusts(&standard, "::1") && trusts(&standard, ""));
    assert_true(trusts(&standard, "::ffff:127.0.0.1"));
    assert_false(trusts(&standard, "127.0.0.2") || trusts(&standard, "::2"));
    assert_false(trusts(&nobody, "127.0.0.1") || trusts(&nobody, ""));
    assert_true(trusts(&all, "203.0.113.1") && trusts(&all, "::2") && trusts(&all, ""));
    assert_false(trusts(&private, ""));
    for (size_t i = 0; i < sizeof(within) / sizeof(within[0]); i++)
        assert_true(trusts(&private, within[i]));
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_false(trusts(&private, outside[i]));
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned kind;
    } rows[] = {
        {"X-Forwarded-For",    FORWARDED_FOR     },
        {"x-forwarded-proto",  FORWARDED_PROTO   },
        {"X-FORWARDED-HOST",   FORWARDED_HOST    },
        {"X-Forwarded-Prefix", FORWARDED_PREFIX  },
        {"forwarded",          FORWARDED_STANDARD},
        {"X-Forwarded-Port",   FORWARDED_OTHER   },
        {"X-Forwarded-",       FORWARDED_OTHER   },
        {"X-Forwarded",        0                 },
        {"X-Forwarded-Forx",   FORWARDED_OTHER   },
        {"Forwarded-For",      0                 },
        {"Host",               0                 },
        {"",                   0                 },
        {"X-Request-ID",       0                 },
        {"Forwardee",          0                 },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(forwarded_kind(rows[i].name, strlen(rows[i].name)), rows[i].kind);
    assert_string_equal(forwarded_name(FORWARDED_PROTO | FORWARDED_STANDARD), "X-Forwarded-Proto");
    assert_string_equal(forwarded_name(FORWARDED_STANDARD), "Forwarded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for),        cmocka_unit_test(test_proto_and_host),
        cmocka_unit_test(test_prefix),     cmocka_unit_test(test_standard),
        cmocka_unit_test(test_both),       cmocka_unit_test(test_unbelieved),
        cmocka_unit_test(test_many_lines), cmocka_unit_test(test_trust),
        cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
