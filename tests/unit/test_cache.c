/* test_cache.c - where an app's bytecode and records go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache.h"

static struct conf conf;
static struct conf_app app;
static struct cache cache;

static int begin(void **state)
{
    (void)state;
    conf = (struct conf){.cache_dir = "", .user = ""};
    app = (struct conf_app){.name = "shop",
                            .directory = "/srv/shop",
                            .module = "main:app",
                            .script = "",
                            .root = "",
                            .import_cache = true};
    return unsetenv("CACHE_DIRECTORY") | unsetenv("XDG_CACHE_HOME") | unsetenv("HOME");
}

/* The paths under `base` for the user that runs this. */
static void assert_below(const char *base)
{
    char expected[256];
    cache_paths(&cache, &conf, &app, "/usr/bin/python3");
    (void)snprintf(expected, sizeof(expected), "%s/%u/bytecode", base, (unsigned)geteuid());
    assert_string_equal(cache.bytecode, expected);
    int len = snprintf(expected, sizeof(expected), "%s/%u/shop-", base, (unsigned)geteuid());
    assert_memory_equal(cache.files, expected, (size_t)len);
    assert_int_equal(strlen(cache.files), (size_t)len + 16 + strlen(".files"));
    assert_memory_equal(cache.imports, cache.files, (size_t)len + 16);
    assert_string_equal(cache.imports + len + 16, ".imports");
}

static void assert_off(void)
{
    cache_paths(&cache, &conf, &app, "/usr/bin/python3");
    assert_string_equal(cache.bytecode, "");
    assert_string_equal(cache.files, "");
    assert_string_equal(cache.imports, "");
}

static void test_base(void **state)
{
    (void)state;
    assert_off();
    setenv("HOME", "/home/me", 1);
    assert_below("/home/me/.cache/leangate");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_below("/home/me/.cache/leangate");
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    assert_below("/xdg/leangate");
    setenv("CACHE_DIRECTORY", "/var/cache/a:/var/cache/b", 1);
    assert_below("/var/cache/a");
    conf.cache_dir = "/mine";
    assert_below("/mine");
    conf.cache_dir = "off";
    assert_off();
}

static void test_switches(void **state)
{
    (void)state;
    conf.cache_dir = "/c";
    app.bytecode = app.prefetch = CONF_CACHE_OFF;
    app.import_cache = false;
    assert_off();
}

static void test_too_long(void **state)
{
    (void)state;
    static char path[CACHE_PATH + 2];
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    conf.cache_dir = path;
    assert_off();
    path[CACHE_PATH - 20] = '\0'; /* room for some of it */
    cache_paths(&cache, &conf, &app, "/usr/bin/python3");
    assert_string_equal(cache.files, "");
}

static void test_what_runs_tells_records_apart(void **state)
{
    (void)state;
    char first[CACHE_PATH];
    conf.cache_dir = "/c";
    cache_paths(&cache, &conf, &app, "/usr/bin/python3");
    memcpy(first, cache.files, sizeof(first));
    cache_paths(&cache, &conf, &app, "/usr/bin/python3");
    assert_string_equal(cache.files, first);
    cache_paths(&cache, &conf, &app, "/venv/bin/python");
    assert_string_not_equal(cache.files, first);
    app.module = "main:other";
    cache_paths(&cache, &conf, &app, "/usr/bin/python3");
    assert_string_not_equal(cache.files, first);
}

/* /proc/self belongs to whoever looks. */
static void test_a_user_without_a_home(void **state)
{
    (void)state;
    conf.user = "nobody";
    assert_int_equal(setenv("HOME", "/proc/self", 1), 0);
    assert_below("/proc/self/.cache/leangate");
    assert_int_equal(setenv("HOME", "/nonexistent", 1), 0);
    assert_below("/var/cache/leangate");
    assert_int_equal(unsetenv("HOME"), 0);
    assert_below("/var/cache/leangate");
    conf.user = "";
    assert_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_base, begin),
        cmocka_unit_test_setup(test_a_user_without_a_home, begin),
        cmocka_unit_test_setup(test_switches, begin),
        cmocka_unit_test_setup(test_too_long, begin),
        cmocka_unit_test_setup(test_what_runs_tells_records_apart, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
