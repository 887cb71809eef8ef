/* test_conf_layers.c - who wins: flags, variables, files, defaults; what the command line understands. */
#include "conf_fixture.h"

#include "table.h"

static const struct conf_app *app(const char *name)
{
    for (uint32_t i = 0; i < fx.conf->app_count; i++) {
        if (strcmp(fx.conf->apps[i].name, name) == 0) {
            return &fx.conf->apps[i];
        }
    }
    fail_msg("no app %s", name);
    return NULL;
}

/* Every subset of the layers that can set a key, for a key of [gateway] and one of [app]. */
static void test_precedence(void **state)
{
    (void)state;
    for (unsigned set = 0; set < 16; set++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "%s%s[app:a]\nmodule = m\n%s[app:b]\nmodule = m\npath = /b\n",
                       (set & 1) != 0 ? "[gateway]\nbacklog = 11\n" : "",
                       (set & 1) != 0 ? "[app]\nqueue = 11\n" : "", (set & 8) != 0 ? "queue = 14\n" : "");
        write_file("gateway.ini", text);
        const char *env[] = {(set & 2) != 0 ? "LEANGATE_BACKLOG=12" : "A=1",
                             (set & 2) != 0 ? "LEANGATE_QUEUE=12" : "B=1", NULL};
        const char *args[] = {"--backlog=13", "--queue", "13", NULL};
        assert_loads(load((set & 4) != 0 ? args : NULL, env));
        int best = (set & 4) != 0 ? 13 : (set & 2) != 0 ? 12 : (set & 1) != 0 ? 11 : 0;
        assert_int_equal(fx.conf->backlog, best != 0 ? best : 511);
        assert_int_equal(app("b")->queue, best != 0 ? best : 256);
        assert_int_equal(app("a")->queue, (set & 8) != 0 ? 14 : best != 0 ? best : 256);
    }
}

static void test_lists_replace(void **state)
{
    (void)state;
    write_file("gateway.ini", "[gateway]\nlisten = :1\n[app]\nenv = A=1\n[app:a]\nmodule = m\n");
    assert_loads(load(NULL, ARGS("LEANGATE_LISTEN=:2 :3", "LEANGATE_ENV=B=x y\nC=z")));
    assert_list(&fx.conf->listen, ":2 :3");
    assert_int_equal(app("a")->env.count, 2);
    assert_string_equal(app("a")->env.items[0], "B=x y");
    assert_loads(load(ARGS("-b", ":4", "--listen=:5", "-b:6", "--env", "D=x y", "-e", "E="),
                      ARGS("LEANGATE_LISTEN=:2")));
    assert_list(&fx.conf->listen, ":4 :5 :6");
    assert_int_equal(app("a")->env.count, 2);
    assert_string_equal(app("a")->env.items[0], "D=x y");
}

/* Every row answers to its flag and its variable; a bad value is reported by that name. */
static void test_every_name(void **state)
{
    (void)state;
    write_file("gateway.ini", APP_FILE);
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        char flag[TABLE_NAME];
        char variable[TABLE_NAME + 8];
        table_flag(row, flag);
        table_variable(row, variable);
        assert_ptr_equal(table_find_flag(flag), row);
        assert_ptr_equal(table_find_variable(variable), row);
        assert_ptr_equal(table_find(row->section, row->key), row);
        assert_true(row->section != TABLE_APP || table_app_index(row) < TABLE_APP_MAX);
        assert_true(row->section == TABLE_APP || i == 0 || table_rows[i - 1].section != TABLE_APP);
        if (row->type == TABLE_TEXT || row->type == TABLE_LIST) {
            continue;
        }
        char error[128];
        (void)snprintf(error, sizeof(error), "%s=?", flag);
        assert_int_equal(load(ARGS(error), NULL), -1);
        (void)snprintf(error, sizeof(error), "%s: \"?\" is not ", flag);
        assert_int_equal(strncmp(fx.error.text, error, strlen(error)), 0);
        (void)snprintf(error, sizeof(error), "%s: \"?\" is not ", variable);
        strncat(variable, "=?", 3);
        assert_int_equal(load(NULL, ARGS(variable)), -1);
        assert_int_equal(strncmp(fx.error.text, error, strlen(error)), 0);
    }
}

