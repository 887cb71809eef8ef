/* test_body.c - a body at every split between memory and file, as a queue and rewound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Memory is short: what it has is filled, the rest goes to the file, until it is drained. */
static void test_to_file(void **unused)
{
    (void)unused;
    char expect[MEMORY * 2];
    struct body b;
    fill(expect, sizeof(expect));
    body_init(&b, MEMORY, 1 << 20);
    assert_true(body_put(&b, expect, 10));
    uint32_t cap = b.mem.cap;
    assert_true(cap < MEMORY);
    body_to_file(&b);
    assert_int_equal(body_room(&b), cap - 10 + (1 << 20));
    assert_true(body_put(&b, expect + 10, sizeof(expect) - 10));
    assert_int_equal(b.mem.cap, cap);
    assert_int_equal(b.file_len, sizeof(expect) - cap);
    read_all(&b, expect, sizeof(expect), 77);
    body_reuse(&b);
    assert_null(b.mem.data);
    assert_int_equal(body_room(&b), MEMORY + (1 << 20));
    body_to_file(&b);
    assert_true(body_put(&b, expect, 1));
    assert_int_equal(b.file_len, 1);
    body_free(&b);
    assert_true(body_put(&b, expect, 1));
    assert_int_equal(b.file_len, 0);
    body_free(&b);
}

/* The files of all bodies are counted together, and no more once they are drained or freed. */
static void test_spooled(void **unused)
{
    (void)unused;
    char data[MEMORY + 100] = {0}, scratch[64];
    struct body a, b;
    body_init(&a, MEMORY, 1 << 20);
    body_init(&b, 0, 1 << 20);
    assert_int_equal(body_spooled(), 0);
    assert_true(body_put(&a, data, sizeof(data)));
    assert_int_equal(body_spooled(), 100);
    assert_true(body_put(&b, data, 50));
    assert_int_equal(body_spooled(), 150);
    const char *at;
    for (long n; (n = body_peek(&b, scratch, sizeof(scratch), &at)) > 0;)
        body_skip(&b, (size_t)n);
    body_reuse(&b);
    assert_int_equal(body_spooled(), 100);
    assert_true(body_put(&b, data, 7));
    body_free(&b);
    body_free(&a);
    assert_int_equal(body_spooled(), 0);
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
    b.spare = 1; /* once, and then the ceiling is that of the memory */
    assert_int_equal(body_room(&b), MEMORY + (1 << 20));
    assert_true(body_put(&b, data, sizeof(data)));
    assert_int_equal(body_left(&b), sizeof(data));
    assert_int_equal(body_room(&b), 0);
    body_skip(&b, sizeof(data));
    body_reuse(&b);
    assert_int_equal(body_room(&b), sizeof(data));
    assert_false(body_put(&b, data, sizeof(data) + 1));
    body_free(&b);
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

/* A file of its own with these bytes, open for reading and writing. */
static int own_file(const char *data, size_t n)
{
    char path[] = "/tmp/leangate-body-XXXXXX";
    int fd = mkstemp(path);
    assert_int_not_equal(fd, -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(fd, data, n), n);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

/* Memory, a file of its own, then a piece of somebody else's: one sequence, whatever is empty. */
static void test_attached(void **unused)
{
    (void)unused;
    char expect[MEMORY * 3], scratch[64];
    fill(expect, sizeof(expect));
    for (size_t put = 0; put <= MEMORY * 2; put += MEMORY / 2) {
        struct body b;
        int fd = own_file(expect, sizeof(expect));
        body_init(&b, MEMORY, 1 << 20);
        assert_true(body_put(&b, expect, put));
        body_attach(&b, fd, put, sizeof(expect) - put - 10);
        assert_int_equal(body_len(&b), sizeof(expect) - 10);
        assert_int_equal(body_room(&b), 0);
        assert_false(body_put(&b, expect, 1));
        read_all(&b, expect, sizeof(expect) - 10, 77);
        assert_int_equal(body_peek(&b, scratch, sizeof(scratch), &(const char *){NULL}), 0);
        assert_true(is_open(fd));
        body_reuse(&b);
        assert_false(is_open(fd));
        assert_int_equal(body_len(&b), 0);
        body_free(&b);
        fd = own_file(expect, 10);
        body_attach(&b, fd, 0, 10);
        body_free(&b);
        assert_false(is_open(fd));
        assert_int_equal(body_left(&b), 0);
    }
}

/* What body_file tells is what body_peek would read. */
static void test_where_in_files(void **unused)
{
    (void)unused;
    char expect[MEMORY + 100], byte;
    int other = own_file("0123456789", 10), fd;
    struct body b;
    off_t offset;
    fill(expect, sizeof(expect));
    body_init(&b, MEMORY, 1 << 20);
    assert_int_equal(body_file(&b, &fd, &offset), 0);
    assert_true(body_put(&b, expect, sizeof(expect)));
    body_attach(&b, other, 2, 5);
    assert_int_equal(body_file(&b, &fd, &offset), 0);
    body_skip(&b, MEMORY + 1);
    body_reuse(&b);
    assert_int_equal(body_file(&b, &fd, &offset), 99);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    assert_int_equal(byte, expect[MEMORY + 1]);
    body_skip(&b, 99);
    assert_int_equal(body_file(&b, &fd, &offset), 5);
    assert_int_equal(fd, other);
    assert_int_equal(offset, 2);
    body_skip(&b, 1);
    body_reuse(&b);
    assert_int_equal(body_file(&b, &fd, &offset), 4);
    assert_int_equal(offset, 3);
    body_free(&b);
}

/* A file that is shorter by now is an error, not an end. */
static void test_attached_and_truncated(void **unused)
{
    (void)unused;
    char scratch[64];
    const char *data;
    struct body b;
    int fd = own_file("0123456789", 10);
    body_init(&b, MEMORY, 1 << 20);
    body_attach(&b, fd, 0, 10);
    assert_int_equal(body_peek(&b, scratch, sizeof(scratch), &data), 10);
    assert_int_equal(ftruncate(fd, 4), 0);
    assert_int_equal(body_peek(&b, scratch, sizeof(scratch), &data), 4);
    body_skip(&b, 4);
    assert_int_equal(body_peek(&b, scratch, sizeof(scratch), &data), -1);
    assert_int_equal(errno, EIO);
    body_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_and_rewind),
        cmocka_unit_test(test_queue_is_reused),
        cmocka_unit_test(test_queue_keeps_order),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_to_file),
        cmocka_unit_test(test_spooled),
        cmocka_unit_test(test_no_directory_for_the_file),
        cmocka_unit_test(test_attached),
        cmocka_unit_test(test_where_in_files),
        cmocka_unit_test(test_attached_and_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
