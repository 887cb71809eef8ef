/* test_http_chunked.c - every coded body of the tables is decoded whole, byte by byte and at every split
 * point, each time in a copy that ends at an unreadable page: data, verdict and position have to be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "http_chunked.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(text)  (text), sizeof(text) - 1

enum { RAW_MAX = 20000 };

struct outcome {
    enum http_parse result;
    const char *reason;
    size_t consumed;
    size_t produced;
    char body[RAW_MAX];
};

/* Decodes the piece data[0..len) of a body and adds what came out to *o. */
static void feed(struct http_chunked *c, const char *data, size_t len, struct outcome *o)
{
    size_t consumed, produced;
    char *copy = guard_copy(data, len);
    o->result = http_chunked_decode(c, copy, len, &consumed, &produced);
    assert_true(produced <= consumed && consumed <= len);
    assert_true(o->result != HTTP_MORE || consumed == len);
    assert_memory_equal(copy + consumed, data + consumed, len - consumed);
    memcpy(o->body + o->produced, copy, produced);
    o->consumed += consumed;
    o->produced += produced;
    o->reason = o->result == HTTP_BAD ? c->reason : "";
    guard_free(copy, len);
}

/* Decodes data[0..len) in pieces: the first of `first` bytes, the others of `step`. */
static void decode(const char *data, size_t len, size_t first, size_t step, struct outcome *o)
{
    struct http_chunked c;
    http_chunked_init(&c);
    *o = (struct outcome){.result = HTTP_MORE};
    for (size_t at = 0, n = first; o->result == HTTP_MORE && at < len; at += n, n = step)
        feed(&c, data + at, n < len - at ? n : len - at, o);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->result, b->result);
    assert_int_equal(a->consumed, b->consumed);
    assert_int_equal(a->produced, b->produced);
    assert_memory_equal(a->body, b->body, a->produced);
    assert_string_equal(a->reason, b->reason);
}

static const struct outcome *decode_every_way(const char *data, size_t len)
{
    static struct outcome whole, other;
    decode(data, len, len, 1, &whole);
    decode(data, len, 1, 1, &other);
    assert_same(&whole, &other);
    for (size_t split = 1; split < len; split++) {
        decode(data, len, split, len, &other);
        assert_same(&whole, &other);
    }
    return &whole;
}

/* ---- good bodies ---- */

static void test_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        const char *body;
    } rows[] = {
        {"0\r\n\r\n",                                               ""                         },
        {"000\r\n\r\n",                                             ""                         },
        {"5\r\nhello\r\n0\r\n\r\n",                                 "hello"                    },
        {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",                  "hello world"              },
        {"000000000000005\r\nhello\r\n0\r\n\r\n",                   "hello"                    },
        {"A\r\n0123456789\r\nb\r\n0\r\n\r\n012345\r\n0\r\n\r\n",    "01234567890\r\n\r\n012345"},
        {"10\r\n0123456789abcdef\r\n0\r\n\r\n",                     "0123456789abcdef"         },
        {"1;a\r\nx\r\n0;b=c;d\r\n\r\n",                             "x"                        },
        {"1;a=\"q \\\" \t;:=\xe4\"\r\nx\r\n0\r\n\r\n",              "x"                        },
        {"1;a=\"\";b=\"\\\\\"\r\nx\r\n0\r\n\r\n",                   "x"                        },
        {"0\r\nA: b\r\n\r\n",                                       ""                         },
        {"1\r\nx\r\n0\r\nDigest:\r\nX-y!: \t\xe4 \"\\;=:,\r\n\r\n", "x"                        },
        {"0\r\nHosts: a\r\nX-Content-Length: 1\r\nT: 1\r\n\r\n",    ""                         },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct outcome *o = decode_every_way(rows[i].raw, strlen(rows[i].raw));
        if (o->result != HTTP_DONE)
            fail_msg("%s\n-> %d %s", rows[i].raw, o->result, o->reason);
        assert_int_equal(o->produced, strlen(rows[i].body));
        assert_memory_equal(o->body, rows[i].body, o->produced);
        assert_int_equal(o->consumed, strlen(rows[i].raw));
    }
}

static void test_rest_is_untouched(void **state)
{
    (void)state;
    static const char raw[] = "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    const struct outcome *o = decode_every_way(BYTES(raw));
    assert_int_equal(o->result, HTTP_DONE);
    assert_int_equal(o->consumed, strlen("3\r\nabc\r\n0\r\n\r\n"));
}

static void test_after_the_end(void **state)
{
    (void)state;
    char raw[] = "0\r\n\r\n", more[] = "5";
    size_t consumed, produced;
    struct http_chunked c;
    http_chunked_init(&c);
    assert_int_equal(http_chunked_decode(&c, raw, 5, &consumed, &produced), HTTP_DONE);
    assert_int_equal(http_chunked_decode(&c, more, 1, &consumed, &produced), HTTP_DONE);
    assert_int_equal(consumed, 0);
    assert_int_equal(produced, 0);
}

