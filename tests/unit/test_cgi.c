/* test_cgi.c - requests as CGI variables and CGI answers as HTTP fields. */
#include "cgi.h"
#include "forwarded.h"
#include "http_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "version.h"

/* ---- requests ---- */

static const struct http_head_limits limits = {.request_line = 8192, .size = 65536, .field_count = 1000};

struct fixture {
    struct http_head head;
    struct cgi_request request;
    struct slice underscored;
    struct buf out;
    char *base;
    size_t base_len;
    char path[1024];
};

/* Parses `text`; everything else of the request is the plainest there is. */
static void open_fixture(struct fixture *f, const char *text)
{
    f->base_len = strlen(text);
    f->base = guard_copy(text, f->base_len);
    http_head_init(&f->head);
    assert_int_equal(http_head_parse(&f->head, f->base, f->base_len, &limits), HTTP_DONE);
    assert_true(f->head.path.len <= sizeof(f->path));
    long path_len = http_path_normalise(f->base + f->head.path.off, f->head.path.len, f->path);
    assert_true(path_len > 0);
    buf_init(&f->out, 1 << 20);
    f->request = (struct cgi_request){
        .head = &f->head,
        .base = f->base,
        .path = f->path,
        .path_len = (size_t)path_len,
        .root_path = "",
        .scheme = "http",
        .remote_addr = "192.0.2.1",
        .remote_port = "49152",
        .server_addr = "127.0.0.1",
        .server_port = "8000",
    };
}

static void close_fixture(struct fixture *f)
{
    buf_free(&f->out);
    guard_free(f->base, f->base_len);
}

