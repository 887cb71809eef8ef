/* test_conf_kind.c - kinds of apps: which keys they need and take, what they complete, APP on the command
 * line. */
#include "conf_fixture.h"

static const struct conf_app *load_app(const char *text)
{
    assert_loads(load_text(text));
    return &fx.conf->apps[0];
}

/* ---- each kind ---- */

static void test_defaults(void **state)
{
    (void)state;
    const struct conf_app *app = load_app(APP_FILE);
    assert_int_equal(app->kind, CONF_KIND_AUTO);
    assert_int_equal(app->mode, CONF_MODE_AUTO);
    assert_int_equal(app->lifespan, CONF_LIFESPAN_AUTO);
    assert_int_equal(app->concurrency, CONF_AUTO);
    assert_int_equal(app->max_requests, CONF_OFF);
    assert_false(app->reload);
    assert_list(&app->preload, "");
}

static void test_all_keys(void **state)
{
    (void)state;
    const struct conf_app *app =
        load_app("[app:a]\nkind = asgi\nmodule = m\nmode = fork\npreload = json os.path\nconcurrency = 8\n"
                 "lifespan = off\nreload = on\nmax_requests = 1\n");
    assert_int_equal(app->kind, CONF_KIND_ASGI);
    assert_int_equal(app->mode, CONF_MODE_FORK);
    assert_list(&app->preload, "json os.path");
    assert_int_equal(app->concurrency, 8);
    assert_int_equal(app->lifespan, CONF_LIFESPAN_OFF);
    assert_true(app->reload);
    assert_int_equal(app->max_requests, 1);
}

/* Paths start from the app's directory. */
static void test_cgi(void **state)
{
    (void)state;
    const struct conf_app *app = load_app("[app:a]\nscript = cgi-bin/x.py\ndirectory = d\n");
    assert_int_equal(app->kind, CONF_KIND_CGI);
    assert_string_equal(app->script, in_dir("d/cgi-bin/x.py"));
    assert_string_equal(load_app("[app:a]\nkind = cgi\nscript = /x/./y.cgi\n")->script, "/x/y.cgi");
}

static void test_files(void **state)
{
    (void)state;
    const struct conf_app *app = load_app("[app:a]\nroot = public\nindex = index.py index.html\n"
                                          "extensions = .py .cgi\n");
    assert_int_equal(app->kind, CONF_KIND_FILES);
    assert_string_equal(app->root, in_dir("public"));
    assert_list(&app->index, "index.py index.html");
    assert_list(&app->extensions, ".py .cgi");
    app = load_app("[app:a]\nroot = public\n");
    assert_list(&app->index, "index.py");
    assert_list(&app->extensions, ".py");
    assert_string_equal(load_app("[app:a]\nkind = files\ndirectory = d\n")->root, in_dir("d"));
    assert_string_equal(load_app("[app]\ndirectory = d\n[app:a]\nkind = files\n")->root, in_dir("d"));
    assert_list(&load_app("[app:a]\nroot = public\nindex =\n")->index, "");
}

static void test_fastcgi(void **state)
{
    (void)state;
    const struct conf_app *app = load_app("[app:a]\naddress = unix:/run/php.sock\n");
    assert_int_equal(app->kind, CONF_KIND_FASTCGI);
    assert_string_equal(app->address, "unix:/run/php.sock");
    app = load_app("[app:a]\ncommand = php-cgi  -c /etc/php.ini\n");
    assert_int_equal(app->kind, CONF_KIND_FASTCGI);
    assert_list(&app->command_words, "php-cgi -c /etc/php.ini");
    assert_string_equal(load_app("[app:a]\naddress = [::1]:9000\n")->address, "[::1]:9000");
    assert_string_equal(load_app("[app:a]\naddress = localhost:9000\n")->address, "localhost:9000");
}

/* A server that is told a file's name runs what it finds there: .php unless the app or [app] says otherwise.
 */
static void test_fastcgi_extensions(void **state)
{
    (void)state;
    const struct conf_app *app = load_app("[app:a]\naddress = unix:/s\nscript_filename = /srv$path\n");
    assert_list(&app->extensions, ".php");
    assert_list(&app->index, "index.php");
    app = load_app("[app:a]\naddress = unix:/s\nscript_filename = /srv$path\nextensions = .pl\nindex =\n");
    assert_list(&app->extensions, ".pl");
    assert_list(&app->index, "");
    app = load_app("[app]\nextensions = .x\n[app:a]\naddress = unix:/s\nscript_filename = /srv$path\n");
    assert_list(&app->extensions, ".x");
}