static void test_more(void **state)
{
    (void)state;
    static const char raw[] = "5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for (size_t len = 1; len < sizeof(raw) - 1; len++)
        assert_int_equal(decode_every_way(raw, len)->result, HTTP_MORE);
    struct http_chunked c;
    size_t consumed, produced;
    http_chunked_init(&c);
    assert_int_equal(http_chunked_decode(&c, NULL, 0, &consumed, &produced), HTTP_MORE);
}

/* The largest size that is taken, without its data. */
static void test_largest_size(void **state)
{
    (void)state;
    char raw[] = "fffffffffffffff\r\nabc";
    size_t consumed, produced;
    struct http_chunked c;
    http_chunked_init(&c);
    assert_int_equal(http_chunked_decode(&c, raw, sizeof(raw) - 1, &consumed, &produced), HTTP_MORE);
    assert_int_equal(produced, 3);
    assert_true(c.left == (UINT64_C(1) << 60) - 1 - 3);
}

/* ---- bad ones ---- */

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        size_t len;
        const char *reason;
    } rows[] = {
        {BYTES("\r\n"),                                            "bad chunk size"                       },
        {BYTES(";a\r\n"),                                          "bad chunk size"                       },
        {BYTES(" 5\r\n"),                                          "bad chunk size"                       },
        {BYTES("5 \r\n"),                                          "bad chunk size"                       },
        {BYTES("5\t;a\r\n"),                                       "bad chunk size"                       },
        {BYTES("g\r\n"),                                           "bad chunk size"                       },
        {BYTES("+5\r\n"),                                          "bad chunk size"                       },
        {BYTES("-5\r\n"),                                          "bad chunk size"                       },
        {BYTES("0x5\r\n"),                                         "bad chunk size"                       },
        {BYTES("5_0\r\n"),                                         "bad chunk size"                       },
        {BYTES("5\n"),                                             "bad chunk size"                       },
        {BYTES("5\0\r\n"),                                         "bad chunk size"                       },
        {BYTES("1000000000000000\r\n"),                            "chunk size too long"                  },
        {BYTES("0000000000000005\r\n"),                            "chunk size too long"                  },
        {BYTES("5\rx"),                                            "bare CR behind a chunk size"          },
        {BYTES("5\r\r\n"),                                         "bare CR behind a chunk size"          },
        {BYTES("5;\r\n"),                                          "bad chunk extension"                  },
        {BYTES("5;;a\r\n"),                                        "bad chunk extension"                  },
        {BYTES("5; a\r\n"),                                        "bad chunk extension"                  },
        {BYTES("5;a b\r\n"),                                       "bad chunk extension"                  },
        {BYTES("5;a=\r\n"),                                        "bad chunk extension"                  },
        {BYTES("5;=b\r\n"),                                        "bad chunk extension"                  },
        {BYTES("5;a=b=c\r\n"),                                     "bad chunk extension"                  },
        {BYTES("5;a\n"),                                           "bad chunk extension"                  },
        {BYTES("5;a=b\n"),                                         "bad chunk extension"                  },
        {BYTES("5;a\0b\r\n"),                                      "bad chunk extension"                  },
        {BYTES("5;a=\x01\r\n"),                                    "bad chunk extension"                  },
        {BYTES("5;a=\"\x7f\"\r\n"),                                "bad chunk extension"                  },
        {BYTES("5;a=\"b\r\n"),                                     "bad chunk extension"                  },
        {BYTES("5;a=\"b\n"),                                       "bad chunk extension"                  },
        {BYTES("5;a=\"\\\r\n"),                                    "bad chunk extension"                  },
        {BYTES("5;a=\"\\\x01\"\r\n"),                              "bad chunk extension"                  },
        {BYTES("5;a=\"b\"c\r\n"),                                  "bad chunk extension"                  },
        {BYTES("1\r\nxy\r\n"),                                     "chunk longer than its size"           },
        {BYTES("1\r\nx\n"),                                        "chunk longer than its size"           },
        {BYTES("1\r\nx0\r\n"),                                     "chunk longer than its size"           },
        {BYTES("1\r\nx\r0"),                                       "bare CR behind a chunk"               },
        {BYTES("1\r\nx\r\n\r\n"),                                  "bad chunk size"                       },
        {BYTES("0\r\nA b: c\r\n\r\n"),                             "bad trailer name"                     },
        {BYTES("0\r\nA : c\r\n\r\n"),                              "bad trailer name"                     },
        {BYTES("0\r\n A: c\r\n\r\n"),                              "bad trailer name"                     },
        {BYTES("0\r\n: c\r\n\r\n"),                                "bad trailer name"                     },
        {BYTES("0\r\nA\r\n\r\n"),                                  "bad trailer name"                     },
        {BYTES("0\r\nA\0: c\r\n\r\n"),                             "bad trailer name"                     },
        {BYTES("0\r\nA: c\r\n folded\r\n\r\n"),                    "bad trailer name"                     },
        {BYTES("0\r\n\n"),                                         "bad trailer name"                     },
        {BYTES("0\r\nA:\n\r\n"),                                   "bad trailer value"                    },
        {BYTES("0\r\nA: c\n\r\n"),                                 "bad trailer value"                    },
        {BYTES("0\r\nA: \0\r\n\r\n"),                              "bad trailer value"                    },
        {BYTES("0\r\nA: b\x7f\r\n\r\n"),                           "bad trailer value"                    },
        {BYTES("0\r\nA: b\rc\r\n\r\n"),                            "bare CR in a trailer"                 },
        {BYTES("0\r\n\rGET"),                                      "bare CR behind the trailers"          },
        {BYTES("0\r\nContent-Length: 5\r\n\r\n"),                  "framing or routing field in a trailer"},
        {BYTES("0\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n"), "framing or routing field in a trailer"},
        {BYTES("0\r\nHOST: a\r\n\r\n"),                            "framing or routing field in a trailer"},
        {BYTES("0\r\nConnection: close\r\n\r\n"),                  "framing or routing field in a trailer"},
        {BYTES("0\r\nTE: x\r\n\r\n"),                              "framing or routing field in a trailer"},
        {BYTES("0\r\nX-Forwarded-Prefix: /\r\n\r\n"),              "framing or routing field in a trailer"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct outcome *o = decode_every_way(rows[i].raw, rows[i].len);
        if (o->result != HTTP_BAD || strcmp(o->reason, rows[i].reason) != 0)
            fail_msg("%s\n-> %d %s", rows[i].raw, o->result, o->reason);
    }
}