static size_t take_length(const struct buf *b, size_t *at)
{
    const uint8_t *p = (const uint8_t *)b->data + *at;
    size_t bytes = p[0] < 128 ? 1 : 4;
    assert_true(bytes <= b->len - *at);
    *at += bytes;
    return bytes == 1 ? p[0] : (size_t)(p[0] & 127) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* The pairs as "NAME=value\n" each, in their order. */
static void decode(const struct buf *pairs, struct buf *text)
{
    buf_init(text, 1 << 20);
    for (size_t at = 0; at < pairs->len;) {
        size_t name = take_length(pairs, &at);
        size_t value = take_length(pairs, &at);
        assert_true(name + value <= pairs->len - at);
        assert_true(buf_put(text, pairs->data + at, name) && buf_putc(text, '='));
        assert_true(buf_put(text, pairs->data + at + name, value) && buf_putc(text, '\n'));
        at += name + value;
    }
    assert_true(buf_putc(text, '\0'));
}

/* The variables that headers became, HTTP_HOST aside: what comes behind the rows. */
static void check_fields(const char *head, const char *expected)
{
    static const char last_row[] = "HTTP_HOST=h\n";
    struct fixture f;
    struct buf text;
    open_fixture(&f, head);
    assert_true(cgi_put_params(&f.out, &f.request, &f.underscored));
    decode(&f.out, &text);
    const char *fields = strstr(text.data, last_row);
    assert_non_null(fields);
    assert_string_equal(fields + sizeof(last_row) - 1, expected);
    buf_free(&text);
    close_fixture(&f);
}

/* Whether the variables hold each of `lines`; a line that begins with '!' is a name that must not be there.
 */
static void check_lines(struct fixture *f, const char *const *lines)
{
    struct buf text;
    char want[256];
    assert_true(cgi_put_params(&f->out, &f->request, &f->underscored));
    decode(&f->out, &text);
    for (; *lines != NULL; lines++) {
        bool absent = **lines == '!';
        snprintf(want, sizeof(want), absent ? "\n%s=" : "\n%s\n", *lines + absent);
        if (absent == (strstr(text.data, want) != NULL))
            fail_msg("%s in:\n%s", *lines, text.data);
    }
    buf_free(&text);
}

static void check_without(struct fixture *f, const char *bytes)
{
    struct buf text;
    assert_true(cgi_put_params(&f->out, &f->request, &f->underscored));
    decode(&f->out, &text);
    assert_null(strstr(text.data, bytes));
    buf_free(&text);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_all_rows(void **state)
{
    (void)state;
    struct fixture f;
    struct buf text;
    open_fixture(&f, "POST /shop/a%20b//c?x=%31&y HTTP/1.1\r\nHost: example.com:8080\r\n"
                     "Content-Type: text/plain\r\nContent-Length: 3\r\nAccept: */*\r\n\r\n");
    f.request.script_len = 5;
    f.request.root_path = "/root";
    f.request.document_root = "/srv/www";
    f.request.script_filename = "/srv/www/shop";
    f.request.has_body = true;
    f.request.body_len = UINT64_MAX;
    f.request.request_id_name = "X-Request-Id";
    f.request.request_id = "5f00";
    assert_true(cgi_put_params(&f.out, &f.request, &f.underscored));
    decode(&f.out, &text);
    assert_string_equal(
        text.data,
        "REQUEST_METHOD=POST\nREQUEST_URI=/shop/a%20b//c?x=%31&y\n"
        "SCRIPT_NAME=/root/shop\nPATH_INFO=/a b//c\nQUERY_STRING=x=%31&y\n"
        "SERVER_PROTOCOL=HTTP/1.1\nSERVER_NAME=example.com\nSERVER_PORT=8080\n"
        "SERVER_SOFTWARE=leangate/" LEANGATE_VERSION "\nGATEWAY_INTERFACE=CGI/1.1\n"
        "REQUEST_SCHEME=http\nREMOTE_ADDR=192.0.2.1\nREMOTE_PORT=49152\n"
        "CONTENT_LENGTH=18446744073709551615\nDOCUMENT_ROOT=/srv/www\n"
        "SCRIPT_FILENAME=/srv/www/shop\nPATH_TRANSLATED=/srv/www/a b//c\nHTTP_HOST=example.com:8080\n"
        "HTTP_X_REQUEST_ID=5f00\nCONTENT_TYPE=text/plain\nHTTP_ACCEPT=*/*\n");
    assert_int_equal(f.underscored.len, 0);
    buf_free(&text);
    close_fixture(&f);
}

/* A script that was found by path, and an index that answers for its directory. */
static void test_found_script(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, "GET /php/shop/ HTTP/1.1\r\nHost: h\r\n\r\n");
    f.request.script_len = 10;
    f.request.document_root = "/srv";
    f.request.script_file = "/shop/index.php";
    f.request.script_tail = ".x";
    f.request.script_index = "index.php";
    check_lines(&f, LINES("SCRIPT_NAME=/php/shop/index.php", "PATH_INFO=", "DOCUMENT_ROOT=/srv",
                          "SCRIPT_FILENAME=/srv/shop/index.php.x", "!PATH_TRANSLATED"));
    close_fixture(&f);
    open_fixture(&f, "GET /x/y HTTP/1.1\r\nHost: h\r\n\r\n");
    f.request.script_len = 2;
    f.request.document_root = "";
    f.request.script_file = "/x.py";
    f.request.script_tail = "";
    check_lines(&f, LINES("SCRIPT_NAME=/x", "PATH_INFO=/y", "DOCUMENT_ROOT=/", "SCRIPT_FILENAME=/x.py",
                          "PATH_TRANSLATED=/y"));
    close_fixture(&f);
}

static void test_plain_request(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, "GET / HTTP/1.0\r\n\r\n");
    f.request.remote_addr = "";
    f.request.remote_port = "";
    check_lines(&f, LINES("REQUEST_URI=/", "SCRIPT_NAME=", "PATH_INFO=/",
                          "QUERY_STRING=", "SERVER_PROTOCOL=HTTP/1.0", "SERVER_NAME=127.0.0.1",
                          "SERVER_PORT=8000", "REMOTE_ADDR=", "!REMOTE_PORT", "!HTTPS", "!CONTENT_LENGTH",
                          "!CONTENT_TYPE", "!DOCUMENT_ROOT", "!SCRIPT_FILENAME", "!HTTP_HOST"));
    close_fixture(&f);
    open_fixture(&f, "GET / HTTP/1.0\r\n\r\n");
    f.request.server_addr = "::1";
    check_lines(&f, LINES("SERVER_NAME=[::1]", "SERVER_PORT=8000"));
    close_fixture(&f);
    open_fixture(&f, "GET / HTTP/1.0\r\n\r\n");
    f.request.server_addr = "unix";
    f.request.server_port = "";
    f.request.scheme = "https";
    check_lines(&f, LINES("SERVER_NAME=unix", "SERVER_PORT=443"));
    close_fixture(&f);
}

