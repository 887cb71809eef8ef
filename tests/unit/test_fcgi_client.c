/* test_fcgi_client.c - answers of FastCGI applications, good and broken, cut in every way.
 *
 * What a decoder says is written down as text: "o(...)" STDOUT, "." its end, "e(...)" STDERR,
 * "end(app,protocol)", "bad(reason)"; pieces that follow each other are one. The text may not depend on how
 * the bytes were cut. */
#include "fcgi_client.h"

#include <fastcgi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"

enum { ID = 0x0102 };

struct stream {
    uint8_t bytes[1024];
    size_t len;
};

static void put(struct stream *s, const void *bytes, size_t len)
{
    assert_true(len <= sizeof(s->bytes) - s->len);
    memcpy(s->bytes + s->len, bytes, len);
    s->len += len;
}

static void put_record(struct stream *s, uint8_t type, uint16_t id, const void *content, uint16_t len,
                       uint8_t padding)
{
    const uint8_t header[] = {
        1, type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(len >> 8), (uint8_t)len, padding, 0};
    static const uint8_t zeros[255];
    put(s, header, sizeof(header));
    put(s, content, len);
    put(s, zeros, padding);
}

static void put_text(struct stream *s, uint8_t type, const char *text, uint8_t padding)
{
    put_record(s, type, ID, text, (uint16_t)strlen(text), padding);
}

static void put_end(struct stream *s, uint8_t padding)
{
    put_record(s, FCGI_END_REQUEST, ID, "\1\2\3\4\0\0\0\0", 8, padding);
}

/* ---- writing down ---- */

struct transcript {
    char text[1024];
    size_t len;
    char open; /* 'o' or 'e' while a piece may still grow; 0: none */
    bool over; /* after BAD */
};

static void note(struct transcript *t, const char *text, size_t len)
{
    assert_true(len < sizeof(t->text) - t->len);
    memcpy(t->text + t->len, text, len);
    t->len += len;
    t->text[t->len] = '\0';
}

static void note_close(struct transcript *t)
{
    if (t->open != 0)
        note(t, ")", 1);
    t->open = 0;
}

static void note_piece(struct transcript *t, char kind, const struct fcgi_event *e)
{
    assert_true(e->len > 0);
    if (t->open != kind) {
        note_close(t);
        note(t, (char[]){kind, '('}, 2);
    }
    t->open = kind;
    note(t, (const char *)e->data, e->len);
}

static void note_event(struct transcript *t, const struct fcgi_event *e)
{
    char line[128];
    if (e->type == FCGI_EVENT_STDOUT) {
        note_piece(t, 'o', e);
        return;
    }
    if (e->type == FCGI_EVENT_STDERR) {
        note_piece(t, 'e', e);
        return;
    }
    note_close(t);
    line[0] = '\0';
    if (e->type == FCGI_EVENT_STDOUT_END)
        snprintf(line, sizeof(line), ".");
    else if (e->type == FCGI_EVENT_END)
        snprintf(line, sizeof(line), "end(%08x,%u)", e->app_status, e->protocol_status);
    else
        snprintf(line, sizeof(line), "bad(%s)", e->reason);
    note(t, line, strlen(line));
    t->over = e->type == FCGI_EVENT_BAD;
}

/* Feeds one piece, which ends at a guard page. */
static void feed(struct fcgi_client *c, const uint8_t *bytes, size_t len, struct transcript *t)
{
    char *copy = guard_copy(bytes, len);
    const uint8_t *data = (const uint8_t *)copy;
    size_t at = 0;
    struct fcgi_event e = {.type = FCGI_EVENT_STDOUT};
    while (!t->over && e.type != FCGI_EVENT_MORE) {
        size_t n = fcgi_client_next(c, data + at, len - at, &e);
        assert_true(n <= len - at);
        if (e.len > 0)
            assert_true(e.data >= data + at && e.data + e.len <= data + at + n);
        at += n;
        if (e.type != FCGI_EVENT_MORE)
            note_event(t, &e);
    }
    assert_true(t->over || at == len);
    guard_free(copy, len);
}

static void start(struct fcgi_client *c, struct transcript *t)
{
    *t = (struct transcript){.open = 0};
    fcgi_client_init(c);
    fcgi_client_begin(c, ID);
}

/* Whole, at every split point, byte by byte. */
static void check(const struct stream *s, const char *expected)
{
    struct fcgi_client c;
    struct transcript t;
    for (size_t cut = 0; cut <= s->len; cut++) {
        start(&c, &t);
        feed(&c, s->bytes, cut, &t);
        feed(&c, s->bytes + cut, s->len - cut, &t);
        note_close(&t);
        assert_string_equal(t.text, expected);
    }
    start(&c, &t);
    for (size_t i = 0; i < s->len; i++)
        feed(&c, s->bytes + i, 1, &t);
    note_close(&t);
    assert_string_equal(t.text, expected);
}