static void test_bad_stays_bad(void **state)
{
    (void)state;
    char raw[] = "x0\r\n\r\n";
    size_t consumed, produced;
    struct http_chunked c;
    http_chunked_init(&c);
    assert_int_equal(http_chunked_decode(&c, raw, 6, &consumed, &produced), HTTP_BAD);
    assert_int_equal(http_chunked_decode(&c, raw + 1, 5, &consumed, &produced), HTTP_BAD);
    assert_int_equal(consumed, 0);
    assert_string_equal(c.reason, "bad chunk size");
}

/* ---- bounds: at each, and one past it ---- */

/* The bytes from each ';' up to the CR count, over all chunks of a body. */
static void test_extension_bound(void **state)
{
    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        char raw[RAW_MAX];
        struct outcome o;
        int half = HTTP_CHUNKED_EXTENSIONS_MAX / 2;
        int n = snprintf(raw, sizeof(raw), "1;%0*d\r\nx\r\n0;a=\"%0*d\"\r\n\r\n", half - 1, 0,
                         half - 5 + extra, 0);
        decode(raw, (size_t)n, (size_t)n, 1, &o);
        assert_int_equal(o.result, extra ? HTTP_BAD : HTTP_DONE);
        assert_string_equal(o.reason, extra ? "chunk extensions too long" : "");
    }
}

static void test_trailer_bound(void **state)
{
    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        char raw[RAW_MAX];
        struct outcome o;
        int value = HTTP_CHUNKED_TRAILERS_MAX - (int)strlen("A:1\r\nB:\r\n") + extra;
        int n = snprintf(raw, sizeof(raw), "0\r\nA:1\r\nB:%0*d\r\n\r\n", value, 0);
        decode(raw, (size_t)n, (size_t)n, 1, &o);
        assert_int_equal(o.result, extra ? HTTP_BAD : HTTP_DONE);
        assert_string_equal(o.reason, extra ? "trailers too long" : "");
    }
}

/* A name longer than what is kept of it is not taken for a short one, and the next name starts anew. */
static void test_long_trailer_names(void **state)
{
    (void)state;
    static const char good[] = "0\r\nHost-0123456789-0123456789-0123456789-0123456789: a\r\nB: c\r\n\r\n";
    static const char bad[] = "0\r\nX-0123456789-0123456789-0123456789-0123456789: a\r\nHost: c\r\n\r\n";
    assert_int_equal(decode_every_way(BYTES(good))->result, HTTP_DONE);
    assert_int_equal(decode_every_way(BYTES(bad))->result, HTTP_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),        cmocka_unit_test(test_rest_is_untouched),
        cmocka_unit_test(test_after_the_end), cmocka_unit_test(test_more),
        cmocka_unit_test(test_largest_size),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_stays_bad), cmocka_unit_test(test_extension_bound),
        cmocka_unit_test(test_trailer_bound), cmocka_unit_test(test_long_trailer_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