static void test_authority(void **state)
{
    (void)state;
    static const struct {
        const char *host, *scheme, *name, *port;
    } cases[] = {
        {"a.example",          "http",  "SERVER_NAME=a.example",     "SERVER_PORT=80"  },
        {"a.example",          "https", "SERVER_NAME=a.example",     "SERVER_PORT=443" },
        {"a.example:81",       "https", "SERVER_NAME=a.example",     "SERVER_PORT=81"  },
        {"[::1]",              "http",  "SERVER_NAME=[::1]",         "SERVER_PORT=80"  },
        {"[2001:db8::1]:8443", "https", "SERVER_NAME=[2001:db8::1]", "SERVER_PORT=8443"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        char head[128], host[64];
        snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i].host);
        snprintf(host, sizeof(host), "HTTP_HOST=%s", cases[i].host);
        open_fixture(&f, head);
        f.request.scheme = cases[i].scheme;
        bool secure = strcmp(cases[i].scheme, "https") == 0;
        check_lines(&f, LINES(cases[i].name, cases[i].port, host, secure ? "HTTPS=on" : "!HTTPS"));
        close_fixture(&f);
    }
}

static void test_absolute_target_wins(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, "GET http://real.example:90/p HTTP/1.1\r\nHost: other.example\r\n\r\n");
    check_lines(&f, LINES("HTTP_HOST=real.example:90", "SERVER_NAME=real.example", "SERVER_PORT=90",
                          "PATH_INFO=/p", "REQUEST_URI=/p"));
    close_fixture(&f);
    open_fixture(&f, "GET http://real.example?q HTTP/1.1\r\nHost: other.example\r\n\r\n");
    check_lines(&f, LINES("PATH_INFO=/", "QUERY_STRING=q", "REQUEST_URI=/?q"));
    close_fixture(&f);
}