/* ---- the cases ---- */

static void test_plain_answer(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_text(&s, FCGI_STDOUT, "Status: 200\r\n\r\n", 0);
    put_text(&s, FCGI_STDOUT, "body", 4);
    put_text(&s, FCGI_STDOUT, "", 0);
    put_end(&s, 0);
    check(&s, "o(Status: 200\r\n\r\nbody).end(01020304,0)");
}

static void test_stderr_between(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_text(&s, FCGI_STDERR, "warn", 1);
    put_text(&s, FCGI_STDOUT, "a", 255);
    put_text(&s, FCGI_STDERR, "", 3);
    put_text(&s, FCGI_STDOUT, "b", 7);
    put_text(&s, FCGI_STDOUT, "", 8);
    put_text(&s, FCGI_STDERR, "late", 0);
    put_end(&s, 0);
    check(&s, "e(warn)o(ab).e(late)end(01020304,0)");
}

static void test_end_without_stdout_end(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_text(&s, FCGI_STDOUT, "x", 0);
    put_end(&s, 0);
    check(&s, "o(x)end(01020304,0)");
}

static void test_end_alone(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_record(&s, FCGI_END_REQUEST, ID, "\xff\xff\xff\xff\2\0\0\0", 8, 0);
    check(&s, "end(ffffffff,2)");
}

/* END is told at the end of the record's padding, so the next record begins where it was told. */
static void test_end_with_padding(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_end(&s, 9);
    check(&s, "end(01020304,0)");
    struct fcgi_client c;
    struct fcgi_event e;
    fcgi_client_init(&c);
    fcgi_client_begin(&c, ID);
    assert_int_equal(fcgi_client_next(&c, s.bytes, s.len, &e), s.len);
    assert_int_equal(e.type, FCGI_EVENT_END);
}

/* libfcgi does so when the worker has ended STDOUT itself. */
static void test_stdout_ended_twice(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_text(&s, FCGI_STDOUT, "x", 0);
    put_text(&s, FCGI_STDOUT, "", 0);
    put_text(&s, FCGI_STDOUT, "", 2);
    put_end(&s, 0);
    check(&s, "o(x).end(01020304,0)");
}

static void test_management_is_skipped(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_record(&s, FCGI_GET_VALUES_RESULT, 0,
               "\x0f\x01"
               "FCGI_MPXS_CONNS0",
               18, 6);
    put_text(&s, FCGI_STDOUT, "x", 0);
    put_record(&s, FCGI_UNKNOWN_TYPE, 0, "\x0c\0\0\0\0\0\0\0", 8, 0);
    put_record(&s, 200, 0, "", 0, 0);
    put_record(&s, 0, 0, "?", 1, 0);
    put_end(&s, 0);
    put_record(&s, FCGI_GET_VALUES_RESULT, 0, "", 0, 5);
    check(&s, "o(x)end(01020304,0)");
}

static void test_bad_records(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        uint16_t id;
        uint16_t len;
        const char *expected;
    } cases[] = {
        {FCGI_STDOUT,        ID + 1,     1, "bad(record of another request)"               },
        {FCGI_STDERR,        2,          1, "bad(record of another request)"               },
        {FCGI_END_REQUEST,   ID + 0x100, 8, "bad(record of another request)"               },
        {FCGI_STDOUT,        0,          1, "bad(application record with request id 0)"    },
        {FCGI_BEGIN_REQUEST, 0,          8, "bad(application record with request id 0)"    },
        {FCGI_END_REQUEST,   ID,         0, "bad(END_REQUEST of a wrong length)"           },
        {FCGI_END_REQUEST,   ID,         7, "bad(END_REQUEST of a wrong length)"           },
        {FCGI_END_REQUEST,   ID,         9, "bad(END_REQUEST of a wrong length)"           },
        {FCGI_BEGIN_REQUEST, ID,         8, "bad(record type that only a web server sends)"},
        {FCGI_PARAMS,        ID,         0, "bad(record type that only a web server sends)"},
        {FCGI_STDIN,         ID,         4, "bad(record type that only a web server sends)"},
        {FCGI_DATA,          ID,         4, "bad(record type that only a web server sends)"},
        {FCGI_UNKNOWN_TYPE,  ID,         8, "bad(management record with a request id)"     },
        {0,                  ID,         0, "bad(management record with a request id)"     },
        {255,                ID,         0, "bad(management record with a request id)"     },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stream s = {.len = 0};
        put_record(&s, cases[i].type, cases[i].id, "123456789", cases[i].len, 3);
        put_text(&s, FCGI_STDOUT, "never seen", 0);
        check(&s, cases[i].expected);
    }
}

