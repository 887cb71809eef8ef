/* test_json.c - JSON strings: what is escaped, what is kept, what is replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "json.h"

#define REPLACED "\xef\xbf\xbd"

static void check(const char *text, size_t len, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_true(json_string(&out, text, len));
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);
    buf_free(&out);
}

static void test_escapes(void **state)
{
    (void)state;
    check("", 0, "\"\"");
    check("plain /text", 11, "\"plain /text\"");
    check("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    check("\n\t\0\x1f\x7f", 5, "\"\\n\\u0009\\u0000\\u001f\\u007f\"");
    check("\xc2\x9b\x32J\xc2\x80\xc2\x9f", 8, "\"\\u009b2J\\u0080\\u009f\"");
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const kept[] = {"\xc2\xa0",         "\xc3\xa4",        "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",     "\xee\x80\x80",    "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        char expected[16] = "\"";
        strcat(expected, kept[i]);
        strcat(expected, "\"");
        check(kept[i], strlen(kept[i]), expected);
        assert_int_equal(json_utf8(kept[i], strlen(kept[i])), strlen(kept[i]));
        assert_int_equal(json_utf8(kept[i], strlen(kept[i]) - 1), 0);
    }
}

static void test_invalid_bytes(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80",
                                      "\xff",
                                      "\xc3(",
                                      "\xe2\x82("};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(json_utf8(bad[i], strlen(bad[i])), 0);
    check("a\xff z", 4, "\"a" REPLACED " z\"");
    check("\xc3(", 2, "\"" REPLACED "(\"");
    check("\xe2\x82", 2, "\"" REPLACED REPLACED "\"");
}

static void test_no_room(void **state)
{
    (void)state;
    struct buf out;
    for (uint32_t room = 0; room < 8; room++) {
        buf_init(&out, room);
        assert_false(json_string(&out, "abc\"def", 7));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest json[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_invalid_bytes),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(json, NULL, NULL);
}