static void test_body_length(void **state)
{
    (void)state;
    static const struct {
        bool has_body;
        uint64_t len;
        const char *expected;
    } cases[] = {
        {true,  0,  "CONTENT_LENGTH=0" },
        {true,  10, "CONTENT_LENGTH=10"},
        {false, 10, "!CONTENT_LENGTH"  },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        open_fixture(&f, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        f.request.has_body = cases[i].has_body;
        f.request.body_len = cases[i].len;
        check_lines(&f, LINES(cases[i].expected, "!HTTP_CONTENT_LENGTH", "!HTTP_TRANSFER_ENCODING"));
        close_fixture(&f);
    }
}

static void test_private_fields(void **state)
{
    (void)state;
    check_fields(
        "GET / HTTP/1.1\r\nHost: h\r\nProxy: evil\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n"
        "Trailer: X\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nTE2: kept\r\n"
        "Content-Length: 0\r\nX-Proxy: kept\r\n\r\n",
        "HTTP_TE2=kept\nHTTP_X_PROXY=kept\n");
}

static void test_names_not_passed(void **state)
{
    (void)state;
    check_fields("GET / HTTP/1.1\r\nHost: h\r\nX_A: 1\r\n_: 2\r\nX-A: 3\r\nX.A: 4\r\nX!A: 5\r\nX~: "
                 "6\r\nContent_Length: 7\r\n"
                 "a-1-Z: 8\r\n\r\n",
                 "HTTP_X_A=3\nHTTP_A_1_Z=8\n");
    struct fixture f;
    open_fixture(&f, "GET / HTTP/1.1\r\nHost: h\r\nX_A: 1\r\nX-B: 2\r\n\r\n");
    assert_true(cgi_put_params(&f.out, &f.request, &f.underscored));
    assert_int_equal(f.underscored.len, 3);
    assert_memory_equal(f.base + f.underscored.off, "X_A", 3);
    close_fixture(&f);
}

static void test_repeated_fields(void **state)
{
    (void)state;
    check_fields(
        "GET / HTTP/1.1\r\nHost: h\r\nAccept: a\r\nCookie: c=1\r\nX-Last: z\r\naccept: b\r\nCOOKIE: d=2\r\n"
        "Accept: \r\nCookie: e=3\r\nX-Lasu: y\r\n\r\n",
        "HTTP_ACCEPT=a, b, \nHTTP_COOKIE=c=1; d=2; e=3\nHTTP_X_LAST=z\nHTTP_X_LASU=y\n");
}

/* A value's length grows from one byte on the wire to four, at every sum around the limit of 127. */
static void test_joined_length(void **state)
{
    (void)state;
    char head[1024], expected[1024], filler[256];
    memset(filler, 'f', sizeof(filler));
    for (int first = 120; first <= 130; first++)
        for (int second = 0; second <= 8; second++) {
            snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: h\r\nA: %.*s\r\nB: 1\r\nA: %.*s\r\n\r\n",
                     first, filler, second, filler);
            snprintf(expected, sizeof(expected), "HTTP_A=%.*s, %.*s\nHTTP_B=1\n", first, filler, second,
                     filler);
            check_fields(head, expected);
        }
}

static void test_connection_names(void **state)
{
    (void)state;
    check_fields(
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\nConnection: close , x-a,,host\r\n"
        "Content-Type: t\r\nX-C: 4\r\nConnection: \tX-C\t,content-type, x_b\r\nX-D: 5\r\n\r\n",
        "HTTP_X_B=2\nHTTP_X_D=5\n");
}

static void test_request_id(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: h\r\nx-request-id: forged\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nx-request-id: forged\r\nConnection: x-request-id, host\r\n\r\n",
    };
    struct fixture f;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        open_fixture(&f, heads[i]);
        f.request.request_id_name = "X-Request-Id";
        f.request.request_id = "ours";
        check_lines(&f, LINES("HTTP_X_REQUEST_ID=ours", "HTTP_HOST=h"));
        f.out.len = 0;
        check_without(&f, "forged");
        close_fixture(&f);
    }
    open_fixture(&f, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: theirs\r\n\r\n");
    check_lines(&f, LINES("HTTP_X_REQUEST_ID=theirs"));
    close_fixture(&f);
}

/* 150 names, each twice: more than the bitmap of hashes can tell apart. */
/* Only what was believed is passed on; of the rest no app could tell who has written it. */
static void test_forwarding_fields(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\r\nx-forwarded-PROTO: b\r\n"
                               "Forwarded: for=c\r\nX-Forwarded-Port: d\r\nX-Forwarded-For: e\r\n\r\n";
    struct fixture f;
    check_fields(head, "");
    open_fixture(&f, head);
    f.request.forwarded = FORWARDED_FOR | FORWARDED_STANDARD;
    check_lines(&f, (const char *const[]){"HTTP_X_FORWARDED_FOR=a, e", "HTTP_FORWARDED=for=c",
                                          "!HTTP_X_FORWARDED_PROTO", "!HTTP_X_FORWARDED_PORT", NULL});
    close_fixture(&f);
}

/* A prefix that a proxy tells goes before the configured one. */
static void test_prefix(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, "GET /app/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /outer\r\n\r\n");
    f.request.root_path = "/root";
    f.request.script_len = 4;
    f.request.prefix.off = (uint32_t)((char *)memmem(f.base, f.base_len, "/outer", 6) - f.base);
    f.request.prefix.len = 6;
    check_lines(&f, (const char *const[]){"SCRIPT_NAME=/outer/app", "PATH_INFO=/x", NULL});
    close_fixture(&f);
}

