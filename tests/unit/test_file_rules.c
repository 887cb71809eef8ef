/* test_file_rules.c - names, types, codings, conditions and ranges of static files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "file_rules.h"
#include "file_type.h"
#include "guard.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define ETAG     "\"3e8-0123456789abcdef\""
#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE   "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER    "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct file_rules_facts facts = {.size = 1000, .modified = 784111777, .inode = 7};

/* A head with these header lines; its text ends at a guard page. */
static char *parse(const char *method, const char *lines, struct http_head *head, size_t *len)
{
    static const struct http_head_limits limits = {.request_line = 8192, .size = 32768, .field_count = 100};
    char text[2048];
    int n = snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\nHost: a\r\n%s\r\n", method, lines);
    assert_in_range(n, 1, sizeof(text) - 1);
    *len = (size_t)n;
    char *data = guard_copy(text, *len);
    http_head_init(head);
    assert_int_equal(http_head_parse(head, data, *len, &limits), HTTP_DONE);
    return data;
}

static struct file_rules_verdict judge(const char *method, const char *lines,
                                       const struct file_rules_facts *about, time_t now)
{
    struct http_head head;
    size_t len;
    char *data = parse(method, lines, &head, &len);
    struct file_rules_verdict v = file_rules_judge(&head, data, about, ETAG, now);
    guard_free(data, len);
    return v;
}

static unsigned status(const char *method, const char *lines)
{
    return judge(method, lines, &facts, facts.modified + 1000).status;
}

/* ---- names ---- */

static void test_find(void **unused)
{
    (void)unused;
    const struct conf_static rows[] = {
        {"/static",      7,  "/a"},
        {"/static/deep", 12, "/b"},
        {"/f.ico",       6,  "/c"}
    };
    const struct conf_app app = {.statics = rows, .static_count = COUNT(rows)};
    static const struct {
        const char *path;
        const char *directory;
    } paths[] = {
        {"/static",          "/a"},
        {"/static/",         "/a"},
        {"/static/x",        "/a"},
        {"/static/deep",     "/b"},
        {"/static/deep/x/y", "/b"},
        {"/static/deeper",   "/a"},
        {"/f.ico",           "/c"},
        {"/staticx",         NULL},
        {"/stati",           NULL},
        {"/Static/x",        NULL},
        {"//static/x",       NULL},
        {"/",                NULL},
        {"*",                NULL},
    };
    for (size_t i = 0; i < COUNT(paths); i++) {
        size_t len = strlen(paths[i].path);
        char *path = guard_copy(paths[i].path, len);
        const struct conf_static *found = file_rules_find(&app, path, len);
        guard_free(path, len);
        assert_int_equal(found == NULL, paths[i].directory == NULL);
        if (found != NULL)
            assert_string_equal(found->directory, paths[i].directory);
    }
    const struct conf_static root = {"/", 0, "/r"};
    const struct conf_app all = {.statics = &root, .static_count = 1};
    assert_ptr_equal(file_rules_find(&all, "/", 1), &root);
    assert_ptr_equal(file_rules_find(&all, "/x", 2), &root);
    assert_null(file_rules_find(&all, "*", 1));
    const struct conf_app none = {.static_count = 0};
    assert_null(file_rules_find(&none, "/x", 2));
}

static void test_names(void **unused)
{
    (void)unused;
    static const char *const good[] = {"/a", "/a/b.css", "/a.b/c..d", "/a b", "/~", "/a\\b", "/a.", "/-"};
    static const char *const bad[] = {"",      "a",     "/",   "//",      "//a", "/a/",  "/a//b", "/.a",
                                      "/a/.b", "/.a/b", "/..", "/a/../b", "/.",  "/./a", "/...",  "/a/."};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(file_rules_name(good[i], strlen(good[i])));
    for (size_t i = 0; i < COUNT(bad); i++) {
        size_t len = strlen(bad[i]);
        char *name = guard_copy(bad[i], len);
        assert_false(file_rules_name(name, len));
        guard_free(name, len);
    }
}

