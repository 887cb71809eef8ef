/* test_body.c - a body at every split between memory and file, as a queue and rewound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"

enum { MEMORY = 600 };

static void fill(char *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(i * 31 + i / 251);
}

/* Reads `n` bytes in pieces of at most `piece` and compares them with expect. */
static void read_all(struct body *b, const char *expect, size_t n, size_t piece)
{
    char scratch[128];
    size_t done = 0;
    while (done < n) {
        const char *data = NULL;
        long got = body_peek(b, scratch, sizeof(scratch), &data);
        assert_true(got > 0);
        size_t take = (size_t)got < piece ? (size_t)got : piece;
        if (take > n - done)
            take = n - done;
        assert_memory_equal(data, expect + done, take);
        body_skip(b, take);
        done += take;
    }
}

static void test_every_length_and_rewind(void **unused)
{
    (void)unused;
    char expect[MEMORY * 3];
    fill(expect, sizeof(expect));
    for (size_t n = 1; n <= sizeof(expect); n += 7) {
        struct body b;
        body_init(&b, MEMORY, 1 << 20);
        assert_true(body_put(&b, expect, n / 2));
        assert_true(body_put(&b, expect + n / 2, n - n / 2));
        assert_int_equal(body_len(&b), n);
        assert_int_equal(b.fd != -1, n > MEMORY);
        read_all(&b, expect, n, 50);
        assert_int_equal(body_left(&b), 0);
        body_rewind(&b);
        assert_int_equal(body_left(&b), n);
        read_all(&b, expect, n, 1000);
        body_free(&b);
        assert_int_equal(body_len(&b), 0);
    }
}

static void test_queue_is_reused(void **unused)
{
    (void)unused;
    char expect[MEMORY * 2];
    struct body b;
    fill(expect, sizeof(expect));
    body_init(&b, MEMORY, 1 << 20);
    for (int round = 0; round < 50; round++) {
        assert_true(body_put(&b, expect, sizeof(expect)));
        read_all(&b, expect, sizeof(expect), 333);
        body_reuse(&b);
        assert_int_equal(body_len(&b), 0);
        assert_int_equal(body_room(&b), MEMORY + (1 << 20));
    }
    body_free(&b);
}

/* Read and written in turn, the order is kept and memory does not grow past its ceiling. */
static void test_queue_keeps_order(void **unused)
{
    (void)unused;
    char byte, scratch[64];
    unsigned written = 0, seen = 0;
    struct body b;
    body_init(&b, MEMORY, 1 << 20);
    for (int step = 0; step < 3000; step++) {
        for (int i = 0; i < step % 7; i++) {
            byte = (char)written++;
            assert_true(body_put(&b, &byte, 1));
        }
        for (int i = 0; i < step % 5 && body_left(&b) > 0; i++) {
            const char *data;
            assert_true(body_peek(&b, scratch, sizeof(scratch), &data) > 0);
            assert_int_equal((unsigned char)*data, (unsigned char)seen++);
            body_skip(&b, 1);
            body_reuse(&b);
        }
        assert_true(b.mem.cap <= MEMORY);
    }
    assert_true(seen < written);
    body_free(&b);
}

static void test_ceiling(void **unused)
{
    (void)unused;
    char data[MEMORY] = {0};
    struct body b;
    body_init(&b, MEMORY, 100);
    assert_true(body_put(&b, data, MEMORY));
    assert_int_equal(body_room(&b), 100);
    assert_false(body_put(&b, data, 101));
    assert_int_equal(errno, EFBIG);
    assert_int_equal(body_len(&b), MEMORY);
    assert_true(body_put(&b, data, 100));
    assert_int_equal(body_room(&b), 0);
    assert_false(body_put(&b, data, 1));
    body_free(&b);
}

static void test_no_directory_for_the_file(void **unused)
{
    (void)unused;
    char data[MEMORY + 1] = {0};
    struct body b;
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    body_init(&b, MEMORY, 1 << 20);
    assert_false(body_put(&b, data, sizeof(data)));
    assert_int_equal(errno, ENOENT);
    body_free(&b);
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_and_rewind),   cmocka_unit_test(test_queue_is_reused),
        cmocka_unit_test(test_queue_keeps_order),         cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_no_directory_for_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
