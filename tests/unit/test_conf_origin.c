/* test_conf_origin.c - the keys that say where connections come from, and whom to believe; [status]. */
#include "conf_fixture.h"

static void test_defaults(void **state)
{
    (void)state;
    assert_loads(load_text(APP_FILE));
    assert_list(&fx.conf->trusted_proxies, "127.0.0.1 ::1 unix");
    assert_list(&fx.conf->forwarded, "x-forwarded-for x-forwarded-proto");
    assert_false(fx.conf->proxy_protocol);
    assert_string_equal(fx.conf->health_path, "/-/health");
    assert_string_equal(fx.conf->ready_path, "/-/ready");
}

static void test_values(void **state)
{
    (void)state;
    assert_loads(load_text("[gateway]\ntrusted_proxies = private 192.0.2.0/24\n    2001:db8::/32 unix *\n"
                           "forwarded = Forwarded X-Forwarded-Host x-forwarded-prefix\nproxy_protocol = on\n"
                           "listen = fd:3 systemd systemd:web fd:65535\n"
                           "[status]\nhealth_path = off\nready_path = /up/\n" APP_FILE));
    assert_list(&fx.conf->trusted_proxies, "private 192.0.2.0/24 2001:db8::/32 unix *");
    assert_list(&fx.conf->forwarded, "forwarded x-forwarded-host x-forwarded-prefix");
    assert_true(fx.conf->proxy_protocol);
    assert_list(&fx.conf->listen, "fd:3 systemd systemd:web fd:65535");
    assert_string_equal(fx.conf->health_path, "");
    assert_string_equal(fx.conf->ready_path, "/up");
    assert_loads(load_text("[gateway]\ntrusted_proxies =\nforwarded =\n" APP_FILE));
    assert_list(&fx.conf->trusted_proxies, "");
    assert_list(&fx.conf->forwarded, "");
}

static void test_wrong_values(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[gateway]\ntrusted_proxies = proxy.local\n",
         "gateway.ini:2: [gateway] trusted_proxies: \"proxy.local\" is not an address, a network "
         "(10.0.0.0/8), "
         "private, unix or *"                                                                                                                 },
        {"[gateway]\ntrusted_proxies = 172.18.0.2/16\n",
         "gateway.ini:2: [gateway] trusted_proxies: \"172.18.0.2/16\" has bits behind its prefix (try "
         "172.18.0.0/16)"                                                                                                                     },
        {"[gateway]\nforwarded = x-real-ip\n",           "gateway.ini:2: [gateway] forwarded: \"x-real-ip\" is not one "
                                               "of x-forwarded-for, x-forwarded-proto, "
                                               "x-forwarded-host, x-forwarded-prefix, forwarded"},
        {"[status]\nhealth_path = health\n",
         "gateway.ini:2: [status] health_path: \"health\" does not begin with / (try /health)"                                                },
        {"[status]\nready_path =\n",                     "gateway.ini:2: [status] ready_path: needs a value (try /-/ready)"                   },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_fails(load_text(rows[i][0]), rows[i][1]);
}

/* What other servers know the list by: above the file, below our own variable. */
static void test_allow_ips(void **state)
{
    (void)state;
    write_file("gateway.ini", "[gateway]\ntrusted_proxies = 192.0.2.1\n" APP_FILE);
    assert_loads(load(ARGS("-T"), ARGS("FORWARDED_ALLOW_IPS=10.0.0.1,10.0.1.0/24, ::1")));
    assert_list(&fx.conf->trusted_proxies, "10.0.0.1 10.0.1.0/24 ::1");
    assert_non_null(strstr(fx.dumped, "; $FORWARDED_ALLOW_IPS\n"));
    assert_loads(load(NULL, ARGS("FORWARDED_ALLOW_IPS=*")));
    assert_list(&fx.conf->trusted_proxies, "*");
    assert_loads(load(NULL, ARGS("FORWARDED_ALLOW_IPS=")));
    assert_list(&fx.conf->trusted_proxies, "192.0.2.1");
    assert_loads(load(NULL, ARGS("FORWARDED_ALLOW_IPS=*", "LEANGATE_TRUSTED_PROXIES=unix")));
    assert_list(&fx.conf->trusted_proxies, "unix");
    assert_loads(load(ARGS("--forwarded-allow-ips", "10.0.0.1,10.0.0.2"), ARGS("FORWARDED_ALLOW_IPS=*")));
    assert_list(&fx.conf->trusted_proxies, "10.0.0.1 10.0.0.2");
    assert_loads(load(ARGS("--fd", "3"), NULL));
    assert_list(&fx.conf->listen, "fd:3");
    assert_fails(
        load(NULL, ARGS("FORWARDED_ALLOW_IPS=proxy")),
        "$FORWARDED_ALLOW_IPS: \"proxy\" is not an address, a network (10.0.0.0/8), private, unix or *");
}