static void test_variables(void **state)
{
    (void)state;
    write_file("gateway.ini", APP_FILE);
    assert_loads(
        load(NULL, ARGS("LEANGATE_IDLE_TIMOUT=5s", "LEANGATE_WIBBLE=1", "LEANGATE_WORKERS=", "LEANGATE=1",
                        "LEANGATE_LOG_FORMAT=json", "XLEANGATE_QUEUE=1", "LEANGATE_QUEUE")));
    assert_string_equal(fx.warned,
                        "unknown variable LEANGATE_IDLE_TIMOUT, did you mean LEANGATE_IDLE_TIMEOUT?\n"
                        "unknown variable LEANGATE_WIBBLE\n");
    assert_int_equal(fx.conf->log_format, CONF_FORMAT_JSON);
    assert_int_equal(app("hello")->workers, 1);
    assert_fails(load(NULL, ARGS("LEANGATE_IDLE_TIMEOUT=60x")),
                 "LEANGATE_IDLE_TIMEOUT: \"60x\" is not a time in ms, s, m or h (try 60s)");
}

static void test_port(void **state)
{
    (void)state;
    static const struct {
        const char *listen; /* in the file */
        const char *flag;
        const char *effect;
    } rows[] = {
        {NULL,                             NULL,             "0.0.0.0:5000"           },
        {"127.0.0.1:8000",                 NULL,             "0.0.0.0:5000"           },
        {"localhost:1 unix:/s",            NULL,             "0.0.0.0:5000 unix:/s"   },
        {"unix:/s [::1]:9 127.9.9.9:9 :7", NULL,             "unix:/s 0.0.0.0:5000 :7"},
        {"[0::1]:9",                       NULL,             "0.0.0.0:5000"           },
        {":8000",                          NULL,             ":8000"                  },
        {"10.0.0.1:8000",                  NULL,             "10.0.0.1:8000"          },
        {"127.0.0.1:8000",                 "127.0.0.1:9000", "127.0.0.1:9000"         },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "[gateway]%s%s\n" APP_FILE,
                       rows[i].listen != NULL ? "\nlisten = " : "",
                       rows[i].listen != NULL ? rows[i].listen : "");
        write_file("gateway.ini", text);
        assert_loads(load(rows[i].flag != NULL ? ARGS("--bind", rows[i].flag) : NULL, ARGS("PORT=5000")));
        assert_list(&fx.conf->listen, rows[i].effect);
    }
    write_file("gateway.ini", APP_FILE);
    assert_fails(load(NULL, ARGS("PORT=http")), "$PORT: \"http\" is not a port (0 to 65535)");
    assert_loads(load(ARGS("-b", ":1"), ARGS("PORT=http")));
    assert_loads(load(NULL, ARGS("PORT=5000", "LEANGATE_LISTEN=127.0.0.1:1")));
    assert_list(&fx.conf->listen, "127.0.0.1:1");
    assert_loads(load(NULL, ARGS("PORT=")));
    assert_list(&fx.conf->listen, "127.0.0.1:8000");
}

static void test_app_argument(void **state)
{
    (void)state;
    write_file("gateway.ini", "this is not read");
    static const char *const names[][2] = {
        {"main:app",                "main"    },
        {"app",                     "app"     },
        {"mysite.wsgi:application", "wsgi"    },
        {"src/shop app.py",         "shop-app"},
        {"./main.py:app",           "main"    },
        {"gr\xc3\xbc.n\xc3\xbc:a",  "n--"     },
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_loads(load(ARGS(names[i][0]), NULL));
        assert_int_equal(fx.conf->app_count, 1);
        assert_string_equal(fx.conf->file, "");
        const struct conf_app *one = app(names[i][1]);
        assert_string_equal(one->module, names[i][0]);
        assert_string_equal(one->directory, fx.dir);
        assert_int_equal(one->start, CONF_START_CHECK);
        assert_list(&one->path, "/");
    }
    assert_loads(load(ARGS("main:app", "--start=lazy", "--app-dir", "sub/x"), NULL));
    assert_int_equal(app("main")->start, CONF_START_LAZY);
    assert_string_equal(app("main")->directory, in_dir("sub/x"));
    assert_loads(load(ARGS("sub/main.py:app", "--directory", "/srv"), NULL));
    assert_string_equal(app("main")->module, in_dir("sub/main.py:app"));
}

