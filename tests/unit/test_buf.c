/* test_buf.c - contents, the ceiling, and what the process is told to have allocated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"

static void assert_holds(const struct buf *b, const char *expected)
{
    assert_int_equal(b->len, strlen(expected));
    assert_memory_equal(b->data, expected, b->len);
}

static void test_empty(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
    assert_int_equal(b.max, 100);
    assert_int_equal(buf_allocated(), 0);
    assert_true(buf_put(&b, NULL, 0));
    assert_true(buf_reserve(&b, 0));
    buf_consume(&b, 0);
    assert_null(b.data);
    buf_free(&b);
}

static void test_append(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_true(buf_put(&b, "a\0b", 3));
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "a\0b", 3);
    b.len = 0;
    assert_true(buf_puts(&b, "x"));
    assert_true(buf_puts(&b, ""));
    assert_true(buf_putc(&b, ' '));
    assert_true(buf_put_uint(&b, 0));
    assert_true(buf_putc(&b, ' '));
    assert_true(buf_put_uint(&b, 1230));
    assert_true(buf_putc(&b, ' '));
    assert_true(buf_put_uint(&b, UINT64_MAX));
    assert_true(buf_printf(&b, " %d|%s", -5, "y"));
    assert_holds(&b, "x 0 1230 18446744073709551615 -5|y");
    buf_free(&b);
}

static void test_growth_keeps_the_contents(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        assert_true(buf_putc(&b, (char)(i * 7)));
        assert_true(b.cap >= b.len && b.cap <= b.max);
        assert_int_equal(buf_allocated(), b.cap);
    }
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], (char)(i * 7));
    assert_false(buf_putc(&b, 'x'));
    buf_free(&b);
    assert_int_equal(buf_allocated(), 0);
}

static void test_first_allocation_is_small(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_true(buf_putc(&b, 'x'));
    assert_true(b.cap <= 512);
    assert_true(buf_reserve(&b, 5000));
    assert_true(b.cap >= 5001);
    assert_holds(&b, "x");
    buf_free(&b);
}

static void test_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    assert_false(buf_full(&b, 4));
    assert_true(buf_full(&b, 5));
    assert_true(buf_full(&b, SIZE_MAX));
    assert_false(buf_put(&b, "abcde", 5));
    assert_int_equal(b.len, 0);
    assert_true(buf_put(&b, "abc", 3));
    assert_false(buf_puts(&b, "de"));
    assert_false(buf_reserve(&b, 2));
    assert_false(buf_reserve(&b, SIZE_MAX));
    assert_false(buf_put_uint(&b, 10));
    assert_false(buf_printf(&b, "%d", 10));
    assert_holds(&b, "abc");
    assert_true(buf_putc(&b, 'd'));
    assert_true(buf_full(&b, 1));
    assert_false(buf_full(&b, 0));
    assert_false(buf_putc(&b, 'e'));
    assert_true(buf_puts(&b, ""));
    assert_holds(&b, "abcd");
    assert_int_equal(b.cap, 4);
    buf_free(&b);
}

static void test_no_room_at_all(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    assert_false(buf_putc(&b, 'x'));
    assert_true(buf_put(&b, "", 0));
    assert_int_equal(buf_allocated(), 0);
    buf_free(&b);
}

/* Doubling must not pass a ceiling that no 32-bit double can reach. */
static void test_largest_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, UINT32_MAX);
    assert_true(buf_putc(&b, 'x'));
    assert_true(buf_full(&b, UINT32_MAX));
    assert_false(buf_reserve(&b, UINT32_MAX));
    assert_true(buf_reserve(&b, 100000));
    assert_true(b.cap >= 100000);
    buf_free(&b);
}

static void test_consume(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_true(buf_puts(&b, "abcdefgh"));
    buf_consume(&b, 0);
    assert_holds(&b, "abcdefgh");
    buf_consume(&b, 3);
    assert_holds(&b, "defgh");
    assert_true(buf_puts(&b, "i"));
    buf_consume(&b, 6);
    assert_int_equal(b.len, 0);
    assert_true(buf_puts(&b, "again"));
    assert_holds(&b, "again");
    buf_free(&b);
}

static void test_shrink(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    buf_shrink(&b);
    assert_null(b.data);
    assert_true(buf_puts(&b, "abc"));
    assert_true(buf_reserve(&b, 4000));
    uint32_t small = b.cap;
    buf_shrink(&b);
    assert_int_equal(b.cap, small); /* not worth it */
    assert_true(buf_reserve(&b, 50000));
    buf_shrink(&b);
    assert_int_equal(b.cap, 512);
    assert_int_equal(buf_allocated(), 512);
    assert_holds(&b, "abc");
    assert_true(buf_reserve(&b, 50000));
    b.len = 20000;
    buf_shrink(&b);
    assert_int_equal(b.cap, 20000);
    assert_int_equal(buf_allocated(), 20000);
    assert_memory_equal(b.data, "abc", 3);
    buf_free(&b);
}

static void test_free_and_use_again(void **state)
{
    (void)state;
    struct buf a, b;
    buf_init(&a, 100);
    buf_init(&b, 2000);
    assert_true(buf_puts(&a, "a"));
    assert_true(buf_reserve(&b, 2000));
    assert_int_equal(buf_allocated(), a.cap + b.cap);
    buf_free(&a);
    assert_int_equal(buf_allocated(), b.cap);
    assert_null(a.data);
    buf_free(&a);
    assert_true(buf_puts(&a, "again"));
    assert_holds(&a, "again");
    assert_int_equal(a.max, 100);
    buf_free(&a);
    buf_free(&b);
    assert_int_equal(buf_allocated(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth_keeps_the_contents),
        cmocka_unit_test(test_first_allocation_is_small),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_no_room_at_all),
        cmocka_unit_test(test_largest_ceiling),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_free_and_use_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