/* The gateway's own paths: where an app's route begins with one of them, it is told. */
static void test_own_paths(void **state)
{
    (void)state;
    assert_loads(load_text("[status]\nhealth_path = /api/health\nready_path = off\n"
                           "[app:a]\nmodule = m\npath = / /api\n"));
    assert_string_equal(fx.warned, "");
    assert_loads(load_text("[status]\nhealth_path = /up\nready_path = /\n"
                           "[app:a]\nmodule = m\n[app:b]\nmodule = m\npath = /b /up/\n"));
    assert_string_equal(fx.warned, "[app:b] never gets \"/up\": [status] health_path is the same path\n"
                                   "[app:a] never gets \"/\": [status] ready_path is the same path\n");
    assert_loads(load_text("[status]\nhealth_path = /up\nready_path = /up\n" APP_FILE));
    assert_string_equal(fx.warned, "[status] ready_path never says 503: health_path is the same path\n");
    assert_loads(load_text("[status]\nhealth_path = off\nready_path = off\n" APP_FILE));
    assert_string_equal(fx.warned, "");
}

/* Prefixes of the whole path that no request for the app begins with. */
static void test_prefixes_elsewhere(void **state)
{
    (void)state;
    assert_loads(load_text("[app]\nstatic = /assets d\n[app:a]\nmodule = m\npath = /a /b/c\n"
                           "static = /a d\n /a/x d\n /b d\n / d\n /a-x d\n /static d\n"
                           "ignore_idle = /a/ping /ping / /b/cc\n"));
    assert_string_equal(fx.warned, "[app:a] never gets \"/a-x\" of static: path leads elsewhere\n"
                                   "[app:a] never gets \"/static\" of static: path leads elsewhere\n"
                                   "[app:a] never gets \"/ping\" of ignore_idle: path leads elsewhere\n"
                                   "[app:a] never gets \"/b/cc\" of ignore_idle: path leads elsewhere\n");
    assert_loads(load_text("[app:a]\nmodule = m\nstatic = /s d\n / d\nignore_idle = / /x\n"
                           "[app:b]\nmodule = m\npath = /b\n"));
    assert_string_equal(fx.warned, "");
}

/* Bodies that not even an empty spool has room for: told of each app that says so itself, and once of [app].
 */
static void test_bodies_beyond_the_spool(void **state)
{
    (void)state;
    assert_loads(load_text("[limits]\nspool = 1m\nbody_memory = 9m\n" APP_FILE));
    assert_string_equal(fx.warned, "");
    assert_loads(load_text("[app]\nbody_size = off\n[app:a]\nmodule = m\n[app:b]\nmodule = m\npath = /b\n"
                           "[app:c]\nmodule = m\npath = /c\nbody_size = 2g\n"
                           "[app:d]\nmodule = m\npath = /d\nbody_size = 512m\n"));
    assert_string_equal(
        fx.warned,
        "[app] body_size = off, but all bodies share [limits] spool = 512m: a larger one is always 503\n"
        "[app:c] body_size = 2g, but all bodies share [limits] spool = 512m: a larger one is always 503\n");
    assert_loads(load_text("[limits]\nspool = 8m\n" APP_FILE));
    assert_string_equal(fx.warned,
                        "[app] body_size = 10m, but all bodies share [limits] spool = 8m: a larger one "
                        "is always 503\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_allow_ips),
        cmocka_unit_test(test_own_paths),
        cmocka_unit_test(test_prefixes_elsewhere),
        cmocka_unit_test(test_bodies_beyond_the_spool),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