static void test_app_argument_with_file(void **state)
{
    (void)state;
    write_file("sub/x.ini", "[app]\nworkers = 2\n[app:other]\nmodule = m\npath = /other\n");
    assert_loads(load(ARGS("main:app", "-c", "sub/x.ini"), NULL));
    assert_int_equal(fx.conf->app_count, 2);
    assert_int_equal(app("main")->workers, 2);
    assert_string_equal(app("main")->directory, fx.dir);
    assert_string_equal(app("other")->directory, in_dir("sub"));
    assert_fails(load(ARGS("m.other", "-c", "sub/x.ini"), NULL),
                 "[app:other] there is an app of this name already (sub/x.ini:3)");
    write_file("sub/x.ini", APP_FILE);
    assert_fails(load(ARGS("main:app", "-c", "sub/x.ini"), NULL),
                 "[app:main] path: \"/\" leads to [app:hello] already (sub/x.ini:1)");
    write_file("sub/x.ini", "[app]\nstatic =\n  /s a\n  /s b\n");
    assert_fails(load(ARGS("main:app", "-c", "sub/x.ini"), NULL),
                 "sub/x.ini:2: [app:main] static: \"/s\" stands there twice");
}

static void test_usage_errors(void **state)
{
    (void)state;
    write_file("gateway.ini", APP_FILE);
    static const struct {
        const char *args[4];
        const char *error;
    } rows[] = {
        {{"--idle-timout", "5s"},          "unknown option --idle-timout, did you mean --idle-timeout?"                },
        {{"--wibble"},                     "unknown option --wibble (leangate --help lists them)"                      },
        {{"-x"},                           "unknown option -x (leangate --help lists them)"                            },
        {{"--idle-timeout"},               "--idle-timeout: needs a value"                                             },
        {{"--idle-timeout", "--debug"},    "--idle-timeout: needs a value"                                             },
        {{"--idle-timeout", ""},           "--idle-timeout: needs a value (try 60s)"                                   },
        {{"--idle-timeout=60x"},           "--idle-timeout: \"60x\" is not a time in ms, s, m or h (try 60s)"          },
        {{"--bind", "fd:2"},               "--bind: \"fd:2\" is not an inherited descriptor (fd:3 and above)"          },
        {{"--debug=maybe"},                "--debug: \"maybe\" is not on or off"                                       },
        {{"--help=x"},                     "--help: takes no value"                                                    },
        {{"-c", "a", "-c", "b"},           "-c: given twice"                                                           },
        {{"-c", ""},                       "-c: needs a value"                                                         },
        {{"--port", "x"},                  "--port: \"x\" is not a port (0 to 65535)"                                  },
        {{"a:b", "c:d"},                   "\"c:d\": there is an app already, \"a:b\" (more than one stand in a file)" },
        {{"gateway.ini"},                  "\"gateway.ini\" is not an app (try leangate -c gateway.ini)"               },
        {{"a b"},                          "\"a b\" is not module:attribute, module or file.py:attribute"              },
        {{"-"},                            "\"-\" is not module:attribute, module or file.py:attribute"                },
        {{"main:make()"},                  "\"main:make()\" is a call (try main:make with factory = on)"               },
        {{"-k", "gevent"},
         "leangate needs no -k: it has one kind of worker, started when a request needs it"                            },
        {{"--worker-class=x"},
         "leangate needs no --worker-class: it has one kind of worker, started when a request needs it"                },
        {{"wram", "c:d"},                  "\"wram\" is no command, did you mean \"warm\"?"                            },
        {{"profle", "c:d"},                "\"profle\" is no command, did you mean \"profile\"?"                       },
        {{"-D"},                           "leangate has no -D: systemd or a container keeps it running"               },
        {{"--max-requests-jitter", "5"},
         "leangate needs no --max-requests-jitter: a fresh worker is ready before the old one goes"                    },
        {{"--loop", "uvloop"},             "leangate needs no --loop: the event loop is its own"                       },
        {{"--http", "h11"},                "leangate needs no --http: the HTTP parser is its own"                      },
        {{"--ws", "none"},                 "leangate needs no --ws: it serves no websockets"                           },
        {{"--ssl-keyfile", "x"},           "leangate has no --ssl-keyfile: TLS ends in a proxy in front of it"         },
        {{"--ssl-certfile", "x"},          "leangate has no --ssl-certfile: TLS ends in a proxy in front of it"        },
        {{"-x"},                           "unknown option -x (leangate --help lists them)"                            },
        {{"--daemon"},                     "leangate has no --daemon: systemd or a container keeps it running"         },
        {{"--pid", "x"},                   "leangate has no --pid: whoever starts it knows its process"                },
        {{"--proxy-headers"},              "leangate needs no --proxy-headers: --trusted-proxies says whom it believes"},
        {{"--access-logfile", "-"},        "leangate has no --access-logfile: it is --log-access here"                 },
        {{"--no-access-log"},              "leangate has no --no-access-log: it is --log-access off here"              },
        {{"--error-logfile", "-"},         "leangate has no --error-logfile: it is --log-error here"                   },
        {{"--worker-tmp-dir", "/dev/shm"},
         "leangate needs no --worker-tmp-dir: no worker is watched by a file"                                          },
        {{"--reload-dir", "."},
         "leangate needs no --reload-dir: --reload looks at every module that was imported"                            },
        {{"--log-file", "-"},              "leangate has no --log-file: it is --log-error here"                        },
        {{"--preload", "a:b", "-w", "4"},
         "--preload: needs names of modules, and \"a:b\" is an app (gunicorn's is --mode fork here)"                   },
        {{"a:b", "--keep-alive", "0"},     "--keep-alive: \"0s\" is too small (10ms is the least)"                     },
        {{"--check-config"},               "leangate has no --check-config: it is -t here"                             },
        {{"nodir/"},                       "\"nodir/\": there is no such directory"                                    },
        {{"mysite/manage.py"},
         "\"mysite/manage.py\" is Django's command, not an app (try leangate PROJECT.wsgi)"                            },
        {{"--interface", "wsgi"},
         "leangate needs no --interface: it is --kind here, and auto is the default"                                   },
        {{"--fd", "x"},                    "--fd: \"fd:x\" is not an inherited descriptor (fd:3 and above)"            },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_fails(load(ARGS(rows[i].args[0], rows[i].args[1], rows[i].args[2], rows[i].args[3]), NULL),
                     rows[i].error);
    }
}