static void test_many_fields(void **state)
{
    (void)state;
    struct buf head, expected;
    buf_init(&head, 1 << 20);
    buf_init(&expected, 1 << 20);
    assert_true(buf_puts(&head, "GET / HTTP/1.1\r\nHost: h\r\n"));
    for (int i = 0; i < 300; i++)
        assert_true(buf_printf(&head, "X-%d: %d\r\n", i % 150, i));
    for (int i = 0; i < 150; i++)
        assert_true(buf_printf(&expected, "HTTP_X_%d=%d, %d\n", i, i, i + 150));
    assert_true(buf_puts(&head, "\r\n") && buf_putc(&head, '\0') && buf_putc(&expected, '\0'));
    check_fields(head.data, expected.data);
    buf_free(&head);
    buf_free(&expected);
}

/* Every ceiling that is too low is told, and leaves what was there before. */
static void test_no_room(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nA: 3\r\nConnection: b\r\n\r\n");
    f.request.request_id_name = "X-Id";
    f.request.request_id = "i";
    assert_true(cgi_put_params(&f.out, &f.request, &f.underscored));
    uint32_t need = f.out.len;
    for (uint32_t max = 2; max < need; max++) {
        struct buf out;
        buf_init(&out, max);
        assert_true(buf_puts(&out, "xy"));
        assert_false(cgi_put_params(&out, &f.request, &f.underscored));
        assert_int_equal(out.len, 2);
        buf_free(&out);
    }
    close_fixture(&f);
}

/* ---- answers ---- */

/* A field name of more than 64 bytes. */
#define LONG_NAME "X-2345678901234567890123456789012345678901234567890123456789012345678901234567890"

struct reply_case {
    const char *block;
    const char *fields;
    uint16_t status;
    const char *reason;
    int64_t content_length; /* 0 here: none was given */
    bool has_date, has_server;
};