/* Where scripts lie, as it is told to them. */
static void test_document_root(void **state)
{
    (void)state;
    const struct conf_app *app = load_app("[app:a]\nroot = public\n");
    assert_string_equal(app->document_root, in_dir("public"));
    assert_string_equal(app->script_tail, "");
    assert_string_equal(app->root_files.directory, in_dir("public"));
    assert_string_equal(load_app("[app:a]\nroot = /\n")->document_root, "");
    app = load_app("[app:a]\naddress = unix:/s\nscript_filename = /srv//$path.x\n");
    assert_string_equal(app->document_root, "/srv");
    assert_string_equal(app->script_tail, ".x");
    app = load_app("[app:a]\naddress = unix:/s\nscript_filename = /srv/front.php\n");
    assert_string_equal(app->document_root, "/srv");
    assert_null(app->script_tail);
    assert_string_equal(load_app("[app:a]\nscript = x.py\n")->document_root, in_dir(""));
    app = load_app("[app:a]\nmodule = x.py\n");
    assert_string_equal(app->script, in_dir("x.py"));
    assert_null(app->document_root);
    assert_string_equal(load_app("[app:a]\nmodule = x.py:app\n")->script, "");
}

/* ---- which of them ---- */

/* What an app has written itself goes before what it inherits. */
static void test_which(void **state)
{
    (void)state;
    assert_loads(
        load_text("[app]\nroot = shared\n[app:a]\nmodule = m\n[app:b]\npath = /b\n[app:c]\npath = /c\n"
                  "script = x.py\n"));
    assert_int_equal(fx.conf->apps[0].kind, CONF_KIND_AUTO);
    assert_int_equal(fx.conf->apps[1].kind, CONF_KIND_FILES);
    assert_int_equal(fx.conf->apps[2].kind, CONF_KIND_CGI);
    assert_string_equal(fx.conf->apps[0].root, "");
    assert_string_equal(fx.conf->apps[2].root, "");
}

/* What [app] says to others does not reach an app: a list no more than a text. */
static void test_inherited_by_others(void **state)
{
    (void)state;
    assert_loads(load_text("[app]\nignore_idle = /ping\nenv = A=1\npreload = json\nextensions = .x\n"
                           "mode = fork\n"
                           "[app:a]\nmodule = m\n[app:b]\npath = /b\naddress = unix:/s\n"));
    assert_list(&fx.conf->apps[0].ignore_idle, "/ping");
    assert_list(&fx.conf->apps[0].env, "A=1");
    assert_list(&fx.conf->apps[0].preload, "json");
    assert_list(&fx.conf->apps[0].extensions, "");
    assert_list(&fx.conf->apps[1].ignore_idle, "");
    assert_list(&fx.conf->apps[1].env, "");
    assert_list(&fx.conf->apps[1].preload, "");
    assert_list(&fx.conf->apps[1].extensions, ".x");
}

