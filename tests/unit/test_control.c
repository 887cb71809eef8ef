/* The gateway's end of a control channel: what a worker may say, and what is nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "control.h"

static int ends[2]; /* ours, the worker's */

static int open_channel(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static int close_channel(void **state)
{
    (void)state;
    close(ends[0]);
    return ends[1] != -1 ? close(ends[1]) : 0;
}

static struct control_message hear(const char *text)
{
    struct control_message message;
    assert_int_equal(send(ends[1], text, strlen(text), 0), strlen(text));
    control_receive(ends[0], &message);
    return message;
}

static void test_messages(void **state)
{
    (void)state;
    assert_int_equal(hear("START").type, CONTROL_START);
    struct control_message m = hear("READY wsgi persistent 4 8100");
    assert_int_equal(m.type, CONTROL_READY);
    assert_int_equal(m.concurrency, 4);
    assert_int_equal(m.import_us, 8100);
    assert_false(m.fork);
    m = hear("READY files fork 2 0");
    assert_int_equal(m.type, CONTROL_READY);
    assert_true(m.fork);
    m = hear("FAILED\nno module\nTraceback\n");
    assert_int_equal(m.type, CONTROL_FAILED);
    assert_string_equal(m.text, "no module\nTraceback\n");
    m = hear("NOTE well");
    assert_int_equal(m.type, CONTROL_NOTE);
    assert_string_equal(m.text, "well");
    m = hear("LIVE thread \"poller\"");
    assert_int_equal(m.type, CONTROL_LIVE);
    assert_string_equal(m.text, "thread \"poller\"");
}

static void test_nonsense(void **state)
{
    static const char *const texts[] = {
        "WHAT IS THIS",
        "ready wsgi persistent 1 1",
        "READY",
        "READY wsgi persistent 1",
        "READY wsgi persistent 0 1",
        "READY wsgi persistent 65536 1",
        "READY wsgi sometimes 1 1",
        "READY cobol persistent 1 1",
        "READY wsgi persistent many 1",
        "FAILED",
        "NOTE",
        "\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(hear(texts[i]).type, CONTROL_NONSENSE);
}

static void test_nothing_and_the_end(void **state)
{
    struct control_message message;
    (void)state;
    control_receive(ends[0], &message);
    assert_int_equal(message.type, CONTROL_NOTHING);
    close(ends[1]);
    ends[1] = -1;
    control_receive(ends[0], &message);
    assert_int_equal(message.type, CONTROL_END);
}

/* Nobody reads: what does not fit is lost, and nothing waits for it. */
static void test_sending_never_blocks(void **state)
{
    char text[64];
    (void)state;
    for (int i = 0; i < 10000; i++)
        control_send(ends[0], "STOP");
    assert_int_equal(recv(ends[1], text, sizeof(text), 0), 4);
    assert_memory_equal(text, "STOP", 4);
    close(ends[1]);
    ends[1] = -1;
    control_send(ends[0], "STOP");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages, open_channel, close_channel),
        cmocka_unit_test_setup_teardown(test_nonsense, open_channel, close_channel),
        cmocka_unit_test_setup_teardown(test_nothing_and_the_end, open_channel, close_channel),
        cmocka_unit_test_setup_teardown(test_sending_never_blocks, open_channel, close_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
