/* test_conf_dump.c - -T, which can be loaded again, and --help. */
#include "conf_fixture.h"

#include "table.h"

static void assert_dumped(const char *key_and_value, const char *source)
{
    char line[256];
    (void)snprintf(line, sizeof(line), "\n%-36s; %s\n", key_and_value, source);
    if (strstr(fx.dumped, line) == NULL) {
        fail_msg("no line %s in %s", line, fx.dumped);
    }
}

static void test_dump_sources(void **state)
{
    (void)state;
    write_file("gateway.ini", "[app]\nqueue = 9\n\n[app:a]\nmodule = m\nworkers = 2\npath = /a /b\n");
    assert_loads(load(ARGS("-T", "--stop-timeout", "3s", "-w5"),
                      ARGS("LEANGATE_IDLE_TIMEOUT=2m", "PORT=80", "LEANGATE_LOG_FORMAT=json")));
    assert_dumped("listen = 0.0.0.0:80", "$PORT");
    assert_dumped("backlog = 511", "default");
    assert_dumped("format = json", "LEANGATE_LOG_FORMAT");
    assert_dumped("queue = 9", "gateway.ini:2");
    assert_dumped("module = m", "gateway.ini:5");
    assert_dumped("workers = 2", "gateway.ini:6");
    assert_dumped("path = ", "gateway.ini:7");
    assert_non_null(strstr(fx.dumped, "gateway.ini:7\n    /a\n    /b\n"));
    assert_dumped("idle_timeout = 2m", "LEANGATE_IDLE_TIMEOUT");
    assert_dumped("stop_timeout = 3s", "--stop-timeout");
    assert_dumped("domain = ", "default");
    assert_null(strstr(fx.dumped, "include"));
    assert_loads(load(ARGS("-T", "main:app"), NULL));
    assert_dumped("start = check", "command line");
    assert_dumped("module = main:app", "command line");
}

/* Two dumps are the same but for their sources. */
static void assert_same_values(const char *first, const char *second)
{
    while (*first != '\0') {
        size_t a = strcspn(first, ";\n");
        size_t b = strcspn(second, ";\n");
        while (a > 0 && first[a - 1] == ' ') {
            a--;
        }
        while (b > 0 && second[b - 1] == ' ') {
            b--;
        }
        assert_int_equal(a, b);
        assert_memory_equal(first, second, a);
        first += strcspn(first, "\n") + 1;
        second += strcspn(second, "\n") + 1;
    }
    assert_string_equal(second, "");
}

static void assert_round_trip(const char *const *args, const char *const *environment)
{
    assert_loads(load(args, environment));
    char *first = fx.dumped;
    fx.dumped = NULL;
    write_file("other/dump.ini", first);
    assert_loads(load(ARGS("-T", "-c", "other/dump.ini"), NULL));
    assert_same_values(first, fx.dumped);
    free(first);
}

static void test_dump_round_trip(void **state)
{
    (void)state;
    assert_round_trip(ARGS("-T", "main:app"), NULL);
    assert_round_trip(ARGS("-T", "main:app", "--app-dir", "x y", "--env", "A=1 # 2", "--env=B=", "--umask=7",
                           "--log-request-id=off", "--idle-timeout=off", "--domain=*.x.org y.org",
                           "--body-size=1500", "--python", "./v", "--log-access=logs/a", "--root-path=/"),
                      ARGS("PORT=1"));
    write_file("gateway.ini",
               "[gateway]\nlisten = :1 unix:/s\n[log]\naccess = off\n[app]\nenv_file = .e\ndirectory = d\n"
               "[app:a]\nmodule = m\n[app:b]\nmodule = n\npath = /1 /2\nenv_file =\nstart = eager\n");
    assert_round_trip(ARGS("-T"), NULL);
}

/* What a line cannot hold is shown, and the rest still loads. */
static void test_dump_misfits(void **state)
{
    (void)state;
    char value[512];
    (void)snprintf(value, sizeof(value), "A=%0300d", 1);
    assert_loads(load(ARGS("-T", "main:app", "--env", value, "--env", "B=x ;y", "--env", "C=1\n2", "--uds",
                           "/a b", "--directory", "/a #b"),
                      NULL));
    assert_non_null(strstr(fx.dumped, "\n; env = A=0000000"));
    assert_non_null(strstr(fx.dumped, "\n; env = B=x ;y  ; cannot stand in a file\n"));
    assert_non_null(strstr(fx.dumped, "\n; env = C=1?2  ; cannot stand in a file\n"));
    assert_non_null(strstr(fx.dumped, "\n; directory = /a #b  ; cannot stand in a file\n"));
    assert_non_null(strstr(fx.dumped, "\n; listen = unix:/a b  ; cannot stand in a file\n"));
}

static void test_help(void **state)
{
    (void)state;
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    conf_help(out);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(strncmp(text, "usage: leangate [APP] [options]\n", 32), 0);
    for (size_t i = 0; i < table_count; i++) {
        char flag[TABLE_NAME + 4];
        char name[TABLE_NAME];
        table_flag(&table_rows[i], name);
        (void)snprintf(flag, sizeof(flag), "\n  %s ", name);
        assert_non_null(strstr(text, flag));
    }
    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        assert_in_range(strcspn(at, "\n"), 0, 100);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dump_sources),
        cmocka_unit_test(test_dump_round_trip),
        cmocka_unit_test(test_dump_misfits),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