static void test_types(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        const char *type;
    } rows[] = {
        {"/a.html",           "text/html; charset=utf-8"      },
        {"/A.HTML",           "text/html; charset=utf-8"      },
        {"x.css",             "text/css; charset=utf-8"       },
        {"x.min.js",          "text/javascript; charset=utf-8"},
        {"x.mjs",             "text/javascript; charset=utf-8"},
        {"x.json",            "application/json"              },
        {"x.txt",             "text/plain; charset=utf-8"     },
        {"x.svg",             "image/svg+xml"                 },
        {"x.woff2",           "font/woff2"                    },
        {"x.7z",              "application/x-7z-compressed"   },
        {"x.zst",             "application/zstd"              },
        {"x.webmanifest",     "application/manifest+json"     },
        {"x.css.gz",          "application/gzip"              },
        {"x",                 "application/octet-stream"      },
        {"x.",                "application/octet-stream"      },
        {"x.exe",             "application/octet-stream"      },
        {"html",              "application/octet-stream"      },
        {"a.html/x",          "application/octet-stream"      },
        {"x.webmanifestx",    "application/octet-stream"      },
        {"x.abcdefghijklmno", "application/octet-stream"      },
        {"",                  "application/octet-stream"      },
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_string_equal(file_type(rows[i].name, strlen(rows[i].name)), rows[i].type);
}

/* What kind files sends: nothing that may be a source, a backup, a database or a configuration. */
static void test_web_types(void **unused)
{
    (void)unused;
    static const char *const web[] = {"a.html", "a.HTM", "a.css",  "a.js",  "a.mjs",   "a.png",
                                      "a.jpg",  "a.svg", "a.webp", "a.ico", "a.woff2", "a.ttf",
                                      "a.pdf",  "a.txt", "a.wasm", "a.mp4", "a.vtt",   "a.webmanifest"};
    static const char *const others[] = {
        "a.py",   "a.pyc",    "a.PY",  "a.php",   "a.py.bak",  "a.html~", "a.html.old", "a.css.gz",
        "a.zip",  "a.tar.gz", "a.7z",  "a.sql",   "a.sqlite3", "a.db",    "a.ini",      "a.toml",
        "a.yaml", "a.json",   "a.xml", "a.env",   "a.conf",    "a.map",   "a.md",       "a.csv",
        "a",      "a.",       "html",  "a.html.", "a.log",     "a.pem",   "a.key"};
    for (size_t i = 0; i < COUNT(web); i++)
        assert_true(file_type_is_web(web[i], strlen(web[i])));
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(file_type_is_web(others[i], strlen(others[i])));
}

static void test_etag(void **unused)
{
    (void)unused;
    char first[FILE_RULES_ETAG], other[FILE_RULES_ETAG];
    const struct file_rules_facts variants[] = {
        {.size = 1001, .modified = 784111777, .inode = 7},
        {.size = 1000, .modified = 784111778, .inode = 7},
        {.size = 1000, .modified = 784111777, .inode = 8},
        {.size = 1000, .modified = 784111777, .inode = 7, .modified_ns = 1},
        {.size = 1000,            .modified = -1,                      .inode = 7      },
    };
    file_rules_etag(&facts, first);
    assert_int_equal(strlen(first), 22);
    assert_memory_equal(first, "\"3e8-", 5);
    for (size_t i = 0; i < COUNT(variants); i++) {
        file_rules_etag(&variants[i], other);
        assert_string_not_equal(first, other);
    }
    const struct file_rules_facts largest = {UINT64_MAX, INT64_MAX, 999999999, UINT64_MAX};
    file_rules_etag(&largest, other);
    assert_in_range(strlen(other), 30, FILE_RULES_ETAG - 1);
    file_rules_etag(&facts, other);
    assert_string_equal(first, other);
}

