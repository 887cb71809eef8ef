/* test_conf_files.c - files as a whole: where paths start, strange bytes, includes, memory. */
#include "conf_fixture.h"

#include "guard.h"
#include "load.h"

static void test_paths(void **state)
{
    (void)state;
    write_file("sub/x.ini",
               "[log]\naccess = logs/./a.log\nerror = /var/log/e\n[app]\nenv_file = .env\n    /etc/e\n"
               "[app:a]\nmodule = m\ndirectory = src/\npython = ../v\n"
               "[app:b]\nmodule = m\npath = /b\n[app:c]\nmodule = m\npath = /c\ndirectory = /\n");
    assert_loads(load(ARGS("-c", "sub/x.ini"), NULL));
    assert_string_equal(fx.conf->file, "sub/x.ini");
    assert_string_equal(fx.conf->access, in_dir("sub/logs/a.log"));
    assert_string_equal(fx.conf->error, "/var/log/e");
    const struct conf_app *apps = fx.conf->apps;
    assert_string_equal(apps[0].directory, in_dir("sub/src"));
    assert_string_equal(apps[0].python, "../v");
    assert_string_equal(apps[0].env_file.items[0], in_dir("sub/src/.env"));
    assert_string_equal(apps[0].env_file.items[1], "/etc/e");
    assert_string_equal(apps[1].directory, in_dir("sub"));
    assert_string_equal(apps[1].env_file.items[0], in_dir("sub/.env"));
    assert_string_equal(apps[2].directory, "/");
    assert_string_equal(apps[2].env_file.items[0], "/.env");
}

/* Both parts of a row: the prefix by its length, the directory absolute; and what -T prints of it. */
static void assert_static(const struct conf_app *row, uint32_t index, const char *prefix,
                          const char *directory)
{
    char line[512];
    const struct conf_static *s = &row->statics[index];
    assert_in_range(index, 0, row->static_count - 1);
    assert_int_equal(row->static_count, row->static_files.count);
    assert_int_equal(s->prefix_len, strcmp(prefix, "/") == 0 ? 0 : strlen(prefix));
    assert_memory_equal(s->prefix, prefix, s->prefix_len);
    assert_string_equal(s->directory, directory);
    (void)snprintf(line, sizeof(line), "%s %s", prefix, directory);
    assert_string_equal(row->static_files.items[index], line);
}

static void test_static(void **state)
{
    (void)state;
    write_file("sub/x.ini",
               "[app]\nstatic = /static/ public\n"
               "[app:a]\nmodule = m\ndirectory = src\n"
               "[app:b]\nmodule = m\npath = /b\nstatic = /b/s ../out/my files\n    /\t/srv/www/\n"
               "[app:c]\nmodule = m\npath = /c\nstatic =\n");
    assert_loads(load(ARGS("-c", "sub/x.ini"), NULL));
    const struct conf_app *apps = fx.conf->apps;
    assert_int_equal(apps[0].static_count, 1);
    assert_static(&apps[0], 0, "/static", in_dir("sub/src/public"));
    assert_int_equal(apps[1].static_count, 2);
    assert_static(&apps[1], 0, "/b/s", in_dir("sub/../out/my files"));
    assert_static(&apps[1], 1, "/", "/srv/www");
    assert_int_equal(apps[2].static_count, 0);
    assert_loads(load(ARGS("m", "--app-dir", "src", "--static", "/s my files", "--static=/t t"), NULL));
    assert_static(&fx.conf->apps[0], 0, "/s", in_dir("my files"));
    assert_static(&fx.conf->apps[0], 1, "/t", in_dir("t"));
    static const char *const wrong[][2] = {
        {"static/ public", "\"static/\" does not begin with / (try /static/)"           },
        {"/static/",       "\"/static\" has no directory behind it (try /static public)"},
        {"/a//b public",   "\"/a//b\" has an empty or a dot segment"                    },
        {"/a/../b public", "\"/a/../b\" has an empty or a dot segment"                  },
        {"/a?b public",    "\"/a?b\" is not a path: no ?, # or blank"                   },
        {"/s a\n  /s/ b",  "\"/s\" stands there twice"                                  },
        {"/ a\n  / b",     "\"/\" stands there twice"                                   },
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[256];
        char error[256];
        (void)snprintf(text, sizeof(text), "[app:a]\nmodule = m\nstatic = %s\n", wrong[i][0]);
        (void)snprintf(error, sizeof(error), "gateway.ini:3: [app:a] static: %s", wrong[i][1]);
        assert_fails(load_text(text), error);
    }
}