static void test_other_servers_flags(void **state)
{
    (void)state;
    assert_loads(load(ARGS("main:app", "--host", "0.0.0.0", "--port", "80", "-w", "4", "--timeout", "30",
                           "--root-path", "/x", "--env-file", ".env", "--log-level", "warning", "--factory",
                           "--keep-alive", "5", "--graceful-timeout=7s"),
                      NULL));
    assert_list(&fx.conf->listen, "0.0.0.0:80");
    assert_int_equal(app("main")->workers, 4);
    assert_int_equal(app("main")->request_timeout, 30000);
    assert_string_equal(app("main")->root_path, "/x");
    assert_list(&app("main")->env_file, in_dir(".env"));
    assert_int_equal(fx.conf->log_level, CONF_LOG_WARNING);
    assert_true(app("main")->factory);
    assert_int_equal(fx.conf->keepalive, 5000);
    assert_int_equal(fx.conf->drain, 7000);
    assert_loads(load(ARGS("-w2", "--timeout=0", "--port=9", "--uds", "run/my s", "--", "main:app"), NULL));
    assert_int_equal(app("main")->request_timeout, CONF_OFF);
    assert_int_equal(app("main")->workers, 2);
    assert_int_equal(fx.conf->listen.count, 2);
    assert_string_equal(fx.conf->listen.items[1], "127.0.0.1:9");
    char path[128];
    (void)snprintf(path, sizeof(path), "unix:%s", in_dir("run/my s"));
    assert_string_equal(fx.conf->listen.items[0], path);
    assert_loads(load(ARGS("main:app", "--host", "::1"), NULL));
    assert_list(&fx.conf->listen, "[::1]:8000");
}