/* ---- codings ---- */

static void test_codings(void **unused)
{
    (void)unused;
    static const struct {
        const char *lines;
        const char *order; /* first letters */
    } rows[] = {
        {"",                                                              ""  },
        {"Accept-Encoding:\r\n",                                          ""  },
        {"Accept-Encoding: gzip\r\n",                                     "g" },
        {"Accept-Encoding: br\r\n",                                       "b" },
        {"Accept-Encoding: gzip, deflate, br, zstd\r\n",                  "bg"},
        {"accept-encoding: GZIP;q=1, BR;q=0.5\r\n",                       "gb"},
        {"Accept-Encoding: gzip;q=0\r\n",                                 ""  },
        {"Accept-Encoding: gzip;q=0.000, br;q=0.001\r\n",                 "b" },
        {"Accept-Encoding: *\r\n",                                        "bg"},
        {"Accept-Encoding: *;q=0\r\n",                                    ""  },
        {"Accept-Encoding: br;q=0, *;q=0.3\r\n",                          "g" },
        {"Accept-Encoding: gzip;q=0.2, *\r\n",                            "bg"},
        {"Accept-Encoding: identity\r\n",                                 ""  },
        {"Accept-Encoding: x-gzip\r\n",                                   "g" },
        {"Accept-Encoding: deflate\r\nAccept-Encoding: gzip ; q=0.5\r\n", "g" },
        {"Accept-Encoding: gzip;q=2\r\n",                                 ""  },
        {"Accept-Encoding: gzipx, brr\r\n",                               ""  },
        {"X-Accept-Encoding: gzip\r\n",                                   ""  },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_head head;
        size_t len;
        uint8_t order[FILE_RULES_CODINGS];
        char letters[FILE_RULES_CODINGS + 1] = "";
        char *data = parse("GET", rows[i].lines, &head, &len);
        unsigned count = file_rules_accepted(&head, data, order);
        guard_free(data, len);
        for (unsigned k = 0; k < count; k++)
            letters[k] = file_rules_codings[order[k]].name[0];
        assert_string_equal(letters, rows[i].order);
    }
}

/* ---- conditions ---- */

struct asked {
    const char *lines;
    unsigned status;
};

static void check(const char *method, const struct asked *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (status(method, rows[i].lines) != rows[i].status)
            fail_msg("%s %s: %u", method, rows[i].lines, status(method, rows[i].lines));
}

static void test_if_none_match(void **unused)
{
    (void)unused;
    static const struct asked rows[] = {
        {"",                                                             200},
        {"If-None-Match: " ETAG "\r\n",                                  304},
        {"If-None-Match: W/" ETAG "\r\n",                                304},
        {"If-None-Match: *\r\n",                                         304},
        {"If-None-Match: \"x\", " ETAG "\r\n",                           304},
        {"If-None-Match: \"x,y\" ,, W/\"z\"," ETAG "\r\n",               304},
        {"If-None-Match: \"x\"\r\nIf-None-Match: " ETAG "\r\n",          304},
        {"If-None-Match: \"x\"\r\n",                                     200},
        {"If-None-Match:\r\n",                                           200},
        {"If-None-Match: 3e8-0123456789abcdef\r\n",                      200},
        {"If-None-Match: \"\r\n",                                        200},
        {"If-None-Match: W/\r\n",                                        200},
        {"If-None-Match: W\r\n",                                         200},
        {"If-None-Match: \"x\" *\r\n",                                   200},
        {"If-None-Match: x, " ETAG "\r\n",                               200},
        {"If-None-Match: \"x\"\r\nIf-Modified-Since: " AFTER "\r\n",     200},
        {"If-None-Match: " ETAG "\r\nIf-Modified-Since: " BEFORE "\r\n", 304},
    };
    check("GET", rows, COUNT(rows));
    check("HEAD", rows, COUNT(rows));
}

