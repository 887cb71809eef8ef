/* test_conf_cache.c - the keys of what a start leaves for the next one. */
#include "conf_fixture.h"

static void test_defaults(void **state)
{
    (void)state;
    assert_loads(load_text(APP_FILE));
    assert_string_equal(fx.conf->cache_dir, "");
    assert_int_equal(fx.conf->apps[0].bytecode, CONF_CACHE_AUTO);
    assert_int_equal(fx.conf->apps[0].prefetch, CONF_CACHE_AUTO);
    assert_false(fx.conf->apps[0].import_cache);
}

static void test_values(void **state)
{
    (void)state;
    assert_loads(load_text("[gateway]\ncache_dir = kept/here\n" APP_FILE
                           "bytecode = off\nprefetch = off\nimport_cache = on\n"));
    assert_string_equal(fx.conf->cache_dir, in_dir("kept/here"));
    assert_int_equal(fx.conf->apps[0].bytecode, CONF_CACHE_OFF);
    assert_int_equal(fx.conf->apps[0].prefetch, CONF_CACHE_OFF);
    assert_true(fx.conf->apps[0].import_cache);
    assert_loads(load_text("[gateway]\ncache_dir = off\n" APP_FILE));
    assert_string_equal(fx.conf->cache_dir, "off");
}

static void test_errors(void **state)
{
    (void)state;
    assert_fails(load_text(APP_FILE "bytecode = on\n"),
                 "gateway.ini:3: [app:hello] bytecode: \"on\" is not one of auto, off");
    assert_fails(load_text("[app:php]\ncommand = php-cgi\nprefetch = off\n"),
                 "gateway.ini:3: [app:php] prefetch: is for Python, and kind = fastcgi runs something else");
}

static void test_flag(void **state)
{
    (void)state;
    assert_loads(load(ARGS("main:app", "--import-cache", "--cache-dir", "c"), NULL));
    assert_true(fx.conf->apps[0].import_cache);
    assert_string_equal(fx.conf->cache_dir, in_dir("c"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_flag),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
