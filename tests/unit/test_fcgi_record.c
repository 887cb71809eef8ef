/* test_fcgi_record.c - the records that the gateway writes, byte for byte as FastCGI specification 1.0 has
 * them. */
#include "fcgi_record.h"

#include <fastcgi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_header(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        uint16_t id;
        size_t content;
        uint8_t bytes[FCGI_RECORD_HEADER];
    } cases[] = {
        {FCGI_STDIN,  1,      0,                {1, 5, 0, 1, 0, 0, 0, 0}            },
        {FCGI_PARAMS, 255,    255,              {1, 4, 0, 255, 0, 255, 0, 0}        },
        {FCGI_PARAMS, 256,    256,              {1, 4, 1, 0, 1, 0, 0, 0}            },
        {FCGI_STDIN,  0xabcd, 0x1234,           {1, 5, 0xab, 0xcd, 0x12, 0x34, 0, 0}},
        {FCGI_STDIN,  65535,  FCGI_CONTENT_MAX, {1, 5, 255, 255, 255, 255, 0, 0}    },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[FCGI_RECORD_HEADER];
        memset(out, 0xee, sizeof(out));
        fcgi_put_header(out, cases[i].type, cases[i].id, cases[i].content);
        assert_memory_equal(out, cases[i].bytes, sizeof(out));
    }
}

static void test_begin(void **state)
{
    (void)state;
    static const uint8_t keep[FCGI_RECORD_BEGIN] = {1, 1, 1, 2, 0, 8, 0, 0, 0, FCGI_RESPONDER, 1};
    static const uint8_t once[FCGI_RECORD_BEGIN] = {1, 1, 0, 7, 0, 8, 0, 0, 0, FCGI_RESPONDER, 0};
    uint8_t out[FCGI_RECORD_BEGIN];
    memset(out, 0xee, sizeof(out));
    fcgi_put_begin(out, 0x0102, true);
    assert_memory_equal(out, keep, sizeof(out));
    fcgi_put_begin(out, 7, false);
    assert_memory_equal(out, once, sizeof(out));
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        size_t name, value, count;
        uint8_t bytes[FCGI_PAIR_LENGTHS_MAX];
    } cases[] = {
        {0,          0,          2, {0, 0}                                          },
        {1,          127,        2, {1, 127}                                        },
        {127,        128,        5, {127, 0x80, 0, 0, 128}                          },
        {128,        127,        5, {0x80, 0, 0, 128, 127}                          },
        {256,        65536,      8, {0x80, 0, 1, 0, 0x80, 1, 0, 0}                  },
        {14,         0x01020304, 5, {14, 0x81, 2, 3, 4}                             },
        {0x7fffffff, 0x7fffffff, 8, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[FCGI_PAIR_LENGTHS_MAX];
        assert_int_equal(fcgi_put_lengths(out, cases[i].name, cases[i].value), cases[i].count);
        assert_memory_equal(out, cases[i].bytes, cases[i].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