static void test_if_modified_since(void **unused)
{
    (void)unused;
    static const struct asked rows[] = {
        {"If-Modified-Since: " MODIFIED "\r\n",                                    304},
        {"If-Modified-Since: " AFTER "\r\n",                                       304},
        {"If-Modified-Since: " BEFORE "\r\n",                                      200},
        {"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n",                  304},
        {"If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n",                        304},
        {"If-Modified-Since: yesterday\r\n",                                       200},
        {"If-Modified-Since:\r\n",                                                 200},
        {"If-Modified-Since: " MODIFIED "\r\nIf-Modified-Since: " MODIFIED "\r\n", 200},
    };
    check("GET", rows, COUNT(rows));
    check("HEAD", rows, COUNT(rows));
}

static void test_if_match(void **unused)
{
    (void)unused;
    static const struct asked rows[] = {
        {"If-Match: " ETAG "\r\n",                                              200},
        {"If-Match: *\r\n",                                                     200},
        {"If-Match: \"x\", " ETAG "\r\n",                                       200},
        {"If-Match: W/" ETAG "\r\n",                                            412},
        {"If-Match: \"x\"\r\n",                                                 412},
        {"If-Match:\r\n",                                                       412},
        {"If-Match: \"x\"\r\nIf-None-Match: " ETAG "\r\n",                      412},
        {"If-Match: " ETAG "\r\nIf-None-Match: " ETAG "\r\n",                   304},
        {"If-Match: " ETAG "\r\nIf-Unmodified-Since: " BEFORE "\r\n",           200},
        {"If-Unmodified-Since: " MODIFIED "\r\n",                               200},
        {"If-Unmodified-Since: " AFTER "\r\n",                                  200},
        {"If-Unmodified-Since: " BEFORE "\r\n",                                 412},
        {"If-Unmodified-Since: whenever\r\n",                                   200},
        {"If-Unmodified-Since: " BEFORE "\r\nIf-Modified-Since: " AFTER "\r\n", 412},
        {"If-Unmodified-Since: " AFTER "\r\nIf-Modified-Since: " AFTER "\r\n",  304},
        {"If-Match: \"x\"\r\nRange: bytes=0-1\r\n",                             412},
        {"If-None-Match: " ETAG "\r\nRange: bytes=0-1\r\n",                     304},
        {"If-None-Match: " ETAG "\r\nRange: bytes=9999-\r\n",                   304},
    };
    check("GET", rows, COUNT(rows));
    check("HEAD", rows, COUNT(rows));
}

static void test_if_range(void **unused)
{
    (void)unused;
    static const struct asked rows[] = {
        {"If-Range: " ETAG "\r\n",                                           200},
        {"Range: bytes=1-2\r\nIf-Range: " ETAG "\r\n",                       206},
        {"Range: bytes=1-2\r\nIf-Range: \"x\"\r\n",                          200},
        {"Range: bytes=1-2\r\nIf-Range: W/" ETAG "\r\n",                     200},
        {"Range: bytes=1-2\r\nIf-Range: *\r\n",                              200},
        {"Range: bytes=1-2\r\nIf-Range:\r\n",                                200},
        {"Range: bytes=1-2\r\nIf-Range: " ETAG "\r\nIf-Range: " ETAG "\r\n", 200},
        {"Range: bytes=1-2\r\nIf-Range: " MODIFIED "\r\n",                   206},
        {"Range: bytes=1-2\r\nIf-Range: " AFTER "\r\n",                      200},
        {"Range: bytes=1-2\r\nIf-Range: " BEFORE "\r\n",                     200},
        {"Range: bytes=5000-\r\nIf-Range: \"x\"\r\n",                        200},
        {"Range: bytes=5000-\r\nIf-Range: " ETAG "\r\n",                     416},
    };
    check("GET", rows, COUNT(rows));
    static const char young[] = "Range: bytes=1-2\r\nIf-Range: " MODIFIED "\r\n";
    assert_int_equal(judge("GET", young, &facts, facts.modified).status, 200);
    assert_int_equal(judge("GET", young, &facts, facts.modified + 1).status, 206);
}