static void test_files(void **state)
{
    (void)state;
    (void)unlink(in_dir("gateway.ini")); /* of the test before, if there is one */
    assert_fails(load(NULL, NULL),
                 "no gateway.ini here: name an app (leangate main:app) or a file (-c FILE)");
    assert_fails(load(ARGS("-c", "nope.ini"), NULL), "nope.ini: cannot read: No such file or directory");
    write_file("dir/x", "");
    assert_fails(load(ARGS("-c", "dir"), NULL), "dir: cannot read: is a directory");
}

static int load_bytes(const char *bytes, size_t len)
{
    drop();
    char *copy = guard_copy(bytes, len);
    FILE *file = len > 0 ? fmemopen(copy, len, "r") : fopen("/dev/null", "r");
    assert_non_null(file);
    static char *const none[] = {NULL};
    struct conf_input input = {.argv = none, .environ = none, .cwd = fx.dir};
    int result = conf_load_stream(&input, file, "x.ini", &fx.conf, &fx.error);
    assert_int_equal(fclose(file), 0);
    guard_free(copy, len);
    return result;
}

static void test_strange_bytes(void **state)
{
    (void)state;
    static const char nul[] = "[app:a]\nmod\0ule = m\n";
    static const char latin[] = "[app:a]\nmodule = m\xe4\xff ; \xfe\nenv = A=\xff\xfe\n";
    assert_fails(load_bytes(nul, sizeof(nul) - 1), "x.ini:2: [app:a] a NUL byte: not a text file");
    assert_loads(load_bytes(latin, sizeof(latin) - 1));
    assert_string_equal(fx.conf->apps[0].env.items[0], "A=\xff\xfe");
    static const char escape[] = "[log]\nlevel = \033[2J\n";
    assert_fails(load_bytes(escape, sizeof(escape) - 1),
                 "x.ini:2: [log] level: \"?[2J\" is not one of debug, info, warning, error");
}

/* At the beginning of a line # is a comment; in a variable, and inside a word, it is what it is. */
static void test_hashes(void **state)
{
    (void)state;
    assert_loads(
        load_text("# c\n[app:a]\n  # c\nmodule = m ; # c\n# c\ndirectory = /srv/c#\nenv = A=#1 # 2\n"));
    assert_string_equal(fx.conf->apps[0].directory, "/srv/c#");
    assert_string_equal(fx.conf->apps[0].env.items[0], "A=#1 # 2");
}

/* Cut at every byte, a file loads or gives one line of error. */
static void test_every_end(void **state)
{
    (void)state;
    static const char text[] =
        "; c\n[gateway]\nlisten =\n  :80 ; x\n  unix:/s\n[log]\nlevel = info\n[app:a]\n"
        "module = m:a\npath = /a\n  /b\nenv = A=1\n# end\n[app:b]\nmodule = n\n";
    unsigned loaded = 0;
    for (size_t len = 0; len < sizeof(text); len++) {
        int result = load_bytes(text, len);
        assert_true(result == 0 || strncmp(fx.error.text, "x.ini:", 6) == 0);
        loaded += result == 0;
    }
    assert_true(loaded > 10);
    assert_int_equal(fx.conf->app_count, 2);
}

static void test_include(void **state)
{
    (void)state;
    write_file("gateway.ini", "[gateway]\ninclude = conf.d/*.ini\nbacklog = 7\n[app]\nworkers = 2\n");
    write_file("conf.d/a.ini", "[app:a]\nmodule = m\n[log]\naccess = a.log\n");
    write_file("conf.d/b.ini", "[app:b]\nmodule = m\npath = /b\n[gateway]\ninclude = deep/c.ini\n");
    write_file("conf.d/deep/c.ini", "[app:c]\nmodule = m\npath = /c\n");
    assert_loads(load(NULL, NULL));
    assert_int_equal(fx.conf->app_count, 3);
    assert_int_equal(fx.conf->backlog, 7);
    assert_string_equal(fx.conf->access, in_dir("conf.d/a.log"));
    assert_string_equal(fx.conf->apps[1].name, "b");
    assert_string_equal(fx.conf->apps[1].directory, in_dir("conf.d"));
    assert_int_equal(fx.conf->apps[2].workers, 2);
    assert_string_equal(fx.conf->apps[2].directory, in_dir("conf.d/deep"));
}