/* clang-format off */
static const struct reply_case good[] = {
    {.block = "Content-Type: text/plain\r\n\r\n", .fields = "Content-Type: text/plain\r\n", .status = 200},
    {.block = "Content-Type: text/plain\n\n", .fields = "Content-Type: text/plain\r\n", .status = 200},
    {.block = "A: 1\r\nB: 2\n\r\n", .fields = "A: 1\r\nB: 2\r\n", .status = 200},
    {.block = "A: 1\nB: 2\r\n\n", .fields = "A: 1\r\nB: 2\r\n", .status = 200},
    {.block = "Status: 404 Not Found\nA:1\n\n", .fields = "A: 1\r\n", .status = 404, .reason = "Not Found"},
    {.block = "STATUS:204\n\n", .fields = "", .status = 204},
    {.block = "Status: 599 \t x\ty\xe9 \n\n", .fields = "", .status = 599, .reason = "x\ty\xe9"},
    {.block = "Status: 200\n\n", .fields = "", .status = 200},
    {.block = "X:\n\n", .fields = "X: \r\n", .status = 200},
    {.block = "X: \t a b\t\t\n\n", .fields = "X: a b\r\n", .status = 200},
    {.block = "X: a:b\n\n", .fields = "X: a:b\r\n", .status = 200},
    {.block = "!#$%&'*+-.^_`|~09azAZ: \xc3\xa9\n\n",
     .fields = "!#$%&'*+-.^_`|~09azAZ: \xc3\xa9\r\n", .status = 200},
    {.block = "Set-Cookie: b=2\nX: 1\nSet-Cookie: a=1\nset-cookie: a=1\n\n",
     .fields = "Set-Cookie: b=2\r\nX: 1\r\nSet-Cookie: a=1\r\nset-cookie: a=1\r\n", .status = 200},
    {.block = "content-length: 0042\n\n", .fields = "", .status = 200, .content_length = 42},
    {.block = "Content-Length: 9223372036854775807\n\n",
     .fields = "", .status = 200, .content_length = INT64_MAX},
    {.block = "Transfer-Encoding: chunked\nConnection: close\nKeep-Alive: 1\nX: 1\n\n",
     .fields = "X: 1\r\n", .status = 200},
    {.block = "Connection: close\n\n", .fields = "", .status = 200},
    {.block = "Connection: x\nConnection: Y, z\nX: 1\ny: 2\nZ: 3\nA: 4\n\n", .fields = "A: 4\r\n", .status = 200},
    {.block = "Location: http://a.example/\n\n", .fields = "Location: http://a.example/\r\n", .status = 302},
    {.block = "Location: /x?y\nSet-Cookie: a=1\n\n",
     .fields = "Location: /x?y\r\nSet-Cookie: a=1\r\n", .status = 302},
    {.block = "Location: /\n\n", .fields = "Location: /\r\n", .status = 302},
    {.block = "Location: //a.example/\n\n", .fields = "Location: //a.example/\r\n", .status = 302},
    {.block = "Location: /x\nStatus: 201 Created\n\n",
     .fields = "Location: /x\r\n", .status = 201, .reason = "Created"},
    {.block = "Status: 200 OK\nLocation: /x\n\n",
     .fields = "Location: /x\r\n", .status = 200, .reason = "OK"},
    {.block = "Location:\n\n", .fields = "Location: \r\n", .status = 200},
    {.block = "Date: now\nSERVER: me\n\n",
     .fields = "Date: now\r\nSERVER: me\r\n", .status = 200, .has_date = true, .has_server = true},
    {.block = "Connection: date, Server\nDate: now\nServer: me\nA: 4\n\n", .fields = "A: 4\r\n", .status = 200},
    {.block = "Connection: " LONG_NAME "\n" LONG_NAME ": 1\nA: 4\n\n", .fields = "A: 4\r\n", .status = 200},
    {.block = "Status2: 1\nDat: 2\nContent-Length2: x\n\n",
     .fields = "Status2: 1\r\nDat: 2\r\nContent-Length2: x\r\n", .status = 200},
};
/* clang-format on */

static enum http_parse parse(const char *block, size_t len, struct cgi_reply *reply, struct buf *out)
{
    char *copy = guard_copy(block, len);
    enum http_parse result = cgi_reply_parse(reply, copy, len, out);
    guard_free(copy, len);
    return result;
}

static void check_reply(const struct reply_case *c, const struct cgi_reply *reply)
{
    size_t reason_len = c->reason == NULL ? 0 : strlen(c->reason);
    assert_int_equal(reply->status, c->status);
    assert_int_equal(reply->reason.len, reason_len);
    if (reason_len > 0)
        assert_memory_equal(c->block + reply->reason.off, c->reason, reason_len);
    assert_int_equal(reply->content_length, c->content_length > 0 ? c->content_length : -1);
    assert_int_equal(reply->has_date, c->has_date);
    assert_int_equal(reply->has_server, c->has_server);
    assert_null(reply->error);
}

/* Each start of a good block wants more; behind its end comes the body, which is not looked at. */
static void test_good_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const struct reply_case *c = &good[i];
        size_t len = strlen(c->block);
        struct cgi_reply reply;
        struct buf out;
        char with_body[512];
        buf_init(&out, 4096);
        assert_true(buf_putc(&out, '#'));
        for (size_t n = 0; n < len; n++) {
            assert_int_equal(parse(c->block, n, &reply, &out), HTTP_MORE);
            assert_int_equal(out.len, 1);
        }
        snprintf(with_body, sizeof(with_body), "%s\r\nStatus: 500\r\n", c->block);
        for (size_t n = len; n <= len + 4; n++) {
            out.len = 1;
            assert_int_equal(parse(with_body, n, &reply, &out), HTTP_DONE);
            assert_int_equal(reply.size, len);
            assert_int_equal(out.len, 1 + strlen(c->fields));
            assert_memory_equal(out.data + 1, c->fields, out.len - 1);
            check_reply(c, &reply);
        }
        buf_free(&out);
    }
}

