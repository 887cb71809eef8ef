/* test_log.c - what becomes of somebody else's bytes in a log line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static void check_escape(const char *text, size_t len, const char *expect)
{
    char out[64];
    size_t n = log_escape(out, sizeof(out), text, len);
    assert_int_equal(n, strlen(expect));
    assert_memory_equal(out, expect, n);
}

static void test_escape(void **unused)
{
    (void)unused;
    check_escape("plain /path?x=1", 15, "plain /path?x=1");
    check_escape("a\nb\r\t", 5, "a\\x0ab\\x0d\\x09");
    check_escape("\"q\\", 3, "\\\"q\\\\");
    check_escape("\0\x1b[2J\x7f", 6, "\\x00\\x1b[2J\\x7f");
    check_escape("\xc3\xa9", 2, "\xc3\xa9");
    check_escape("\xc4\x9b\xc2\xa0\xf0\x9f\x98\x80", 8, "\xc4\x9b\xc2\xa0\xf0\x9f\x98\x80");
    check_escape("\xc2\x9b\x32J", 4, "\\xc2\\x9b2J");
    check_escape("\x9b\xff\xc0\x9b\xe2\x82", 6, "\\x9b\\xff\\xc0\\x9b\\xe2\\x82");
    check_escape("", 0, "");
}

/* Whatever the room, the result stays inside it and ends between two escapes. */
static void test_escape_is_cut(void **unused)
{
    (void)unused;
    char text[40], out[64];
    memset(text, '\n', sizeof(text));
    for (size_t room = 0; room <= sizeof(out); room++) {
        memset(out, '#', sizeof(out));
        size_t n = log_escape(out, room, text, sizeof(text));
        assert_true(n <= room);
        assert_int_equal(n % 4, 0);
        for (size_t i = n; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
    }
}

/* Lines through a real file: tags, escapes, raw lines, access lines, messages by level. */
static void test_lines(void **unused)
{
    (void)unused;
    char access[] = "/tmp/test-log-XXXXXX", error[] = "/tmp/test-log-XXXXXX", text[512];
    const char *failed = NULL;
    int a = mkstemp(access), e = mkstemp(error);
    assert_true(a != -1 && e != -1);
    const struct log_targets targets = {.access = access, .error = error, .level = LOG_WARNING};
    assert_int_equal(log_open(NULL, &targets, &failed), 0);
    log_access("one\n", 4);
    log_info("not at this level");
    log_warning("number %d", 7);
    log_text("first\nsecond\x1b\n", 14);
    log_flush();
    log_close();
    ssize_t n = read(a, text, sizeof(text));
    assert_int_equal(n, 4);
    assert_memory_equal(text, "one\n", 4);
    n = read(e, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    const char *message = strstr(text, "Z warning: number 7\n");
    assert_non_null(message);
    assert_string_equal(strchr(message, '\n') + 1, "first\nsecond\\x1b\n");
    assert_null(strstr(text, "level"));
    assert_int_equal(close(a) + close(e) + unlink(access) + unlink(error), 0);
}

/* Lines that wait for the loop to turn, up to all that may wait but a few bytes. */
static void fill(void)
{
    static char line[1000];
    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 523; i++)
        log_worker(true, NULL, line, sizeof(line) - 1);
    log_worker(true, NULL, line, 700);
}

/* What has come to the descriptor in place of stdout, as a string. */
static const char *drain(int fd)
{
    static char text[1024 * 1024];
    size_t len = 0;
    for (;;) {
        log_flush();
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    return text;
}

/* A line is whole or it is not there; how many are not there stands before the next one, whose ever that is.
 */
static void test_no_room(void **unused)
{
    (void)unused;
    static const char note[] = "(50 log lines dropped: the reader is too slow, or the disk takes nothing)\n";
    char line[1000];
    const char *failed = NULL;
    const struct log_targets targets = {.access = "off", .error = "stderr", .level = LOG_INFO};
    int ends[2], before = dup(STDOUT_FILENO);
    memset(line, 'y', sizeof(line));
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    assert_int_equal(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    assert_int_equal(log_open(NULL, &targets, &failed), 0);

    fill();
    for (int i = 0; i < 50; i++)
        log_worker(true, "a[1]: ", line, sizeof(line));
    const char *text = drain(ends[0]);
    assert_null(strstr(text, "y"));
    assert_null(strstr(text, "dropped")); /* what is left of the room is for shorter lines */
    log_worker(true, "a[1]: ", "after", 5);
    text = drain(ends[0]);
    assert_memory_equal(text, note, strlen(note));
    assert_string_equal(text + strlen(note), "a[1]: after\n");

    fill();
    log_worker(true, NULL, line, sizeof(line)); /* no room */
    log_worker(true, NULL, line, 550);          /* and that neither, beside the note */
    text = drain(ends[0]);
    assert_null(strstr(text, "y"));
    assert_null(strstr(text, "\n\n"));

    log_close();
    assert_int_equal(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    assert_int_equal(close(ends[0]) + close(ends[1]) + close(before), 0);
}

static void test_target_that_cannot_be_opened(void **unused)
{
    (void)unused;
    const char *failed = NULL;
    const struct log_targets targets = {.access = "off", .error = "/nonexistent/log", .level = LOG_INFO};
    assert_int_equal(log_open(NULL, &targets, &failed), -1);
    assert_string_equal(failed, "/nonexistent/log");
    log_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_is_cut),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_target_that_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
