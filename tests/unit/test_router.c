/* test_router.c - domains and longest prefixes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"

#define LIST(...)                                                                                            \
    {                                                                                                        \
        (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)      \
    }

static struct conf_app apps[] = {
    {.name = "root",                      .path = LIST("/")                 },
    {               .name = "api",                .path = LIST("/api",                         "/v1/api")},
    {               .name = "deep",       .path = LIST("/api/deep/er")                                  },
    {  .name = "shop", .path = LIST("/"),                                   .domain = LIST("shop.example.com")},
    {   .name = "any",    .path = LIST("/"),                                      .domain = LIST("*.example.com")},
    { .name = "inner",  .path = LIST("/"),                               .domain = LIST("*.in.example.com", "v6")},
    {               .name = "shopad",             .path = LIST("/admin"), .domain = LIST("shop.example.com")},
    {               .name = "six",                  .path = LIST("/"),            .domain = LIST("[::1]")},
};

static const struct conf conf = {.apps = apps, .app_count = sizeof(apps) / sizeof(apps[0])};

/* "name prefix_len" of what was found, or "none". */
static const char *find(const struct conf *c, const char *host, const char *path)
{
    static char out[64];
    struct route route;
    struct router *router = router_new(c);
    assert_non_null(router);
    if (router_find(router, host, strlen(host), path, strlen(path), &route))
        snprintf(out, sizeof(out), "%s %u", c->apps[route.app].name, route.prefix_len);
    else
        snprintf(out, sizeof(out), "none");
    router_free(router);
    return out;
}

static void test_paths(void **unused)
{
    (void)unused;
    assert_string_equal(find(&conf, "", "/"), "root 0");
    assert_string_equal(find(&conf, "", "/other"), "root 0");
    assert_string_equal(find(&conf, "", "/api"), "api 4");
    assert_string_equal(find(&conf, "", "/api/"), "api 4");
    assert_string_equal(find(&conf, "", "/api/x"), "api 4");
    assert_string_equal(find(&conf, "", "/apix"), "root 0");
    assert_string_equal(find(&conf, "", "/api/deep"), "api 4");
    assert_string_equal(find(&conf, "", "/api/deep/er"), "deep 12");
    assert_string_equal(find(&conf, "", "/api/deep/er/still/much/longer/than/any/route"), "deep 12");
    assert_string_equal(find(&conf, "", "/api/deep/erx"), "api 4");
    assert_string_equal(find(&conf, "", "/v1/api/7"), "api 7");
    assert_string_equal(find(&conf, "", "//api"), "root 0");
    assert_string_equal(find(&conf, "", "*"), "none");
}

static void test_domains(void **unused)
{
    (void)unused;
    assert_string_equal(find(&conf, "shop.example.com", "/x"), "shop 0");
    assert_string_equal(find(&conf, "SHOP.Example.COM:8080", "/x"), "shop 0");
    assert_string_equal(find(&conf, "shop.example.com.", "/x"), "shop 0");
    assert_string_equal(find(&conf, "shop.example.com", "/admin/1"), "shopad 6");
    assert_string_equal(find(&conf, "a.example.com", "/api"), "any 0");
    assert_string_equal(find(&conf, "a.b.example.com", "/"), "any 0");
    assert_string_equal(find(&conf, "a.in.example.com", "/"), "inner 0");
    assert_string_equal(find(&conf, "example.com", "/api"), "api 4");
    assert_string_equal(find(&conf, "xexample.com", "/"), "root 0");
    assert_string_equal(find(&conf, "[::1]:8000", "/"), "six 0");
    assert_string_equal(find(&conf, ".example.com", "/"), "root 0");
}

static void test_no_route(void **unused)
{
    (void)unused;
    struct conf_app one[] = {
        {.name = "api", .path = LIST("/api")}
    };
    const struct conf c = {.apps = one, .app_count = 1};
    assert_string_equal(find(&c, "x", "/"), "none");
    assert_string_equal(find(&c, "x", "/ap"), "none");
    assert_string_equal(find(&c, "x", "/api/1"), "api 4");
}

static void test_long_host(void **unused)
{
    (void)unused;
    char host[400];
    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    assert_string_equal(find(&conf, host, "/"), "root 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_no_route),
        cmocka_unit_test(test_long_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