/* clang-format off */
static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[app:a]\n", "gateway.ini:1: [app:a] module: needs a value (module = main:app)"},
        {"[app:a]\nkind = wsgi\n", "gateway.ini:1: [app:a] module: needs a value (module = main:app)"},
        {"[app:a]\nkind = cgi\n", "gateway.ini:1: [app:a] script: needs a value (script = hello.py)"},
        {"[app:a]\nkind = files\n", "gateway.ini:1: [app:a] root: needs a value (root = public)"},
        {"[app:a]\nkind = fastcgi\n",
         "gateway.ini:1: [app:a] address: needs a value (address = unix:/run/php/php-fpm.sock, or a command)"},
        {"[app:a]\ncommand = x\naddress = unix:/s\n",
         "gateway.ini:2: [app:a] command: there is an address, too: a server is either started or runs already"},
        {"[app:a]\nmodule = m\nroot = r\n",
         "gateway.ini:3: [app:a] root: there is a module, too: keep one, or say with kind which is meant"},
        {"[app:a]\nkind = wsgi\nmodule = m\nroot = r\n", "gateway.ini:4: [app:a] root: is for kind = files"},
        {"[app:a]\nkind = cgi\nmodule = m\n",
         "gateway.ini:3: [app:a] module: is for kind = auto, wsgi or asgi"},
        {"[app:a]\nkind = wsgi\nmodule = m\nlifespan = on\n",
         "gateway.ini:4: [app:a] lifespan: is for kind = auto, asgi or files"},
        {"[app:a]\nmodule = m\nextensions = .x\n",
         "gateway.ini:3: [app:a] extensions: is for kind = files or fastcgi"},
        {"[app:a]\ncommand = x\nreload = on\n",
         "gateway.ini:3: [app:a] reload: is for Python, and kind = fastcgi runs something else"},
        {"[app:a]\naddress = unix:/s\nworkers = 2\n",
         "gateway.ini:3: [app:a] workers: is for a process that leangate starts, and the one at `address` runs "
         "already"},
        {"[app:a]\nmodule = m\nmode = persistent\npreload = json\n",
         "gateway.ini:4: [app:a] preload: is for mode = fork: a persistent worker imports what its app does"},
        {"[app:a]\nmodule = m\npreload = json\n",
         "gateway.ini:3: [app:a] preload: is for mode = fork: a persistent worker imports what its app does"},
        {"[app:a]\nkind = asgi\nmodule = m\npreload = json\n",
         "gateway.ini:4: [app:a] preload: is for mode = fork: a persistent worker imports what its app does"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_fails(load_text(rows[i][0]), rows[i][1]);
}

static void test_values_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"index = a/b", "index: \"a/b\" is not a plain file name (index.py)"},
        {"index = .htaccess", "index: \".htaccess\" is not a plain file name (index.py)"},
        {"extensions = py", "extensions: \"py\" has no dot (try .py)"},
        {"extensions = .", "extensions: \".\" is not an extension (.py)"},
        {"extensions = .p/y", "extensions: \".p/y\" is not an extension (.py)"},
        {"address = /run/x", "address: \"/run/x\" is not an address (unix:/path, 127.0.0.1:9000 or [::1]:9000)"},
        {"address = unix:x", "address: \"unix:x\" needs an absolute path (unix:/path)"},
        {"address = 127.0.0.1:0", "address: \"127.0.0.1:0\": \"0\" is not a port (1 to 65535)"},
        {"address = 127.0.0.1:70000", "address: \"127.0.0.1:70000\": \"70000\" is not a port (1 to 65535)"},
        {"address = 127.1:9000",
         "address: \"127.1:9000\": names are not looked up: give 127.1 by its address, or unix:/path"},
        {"address = php:9000",
         "address: \"php:9000\": names are not looked up: give php by its address, or unix:/path"},
        {"command = sh -c \"x\"", "command: no shell reads it: a program and its arguments with blanks between "
                                  "(what needs more goes into a script)"},
        {"script_filename = srv$path",
         "script_filename: \"srv$path\" is not an absolute path (/srv/www$path)"},
        {"script_filename = /srv$file",
         "script_filename: \"/srv$file\": there is $path, once, and no other variable"},
        {"script_filename = /srv$path$path",
         "script_filename: \"/srv$path$path\": there is $path, once, and no other variable"},
        {"preload = a-b", "preload: \"a-b\" is not the name of a module"},
        {"concurrency = off", "concurrency: cannot be off (try auto)"},
        {"concurrency = 0", "concurrency: \"0\" is too small (1 is the least)"},
        {"max_requests = 0", "max_requests: \"0\" is too small (1 is the least)"},
        {"mode = thread", "mode: \"thread\" is not one of auto, persistent, fork"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256], expected[256];
        (void)snprintf(text, sizeof(text), "[app]\n%s\n", rows[i][0]);
        (void)snprintf(expected, sizeof(expected), "gateway.ini:2: [app] %s", rows[i][1]);
        assert_fails(load_text(text), expected);
    }
}

/* clang-format on */

/* ---- the command line ---- */