#define BLOCK(text) text, sizeof(text) - 1
static const struct {
    const char *block;
    size_t len; /* NULs count */
    const char *error;
} bad[] = {
    {BLOCK("\n"),                                                                          "no header fields"                      },
    {BLOCK("\r\n"),                                                                        "no header fields"                      },
    {BLOCK("HTTP/1.1 200 OK\r\n"),
     "answer begins with an HTTP status line: \"Status: 200 OK\" is the form of CGI"                                               },
    {BLOCK("HTTP/1.0 200 a:b\r\n"),
     "answer begins with an HTTP status line: \"Status: 200 OK\" is the form of CGI"                                               },
    {BLOCK("Hello\n"),                                                                     "header line without a colon"           },
    {BLOCK("A: 1\n<html>\n"),                                                              "header line without a colon"           },
    {BLOCK("A: 1\n\r\r\n"),                                                                "header line without a colon"           },
    {BLOCK(" A: 1\n"),                                                                     "answer begins with a blank"            },
    {BLOCK("A: 1\n B: 2\n"),                                                               "folded header line"                    },
    {BLOCK("A: 1\n\tfolded\n"),                                                            "folded header line"                    },
    {BLOCK("A: 1\n \n"),                                                                   "folded header line"                    },
    {BLOCK(": 1\n"),                                                                       "invalid header name"                   },
    {BLOCK("A : 1\n"),                                                                     "invalid header name"                   },
    {BLOCK("A\tB: 1\n"),                                                                   "invalid header name"                   },
    {BLOCK("A\rB: 1\n"),                                                                   "invalid header name"                   },
    {BLOCK("A\0B: 1\n"),                                                                   "invalid header name"                   },
    {BLOCK("A\x7f: 1\n"),                                                                  "invalid header name"                   },
    {BLOCK("\xc3\xa9: 1\n"),                                                               "invalid header name"                   },
    {BLOCK("A(b): 1\n"),                                                                   "invalid header name"                   },
    {BLOCK("A: 1\rSet-Cookie: x\n"),                                                       "control character in a header value"   },
    {BLOCK("A: 1\r\r\n"),                                                                  "control character in a header value"   },
    {BLOCK("A: 1\0\n"),                                                                    "control character in a header value"   },
    {BLOCK("A: \x1b[0m\n"),                                                                "control character in a header value"   },
    {BLOCK("A: \x7f\n"),                                                                   "control character in a header value"   },
    {BLOCK("Connection: \x01\n"),                                                          "control character in a header value"   },
    {BLOCK("Connection: a\nConnection: b\nConnection: c\nConnection: d\nConnection: e\n"),
     "too many Connection fields"                                                                                                  },
    {BLOCK("Status: 200\rX\n"),                                                            "control character in a header value"   },
    {BLOCK("Status:\n"),                                                                   "Status is not a number of three digits"},
    {BLOCK("Status: 20\n"),                                                                "Status is not a number of three digits"},
    {BLOCK("Status: 2000\n"),                                                              "Status is not a number of three digits"},
    {BLOCK("Status: 200OK\n"),                                                             "Status is not a number of three digits"},
    {BLOCK("Status: OK 200\n"),                                                            "Status is not a number of three digits"},
    {BLOCK("Status: +20 OK\n"),                                                            "Status is not a number of three digits"},
    {BLOCK("Status: 199\n"),                                                               "Status outside of 200 to 599"          },
    {BLOCK("Status: 100 Continue\n"),                                                      "Status outside of 200 to 599"          },
    {BLOCK("Status: 600\n"),                                                               "Status outside of 200 to 599"          },
    {BLOCK("Status: 000\n"),                                                               "Status outside of 200 to 599"          },
    {BLOCK("Status: 200\nStatus: 200\n"),                                                  "two Status fields"                     },
    {BLOCK("Content-Length: 1\ncontent-length: 1\n"),                                      "two Content-Length fields"             },
    {BLOCK("Content-Length: 1, 1\n"),                                                      "invalid Content-Length"                },
    {BLOCK("Content-Length:\n"),                                                           "invalid Content-Length"                },
    {BLOCK("Content-Length: -1\n"),                                                        "invalid Content-Length"                },
    {BLOCK("Content-Length: +1\n"),                                                        "invalid Content-Length"                },
    {BLOCK("Content-Length: 0x1\n"),                                                       "invalid Content-Length"                },
    {BLOCK("Content-Length: 1 \t2\n"),                                                     "invalid Content-Length"                },
    {BLOCK("Content-Length: 9223372036854775808\n"),                                       "Content-Length too large"              },
    {BLOCK("Content-Length: 99999999999999999999999\n"),                                   "Content-Length too large"              },
};