/* The router counts in 16 bits: of a longer path it would take the front alone, maybe another app's. */
static void test_a_path_has_a_limit(void **state)
{
    (void)state;
    char path[4096 + 2];
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[4097] = '\0';
    assert_fails(load(ARGS("main:app", "--path", path), NULL), "--path: is longer than 4096 bytes");
    path[4096] = '\0';
    assert_loads(load(ARGS("main:app", "--path", path), NULL));
}

static void test_switches(void **state)
{
    (void)state;
    assert_loads(load(ARGS("--debug", "main:app", "--strip-path=off"), NULL));
    assert_true(app("main")->debug);
    assert_false(app("main")->strip_path);
    assert_loads(load(ARGS("main:app", "--debug", "--debug=no", "--queue=1", "--queue=2"), NULL));
    assert_false(app("main")->debug);
    assert_int_equal(app("main")->queue, 2);
}

static void test_actions(void **state)
{
    (void)state;
    static const struct {
        const char *arg;
        enum conf_action action;
        bool loads;
    } rows[] = {
        {"-t",        CONF_CHECK,   true },
        {"-T",        CONF_DUMP,    true },
        {"-V",        CONF_VERSION, false},
        {"--version", CONF_VERSION, false},
        {"-h",        CONF_HELP,    false},
        {"--help",    CONF_HELP,    false}
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(load(ARGS("main:app", rows[i].arg, rows[i].loads ? NULL : "--wibble"), NULL), 0);
        assert_int_equal(fx.action, rows[i].action);
        assert_int_equal(fx.conf != NULL, rows[i].loads);
        assert_int_equal(strlen(fx.dumped) > 0, rows[i].action == CONF_DUMP);
    }
}

static void test_include_layers(void **state)
{
    (void)state;
    write_file("gateway.ini", "[gateway]\ninclude = a.ini\n");
    write_file("a.ini", "[app:a]\nmodule = m\n");
    write_file("b.ini", "[gateway]\nbacklog = 5\n[app:b]\nmodule = m\n");
    write_file("c.ini", "[app:c]\nmodule = m\n");
    assert_loads(load(NULL, ARGS("LEANGATE_INCLUDE=b.ini", "LEANGATE_BACKLOG=6")));
    assert_int_equal(fx.conf->app_count, 1);
    assert_int_equal(fx.conf->backlog, 6);
    assert_string_equal(app("b")->directory, fx.dir);
    assert_loads(load(ARGS("--include", "c.ini"), ARGS("LEANGATE_INCLUDE=b.ini")));
    assert_int_equal(fx.conf->app_count, 1);
    (void)app("c");
    assert_fails(load(ARGS("--include", "d.ini"), NULL),
                 "--include: cannot read \"d.ini\": No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_lists_replace),
        cmocka_unit_test(test_every_name),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_port),
        cmocka_unit_test(test_app_argument),
        cmocka_unit_test(test_app_argument_with_file),
        cmocka_unit_test(test_usage_errors),
        cmocka_unit_test(test_other_servers_flags),
        cmocka_unit_test(test_a_path_has_a_limit),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_include_layers),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