static void test_wrong_version(void **state)
{
    (void)state;
    static const uint8_t versions[] = {0, 2, 'H', 255};
    for (size_t i = 0; i < sizeof(versions); i++) {
        struct stream s = {.len = 0};
        put_text(&s, FCGI_STDOUT, "ok", 1);
        size_t at = s.len;
        put_text(&s, FCGI_STDOUT, "no", 0);
        s.bytes[at] = versions[i];
        check(&s, "o(ok)bad(not FastCGI version 1)");
    }
}

static void test_stdout_after_its_end(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_text(&s, FCGI_STDOUT, "", 0);
    put_text(&s, FCGI_STDOUT, "x", 0);
    check(&s, ".bad(STDOUT after its end)");
}

static void test_record_after_end(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    put_end(&s, 0);
    put_text(&s, FCGI_STDOUT, "x", 0);
    check(&s, "end(01020304,0)bad(record outside of a request)");
}

static void test_record_before_begin(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    struct fcgi_client c;
    struct fcgi_event e;
    put_text(&s, FCGI_STDERR, "x", 0);
    fcgi_client_init(&c);
    assert_int_equal(fcgi_client_next(&c, s.bytes, s.len, &e), FCGI_RECORD_HEADER);
    assert_int_equal(e.type, FCGI_EVENT_BAD);
    assert_string_equal(e.reason, "record outside of a request");
}

static void test_bad_is_for_ever(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    struct fcgi_client c;
    struct fcgi_event e;
    put_end(&s, 0);
    put_end(&s, 0);
    start(&c, &(struct transcript){.open = 0});
    size_t at = fcgi_client_next(&c, s.bytes, s.len, &e);
    at += fcgi_client_next(&c, s.bytes + at, s.len - at, &e);
    assert_int_equal(e.type, FCGI_EVENT_BAD);
    fcgi_client_begin(&c, ID);
    assert_int_equal(fcgi_client_next(&c, s.bytes + at, s.len - at, &e), 0);
    assert_int_equal(e.type, FCGI_EVENT_BAD);
    assert_non_null(e.reason);
}

/* A kept connection: the second request has another id, and STDOUT is open again. */
static void test_second_request(void **state)
{
    (void)state;
    struct stream s = {.len = 0};
    struct transcript t;
    struct fcgi_client c;
    put_text(&s, FCGI_STDOUT, "", 0);
    put_end(&s, 0);
    start(&c, &t);
    feed(&c, s.bytes, s.len, &t);
    s.len = 0;
    put_record(&s, FCGI_STDOUT, 65535, "two", 3, 0);
    put_record(&s, FCGI_STDOUT, 65535, "", 0, 0);
    put_record(&s, FCGI_END_REQUEST, 65535, "\0\0\0\0\1\0\0\0", 8, 0);
    fcgi_client_begin(&c, 65535);
    feed(&c, s.bytes, s.len, &t);
    note_close(&t);
    assert_string_equal(t.text, ".end(01020304,0)o(two).end(00000000,1)");
}

/* Content and padding together do not fit in 16 bits. */
static void test_largest_record(void **state)
{
    (void)state;
    enum { TOTAL = 8 + 65535 + 255 };
    static uint8_t bytes[TOTAL + 16];
    static const uint8_t header[] = {1, FCGI_STDOUT, ID >> 8, ID & 255, 255, 255, 255, 0};
    static const uint8_t end[] = {1, FCGI_END_REQUEST, ID >> 8, ID & 255, 0, 8, 0, 0};
    static const size_t pieces[] = {sizeof(bytes), 4096, 7};
    memcpy(bytes, header, sizeof(header));
    memset(bytes + 8, 'x', 65535);
    memcpy(bytes + TOTAL, end, sizeof(end));
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct fcgi_client c;
        struct fcgi_event e = {.type = FCGI_EVENT_MORE};
        size_t out = 0, at = 0;
        fcgi_client_init(&c);
        fcgi_client_begin(&c, ID);
        while (at < sizeof(bytes)) {
            size_t piece = sizeof(bytes) - at < pieces[i] ? sizeof(bytes) - at : pieces[i];
            at += fcgi_client_next(&c, bytes + at, piece, &e);
            assert_true(e.type == FCGI_EVENT_MORE || e.type == FCGI_EVENT_STDOUT || e.type == FCGI_EVENT_END);
            out += e.len;
        }
        assert_int_equal(e.type, FCGI_EVENT_END);
        assert_int_equal(out, 65535);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_answer),           cmocka_unit_test(test_stderr_between),
        cmocka_unit_test(test_end_without_stdout_end), cmocka_unit_test(test_end_alone),
        cmocka_unit_test(test_end_with_padding),       cmocka_unit_test(test_stdout_ended_twice),
        cmocka_unit_test(test_management_is_skipped),  cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_wrong_version),          cmocka_unit_test(test_stdout_after_its_end),
        cmocka_unit_test(test_record_after_end),       cmocka_unit_test(test_record_before_begin),
        cmocka_unit_test(test_bad_is_for_ever),        cmocka_unit_test(test_second_request),
        cmocka_unit_test(test_largest_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