/* Bad is bad from the end of the bad line on, and nothing stays in `out`. */
static void test_bad_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cgi_reply reply;
        struct buf out;
        char block[256];
        memcpy(block, bad[i].block, bad[i].len);
        memcpy(block + bad[i].len, "C: 3\n\n", 6);
        buf_init(&out, 4096);
        for (size_t n = 0; n <= bad[i].len + 6; n++) {
            enum http_parse result = parse(block, n, &reply, &out);
            assert_int_equal(result, n < bad[i].len ? HTTP_MORE : HTTP_BAD);
            assert_int_equal(out.len, 0);
            if (result == HTTP_BAD)
                assert_string_equal(reply.error, bad[i].error);
        }
        buf_free(&out);
    }
}

static void test_reason_length(void **state)
{
    (void)state;
    for (int len = CGI_REASON_MAX; len <= CGI_REASON_MAX + 1; len++) {
        struct cgi_reply reply;
        struct buf out;
        char block[256], phrase[CGI_REASON_MAX + 1];
        memset(phrase, 'p', sizeof(phrase));
        int n = snprintf(block, sizeof(block), "Status: 200 %.*s\n\n", len, phrase);
        buf_init(&out, 4096);
        enum http_parse result = parse(block, (size_t)n, &reply, &out);
        assert_int_equal(result, len == CGI_REASON_MAX ? HTTP_DONE : HTTP_BAD);
        if (result == HTTP_BAD)
            assert_string_equal(reply.error, "reason phrase too long");
        else
            assert_int_equal(reply.reason.len, CGI_REASON_MAX);
        buf_free(&out);
    }
}

static void test_reply_too_large(void **state)
{
    (void)state;
    static const char block[] = "A: 1\nBc: 23\n\n"; /* "A: 1\r\nBc: 23\r\n" is 14 bytes */
    for (uint32_t max = 0; max <= 14; max++) {
        struct cgi_reply reply;
        struct buf out;
        buf_init(&out, max);
        enum http_parse result = parse(block, sizeof(block) - 1, &reply, &out);
        assert_int_equal(result, max < 14 ? HTTP_BAD : HTTP_DONE);
        assert_int_equal(out.len, max < 14 ? 0 : 14);
        if (result == HTTP_BAD)
            assert_string_equal(reply.error, "answer header too large");
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rows),
        cmocka_unit_test(test_found_script),
        cmocka_unit_test(test_plain_request),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_absolute_target_wins),
        cmocka_unit_test(test_body_length),
        cmocka_unit_test(test_private_fields),
        cmocka_unit_test(test_names_not_passed),
        cmocka_unit_test(test_repeated_fields),
        cmocka_unit_test(test_joined_length),
        cmocka_unit_test(test_connection_names),
        cmocka_unit_test(test_request_id),
        cmocka_unit_test(test_many_fields),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_good_replies),
        cmocka_unit_test(test_bad_replies),
        cmocka_unit_test(test_reason_length),
        cmocka_unit_test(test_reply_too_large),
        cmocka_unit_test(test_forwarding_fields),
        cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
