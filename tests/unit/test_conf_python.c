/* test_conf_python.c - which interpreter an app gets, and what the banner calls it. */
#include "conf_fixture.h"

static char path[4096];
static char label[128];

static void make_executable(const char *name)
{
    write_file(name, "#!/bin/sh\n");
    assert_int_equal(chmod(in_dir(name), 0700), 0);
}

static void make_venv(const char *name, const char *config)
{
    char file[128];
    (void)snprintf(file, sizeof(file), "%s/bin/python", name);
    make_executable(file);
    (void)snprintf(file, sizeof(file), "%s/pyvenv.cfg", name);
    write_file(file, config);
}

/* The interpreter of the only app there is. */
static int python(const char *const *args, const char *const *environment)
{
    assert_loads(load(args, environment));
    memset(path, 0, sizeof(path));
    memset(label, 0, sizeof(label));
    return conf_python(fx.conf, &fx.conf->apps[0], path, label, &fx.error);
}

static void assert_python(int result, const char *expected, const char *expected_label)
{
    if (result != 0) {
        fail_msg("%s", fx.error.text);
    }
    assert_string_equal(path, in_dir(expected));
    assert_string_equal(label, expected_label);
}

static const char *path_variable(void)
{
    static char variable[128];
    (void)snprintf(variable, sizeof(variable), "PATH=relative:%s:%s", in_dir("none"), in_dir("bin"));
    return variable;
}

static const char *virtual_env(const char *name)
{
    static char variable[128];
    (void)snprintf(variable, sizeof(variable), "VIRTUAL_ENV=%s", in_dir(name));
    return variable;
}

static int begin(void **state)
{
    if (fixture_begin(state) != 0) {
        return -1;
    }
    make_executable("bin/python3.12");
    make_executable("bin/pypy");
    make_executable("relative/python3");
    write_file("bin/readme", "");
    return symlink("python3.12", in_dir("bin/python3"));
}

/* From the last resort to the first choice. */
static void test_auto(void **state)
{
    (void)state;
    write_file("gateway.ini", "[app:a]\nmodule = m\ndirectory = src\n");
    assert_python(python(NULL, ARGS(path_variable())), "bin/python3", "python 3.12");
    make_venv("active", "home = /usr\nversion = 3.10.1\n");
    assert_python(python(NULL, ARGS(path_variable(), virtual_env("active"))), "active/bin/python",
                  "active python 3.10");
    make_venv("src/venv", "version_info = 3.9.2.final.0\n");
    assert_python(python(NULL, ARGS(path_variable(), virtual_env("active"))), "src/venv/bin/python",
                  "venv python 3.9");
    make_venv("src/.venv", "home = /x\n");
    assert_python(python(NULL, ARGS(path_variable(), virtual_env("active"))), "src/.venv/bin/python",
                  ".venv python");
    write_file("src/.venv/pyvenv.cfg", "version = 3.11.2\n");
    assert_python(python(NULL, ARGS(path_variable())), "src/.venv/bin/python", ".venv python 3.11");
    assert_python(python(ARGS("m", "--app-dir=src"), ARGS(virtual_env("active"))), "active/bin/python",
                  "active python 3.10");
    assert_python(python(ARGS("m", "--app-dir=src"), NULL), "src/.venv/bin/python", ".venv python 3.11");
}

static void test_named(void **state)
{
    (void)state;
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = ../active\ndirectory = src\n");
    assert_python(python(NULL, NULL), "src/../active/bin/python", "active python 3.10");
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = active/bin/python\n");
    assert_python(python(NULL, NULL), "active/bin/python", "active python 3.10");
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = active\n");
    assert_python(python(NULL, NULL), "active/bin/python", "active python 3.10");
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = pypy\n");
    assert_python(python(NULL, ARGS(path_variable())), "bin/pypy", "pypy");
    assert_python(python(ARGS("m", "--app-dir", "src", "--python", "active"), NULL), "active/bin/python",
                  "active python 3.10");
    assert_python(python(ARGS("m", "--app-dir", "src", "--python", "python3.12"), ARGS(path_variable())),
                  "bin/python3.12", "python 3.12");
    assert_python(python(ARGS("m", "--app-dir", "src", "--python", "./bin/pypy"), NULL), "bin/pypy", "pypy");
}

static void assert_no_python(int result, const char *format)
{
    char expected[1024];
    (void)snprintf(expected, sizeof(expected), "a: %s", format);
    assert_int_equal(result, -1);
    assert_string_equal(fx.error.text, expected);
}

static void test_errors(void **state)
{
    (void)state;
    char expected[1000];
    write_file("gateway.ini", "[app:a]\nmodule = m\ndirectory = empty\n");
    (void)snprintf(
        expected, sizeof(expected),
        "no Python for python = auto, tried %s/bin/python (No such file or directory), %s/bin/python (No "
        "such file or directory), $VIRTUAL_ENV (not set), python3 on $PATH",
        in_dir("empty/.venv"), in_dir("empty/venv"));
    assert_no_python(python(NULL, ARGS("PATH=/nowhere")), expected);
    write_file("empty/.venv/pyvenv.cfg", "version = 3.11.2\n");
    (void)snprintf(expected, sizeof(expected),
                   "no Python for python = auto, tried %s/bin/python (No such file or directory)",
                   in_dir("empty/.venv"));
    assert_no_python(python(NULL, ARGS(path_variable())), expected);
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = bin/nope\n");
    (void)snprintf(expected, sizeof(expected),
                   "no Python for python = bin/nope, tried %s (No such file or directory)",
                   in_dir("bin/nope"));
    assert_no_python(python(NULL, ARGS(path_variable())), expected);
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = bin/readme\n");
    (void)snprintf(expected, sizeof(expected),
                   "no Python for python = bin/readme, tried %s (Permission denied)", in_dir("bin/readme"));
    assert_no_python(python(NULL, ARGS(path_variable())), expected);
    write_file("gateway.ini", "[app:a]\nmodule = m\npython = python9\n");
    assert_no_python(python(NULL, ARGS(path_variable())),
                     "no Python for python = python9, tried python9 on $PATH");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_named),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, begin, fixture_end);
}