static void test_arguments(void **state)
{
    (void)state;
    write_file("public/index.py", "");
    assert_loads(load(ARGS("public/"), NULL));
    assert_int_equal(fx.conf->apps[0].kind, CONF_KIND_FILES);
    assert_string_equal(fx.conf->apps[0].root, in_dir("public"));
    assert_string_equal(fx.conf->apps[0].name, "public");
    assert_string_equal(fx.conf->apps[0].directory, in_dir(""));
    assert_loads(load(ARGS("."), NULL));
    assert_string_equal(fx.conf->apps[0].root, in_dir(""));
    assert_loads(load(ARGS("/"), NULL));
    assert_string_equal(fx.conf->apps[0].name, "root");
    assert_loads(load(ARGS("public/index.py"), NULL));
    assert_int_equal(fx.conf->apps[0].kind, CONF_KIND_AUTO);
    assert_string_equal(fx.conf->apps[0].module, "public/index.py");
    assert_loads(load(ARGS("--kind", "cgi", "public/index.py"), NULL));
    assert_int_equal(fx.conf->apps[0].kind, CONF_KIND_CGI);
    assert_string_equal(fx.conf->apps[0].script, in_dir("public/index.py"));
    assert_string_equal(fx.conf->apps[0].name, "index");
    assert_loads(load(ARGS("--kind=asgi", "main:app"), NULL));
    assert_int_equal(fx.conf->apps[0].kind, CONF_KIND_ASGI);
    assert_loads(load(ARGS("main:app", "--threads", "3", "--limit-max-requests=5"), NULL));
    assert_int_equal(fx.conf->apps[0].concurrency, 3);
    assert_int_equal(fx.conf->apps[0].max_requests, 5);
}

static void test_arguments_refused(void **state)
{
    (void)state;
    write_file("public/index.py", "");
    assert_fails(load(ARGS("public/", "--kind", "wsgi"), NULL),
                 "\"public/\" is not module:attribute, module or file.py:attribute");
    assert_fails(load(ARGS("main:app", "--kind", "files"), NULL),
                 "\"main:app\" is not a directory, which kind = files needs");
    assert_fails(
        load(ARGS("main:app", "--kind", "fastcgi"), NULL),
        "\"main:app\": an app with kind = fastcgi has a section in a file, with its address or command");
    assert_fails(load(ARGS("main:app", "--extensions", ".x"), NULL),
                 "[app:main] extensions: is for kind = files or fastcgi");
}

static void test_dev(void **state)
{
    (void)state;
    assert_loads(load(ARGS("main:app", "--dev"), ARGS("PORT=5000")));
    assert_true(fx.conf->apps[0].reload && fx.conf->apps[0].debug);
    assert_list(&fx.conf->listen, "127.0.0.1:5000");
    assert_loads(load(ARGS("main:app", "--dev", "--uds", "/s"), NULL));
    assert_fails(load(ARGS("main:app", "--dev=1"), NULL), "--dev: takes no value");
    static const char *const open[] = {":8000", "0.0.0.0:8000", "systemd"};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        char expected[200];
        (void)snprintf(expected, sizeof(expected),
                       "--listen: \"%s\" is not on this machine alone, and --dev shows tracebacks (try "
                       "127.0.0.1:8000)",
                       open[i]);
        assert_fails(load(ARGS("main:app", "--dev", "--listen", open[i]), NULL), expected);
    }
}

/* -T shows what means something for the kind, and it loads again. */
static void test_dump(void **state)
{
    (void)state;
    write_file("gateway.ini",
               "[app:a]\nroot = r\n[app:b]\npath = /b\ncommand = php-cgi -x\nscript_filename = /srv$path\n");
    assert_loads(load(ARGS("-T"), NULL));
    assert_non_null(strstr(fx.dumped, "\nkind = files                        ; gateway.ini:2\n"));
    assert_non_null(strstr(fx.dumped, "\nextensions = .php "));
    assert_null(strstr(fx.dumped, "\naddress = unix"));
    char *text = strdup(fx.dumped);
    assert_non_null(text);
    write_file("again.ini", text);
    free(text);
    assert_loads(load(ARGS("-c", "again.ini"), NULL));
    assert_list(&fx.conf->apps[1].extensions, ".php");
    assert_list(&fx.conf->apps[1].command_words, "php-cgi -x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_cgi),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_fastcgi),
        cmocka_unit_test(test_fastcgi_extensions),
        cmocka_unit_test(test_document_root),
        cmocka_unit_test(test_which),
        cmocka_unit_test(test_inherited_by_others),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_values_refused),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_arguments_refused),
        cmocka_unit_test(test_dev),
        cmocka_unit_test(test_dump),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