/* ---- ranges ---- */

static void test_ranges(void **unused)
{
    (void)unused;
    static const struct {
        const char *range;
        unsigned status;
        uint64_t first;
        uint64_t length;
    } rows[] = {
        {"bytes=0-0",                          206, 0,   1   },
        {"bytes=0-999",                        206, 0,   1000},
        {"bytes=0-1000",                       206, 0,   1000},
        {"bytes=0-",                           206, 0,   1000},
        {"bytes=999-",                         206, 999, 1   },
        {"bytes=500-600",                      206, 500, 101 },
        {"bytes=-1",                           206, 999, 1   },
        {"bytes=-1000",                        206, 0,   1000},
        {"bytes=-5000",                        206, 0,   1000},
        {"Bytes= 5-9 ",                        206, 5,   5   },
        {"bytes=0-99999999999999999999999999", 206, 0,   1000},
        {"bytes=-99999999999999999999999999",  206, 0,   1000},
        {"bytes=1000-",                        416, 0,   1000},
        {"bytes=1000-2000",                    416, 0,   1000},
        {"bytes=18446744073709551615-",        416, 0,   1000},
        {"bytes=18446744073709551616-",        416, 0,   1000},
        {"bytes=-0",                           416, 0,   1000},
        {"bytes=5-4",                          200, 0,   1000},
        {"bytes=0-1,5-6",                      200, 0,   1000},
        {"bytes=0-1,",                         200, 0,   1000},
        {"bytes=-",                            200, 0,   1000},
        {"bytes=",                             200, 0,   1000},
        {"bytes",                              200, 0,   1000},
        {"bytes=5",                            200, 0,   1000},
        {"bytes=--5",                          200, 0,   1000},
        {"bytes=+1-2",                         200, 0,   1000},
        {"bytes=0x1-2",                        200, 0,   1000},
        {"bytes=1 -2",                         200, 0,   1000},
        {"bytes =1-2",                         200, 0,   1000},
        {"items=0-1",                          200, 0,   1000},
        {"bytes=0-1\r\nRange: bytes=0-1",      200, 0,   1000},
    };
    char lines[256];
    for (size_t i = 0; i < COUNT(rows); i++) {
        (void)snprintf(lines, sizeof(lines), "Range: %s\r\n", rows[i].range);
        struct file_rules_verdict v = judge("GET", lines, &facts, facts.modified);
        if (v.status != rows[i].status || v.first != rows[i].first || v.length != rows[i].length)
            fail_msg("%s: %u %llu %llu", rows[i].range, v.status, (unsigned long long)v.first,
                     (unsigned long long)v.length);
        assert_int_equal(judge("HEAD", lines, &facts, facts.modified).status, 200);
    }
}

static void test_ranges_of_nothing(void **unused)
{
    (void)unused;
    const struct file_rules_facts empty = {.size = 0};
    assert_int_equal(judge("GET", "Range: bytes=0-\r\n", &empty, 0).status, 416);
    assert_int_equal(judge("GET", "Range: bytes=-1\r\n", &empty, 0).status, 200);
    assert_int_equal(judge("GET", "Range: bytes=-0\r\n", &empty, 0).status, 416);
    assert_int_equal(judge("GET", "", &empty, 0).length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),          cmocka_unit_test(test_names),
        cmocka_unit_test(test_types),         cmocka_unit_test(test_web_types),
        cmocka_unit_test(test_etag),          cmocka_unit_test(test_codings),
        cmocka_unit_test(test_if_none_match), cmocka_unit_test(test_if_modified_since),
        cmocka_unit_test(test_if_match),      cmocka_unit_test(test_if_range),
        cmocka_unit_test(test_ranges),        cmocka_unit_test(test_ranges_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