static void test_include_errors(void **state)
{
    (void)state;
    write_file("conf.d/deep/c.ini", "[app:c]\nmodule = m\nidle_timeout = 60x\n");
    assert_fails(
        load(NULL, NULL),
        "conf.d/deep/c.ini:3: [app:c] idle_timeout: \"60x\" is not a time in ms, s, m or h (try 60s)");
    write_file("conf.d/deep/c.ini", "[app:c]\nmodule = m\npath = /b\n");
    assert_fails(load(NULL, NULL),
                 "conf.d/deep/c.ini:3: [app:c] path: \"/b\" leads to [app:b] already (conf.d/b.ini:3)");
    write_file("conf.d/deep/c.ini", "[log]\naccess = off\n");
    assert_fails(load(NULL, NULL), "conf.d/deep/c.ini:2: [log] access: set twice (first in conf.d/a.ini:4)");
    write_file("conf.d/deep/c.ini", "[gateway]\ninclude = ../../gateway.ini\n");
    assert_fails(load(NULL, NULL), "conf.d/deep/c.ini:2: [gateway] include: cannot read "
                                   "\"conf.d/deep/../../gateway.ini\": includes itself");
    write_file("gateway.ini", "[gateway]\ninclude = nowhere.ini\n");
    assert_fails(load(NULL, NULL),
                 "gateway.ini:2: [gateway] include: cannot read \"nowhere.ini\": No such file or directory");
    write_file("gateway.ini", "[gateway]\ninclude = conf.d\n");
    assert_fails(load(NULL, NULL),
                 "gateway.ini:2: [gateway] include: cannot read \"conf.d\": is a directory");
    assert_loads(load_text("[gateway]\ninclude = none.d/*.ini\n" APP_FILE));
}

static void test_include_depth(void **state)
{
    (void)state;
    char name[32];
    char text[64];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof(name), "d%d.ini", i);
        (void)snprintf(text, sizeof(text), "[gateway]\ninclude = d%d.ini\n", i + 1);
        write_file(name, text);
    }
    write_file("d8.ini", APP_FILE);
    assert_loads(load(ARGS("-c", "d0.ini"), NULL));
    write_file("d8.ini", "[gateway]\ninclude = d9.ini\n");
    assert_fails(load(ARGS("-c", "d0.ini"), NULL), "d8.ini:2: [gateway] include: more than 8 levels");
}

static void write_thousand_apps(const char *end)
{
    FILE *file = fopen(in_dir("gateway.ini"), "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) {
        assert_true(
            fprintf(file,
                    "[app:hello%d]\npath = /hello%d\nmodule = hello%d:application\ndirectory = apps/%d\n", i,
                    i, i, i) > 0);
    }
    assert_int_not_equal(fputs(end, file), EOF);
    assert_int_equal(fclose(file), 0);
}

static void test_thousand_apps(void **state)
{
    (void)state;
    write_thousand_apps("");
    assert_loads(load(NULL, NULL));
    assert_int_equal(fx.conf->app_count, 1000);
    assert_string_equal(fx.conf->apps[999].module, "hello999:application");
    assert_in_range(sizeof(struct conf_app), 1, 512);
    assert_in_range(conf_memory(fx.conf), 1000 * sizeof(struct conf_app), 640 * 1024);
}

/* Pages of this process now. */
static long mapped_pages(void)
{
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &pages), 1);
    assert_int_equal(fclose(file), 0);
    return pages;
}

/* No leak checker sees mapped memory. 1,000 apps left behind are 96 pages, and 40 times that is more than
 * what a checker's quarantine of freed memory adds. */
static void test_gives_all_back(void **state)
{
    (void)state;
    write_thousand_apps("");
    assert_loads(load(NULL, NULL));
    long before = mapped_pages();
    for (int i = 0; i < 20; i++) {
        write_thousand_apps("");
        assert_loads(load(NULL, NULL));
        write_thousand_apps("[app:hello7]\nmodule = m\n");
        assert_int_equal(load(NULL, NULL), -1);
    }
    assert_true(mapped_pages() - before < 40 * 96 * 3 / 4);
}

static void test_small(void **state)
{
    (void)state;
    assert_loads(load_text(APP_FILE));
    assert_in_range(conf_memory(fx.conf), sizeof(struct conf), 2048);
    struct conf *second = conf_ref(fx.conf);
    conf_unref(fx.conf);
    assert_string_equal(second->apps[0].name, "hello");
    conf_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static),         cmocka_unit_test(test_paths),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_strange_bytes),  cmocka_unit_test(test_every_end),
        cmocka_unit_test(test_include),        cmocka_unit_test(test_include_errors),
        cmocka_unit_test(test_include_depth),  cmocka_unit_test(test_thousand_apps),
        cmocka_unit_test(test_gives_all_back), cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
