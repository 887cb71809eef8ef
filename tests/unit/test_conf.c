/* test_conf.c - what a file may say, and each error in the words that the user reads. */
#include "conf_fixture.h"

#include "guard.h"
#include "load.h"

/* A file and the error that it must give. */
struct refused {
    const char *text;
    const char *error;
};

static void assert_refused(const struct refused *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_fails(load_text(rows[i].text), rows[i].error);
    }
}

#define REFUSED(rows) assert_refused(rows, sizeof(rows) / sizeof((rows)[0]))

static void test_defaults(void **state)
{
    (void)state;
    assert_loads(load_text(APP_FILE));
    const struct conf *conf = fx.conf;
    assert_int_equal(fx.action, CONF_RUN);
    assert_string_equal(conf->file, "gateway.ini");
    assert_list(&conf->listen, "127.0.0.1:8000");
    assert_int_equal(conf->listen_mode, 0660);
    assert_string_equal(conf->user, "");
    assert_false(conf->server_header);
    assert_int_equal(conf->request_line, 8192);
    assert_int_equal(conf->response_spool, 64 << 20);
    assert_int_equal(conf->keepalive, 75000);
    assert_int_equal(conf->log_level, CONF_LOG_INFO);
    assert_string_equal(conf->access, "stdout");
    assert_string_equal(conf->error, "stderr");
    assert_string_equal(conf->request_id, "X-Request-ID");
    assert_int_equal(conf->app_count, 1);
    const struct conf_app *app = conf->apps;
    assert_string_equal(app->name, "hello");
    assert_string_equal(app->module, "hello");
    assert_string_equal(app->directory, fx.dir);
    assert_string_equal(app->python, "auto");
    assert_list(&app->domain, "");
    assert_list(&app->path, "/");
    assert_true(app->strip_path);
    assert_int_equal(app->idle_timeout, 60000);
    assert_int_equal(app->start, CONF_START_LAZY);
    assert_int_equal(app->body_size, 10 << 20);
    assert_int_equal(app->umask, CONF_OFF);
}

static void test_every_type(void **state)
{
    (void)state;
    assert_loads(
        load_text("[gateway]\nlisten_mode = 0600\nserver_header = yes\nuser = www-data\n"
                  "[limits]\nbody_memory = 0\nheader_count = 7\n"
                  "[log]\nlevel = debug\nformat = json\nworker = tagged\nrequest_id = off\naccess = off\n"
                  "[app:a.b-c_9]\nmodule = m.wsgi:application\nidle_timeout = off\nstart = eager\n"
                  "kind = wsgi\nfactory = 1\numask = 022\nbody_size = off\nstrip_path = no\n"));
    assert_int_equal(fx.conf->listen_mode, 0600);
    assert_true(fx.conf->server_header);
    assert_string_equal(fx.conf->user, "www-data");
    assert_int_equal(fx.conf->body_memory, 0);
    assert_int_equal(fx.conf->header_count, 7);
    assert_int_equal(fx.conf->log_level, CONF_LOG_DEBUG);
    assert_int_equal(fx.conf->log_format, CONF_FORMAT_JSON);
    assert_int_equal(fx.conf->worker_output, CONF_WORKER_TAGGED);
    assert_string_equal(fx.conf->request_id, "");
    const struct conf_app *app = fx.conf->apps;
    assert_string_equal(app->name, "a.b-c_9");
    assert_int_equal(app->idle_timeout, CONF_OFF);
    assert_int_equal(app->start, CONF_START_EAGER);
    assert_int_equal(app->kind, CONF_KIND_WSGI);
    assert_true(app->factory);
    assert_false(app->strip_path);
    assert_int_equal(app->umask, 022);
    assert_int_equal(app->body_size, CONF_OFF);
}

static void test_lines(void **state)
{
    (void)state;
    assert_loads(
        load_text("\xef\xbb\xbf; a comment\r\n# another\r\n\r\n[app:hello] ; why\r\n"
                  "module = main:app ; the app\r\nworkers=2\t; two\n;\nroot_path = /a;b\npython: auto"));
    assert_string_equal(fx.conf->apps[0].module, "main:app");
    assert_string_equal(fx.conf->apps[0].root_path, "/a;b");
    assert_int_equal(fx.conf->apps[0].workers, 2);
}

static void test_line_errors(void **state)
{
    (void)state;
    static const struct refused rows[] = {
        {"listen = :80\n",
         "gateway.ini:1: listen: stands before any section: begin with [gateway] or [app:NAME]"                                           },
        {"\n[app:a\n",                                             "gateway.ini:2: \"[app:a\" has no closing ]"                           },
        {"[app:a] x\n",                                            "gateway.ini:1: \"[app:a] x\" has more than a [section]"               },
        {"[gateway]\nlisten\n",                                    "gateway.ini:2: [gateway] \"listen\" is not a \"key = value\" line"    },
        {"[gatway]\n",                                             "gateway.ini:1: [gatway] unknown section, did you mean [gateway]?"     },
        {"[ap:hello]\n",                                           "gateway.ini:1: [ap:hello] unknown section, did you mean [app:hello]?" },
        {"[wibble]\n",                                             "gateway.ini:1: [wibble] unknown section"                              },
        {"[app:]\n",
         "gateway.ini:1: [app:] an app's name has 1 to 64 letters, digits, \"-\", \"_\" and \".\""                                        },
        {"[app:a b]\n",
         "gateway.ini:1: [app:a b] an app's name has 1 to 64 letters, digits, \"-\", \"_\" and \".\""                                     },
        {"[app:hello]\n\nidle_timout = 5s\n",
         "gateway.ini:3: [app:hello] unknown key \"idle_timout\", did you mean \"idle_timeout\"?"                                         },
        {"[app]\nwibble = 5s\n",                                   "gateway.ini:2: [app] unknown key \"wibble\""                          },
        {"[gateway]\nworkers = 2\n",                               "gateway.ini:2: [gateway] unknown key \"workers\", it belongs to [app]"},
        {"[app:a]\nworkers = 1\n# x\nworkers = 2\n",
         "gateway.ini:4: [app:a] workers: set twice (first in line 2)"                                                                    },
        {"[log]\nlevel = info\n[gateway]\n[log]\nlevel = debug\n",
         "gateway.ini:5: [log] level: set twice (first in line 2)"                                                                        },
        {"[app:a]\nworkers = 1\n  module = x\n",                   "gateway.ini:3: [app:a] workers: an indented line continues "
                                                 "it, and it takes one value: begin a new key at "
                                                 "the left margin"                        },
    };
    REFUSED(rows);
}

static void test_value_errors(void **state)
{
    (void)state;
    static const struct refused rows[] = {
        {"[app:hello]\nidle_timeout = 60x\n",
         "gateway.ini:2: [app:hello] idle_timeout: \"60x\" is not a time (try 60s)"                                        },
        {"[app:hello]\nidle_timeout = 60\n",
         "gateway.ini:2: [app:hello] idle_timeout: \"60\" is not a time (try 60s)"                                         },
        {"[app]\nstart_timeout = soon\n",
         "gateway.ini:2: [app] start_timeout: \"soon\" is not a time (try 60s)"                                            },
        {"[app]\nstart_timeout = off\n",            "gateway.ini:2: [app] start_timeout: cannot be off (try 60s)"          },
        {"[app]\nidle_timeout =\n",                 "gateway.ini:2: [app] idle_timeout: needs a value (try 60s)"           },
        {"[app]\nidle_timeout = 1ms\n",
         "gateway.ini:2: [app] idle_timeout: \"1ms\" is too small (10ms is the least)"                                     },
        {"[timeouts]\ndrain = 99h\n",
         "gateway.ini:2: [timeouts] drain: \"99h\" is too large (24h is the most)"                                         },
        {"[limits]\nheaders = 10MB\n",              "gateway.ini:2: [limits] headers: \"10MB\" is not a size (try 10m)"    },
        {"[limits]\nheaders = 2m\n",                "gateway.ini:2: [limits] headers: \"2m\" is too large (1m is the most)"},
        {"[limits]\nheader_count = 0\n",
         "gateway.ini:2: [limits] header_count: \"0\" is too small (1 is the least)"                                       },
        {"[limits]\nheader_count = 1001\n",
         "gateway.ini:2: [limits] header_count: \"1001\" is too large (1000 is the most)"                                  },
        {"[limits]\nconnections = many\n",
         "gateway.ini:2: [limits] connections: \"many\" is not a number (try 4096)"                                        },
        {"[limits]\nresponse_memory = 4g\n",
         "gateway.ini:2: [limits] response_memory: \"4g\" is too large (1g is the most)"                                   },
        {"[limits]\nrequest_line = 64k\n" APP_FILE,
         "gateway.ini:2: [limits] request_line: 64k is more than headers (32k)"                                            },
        {"[limits]\nheaders = 4k\n" APP_FILE,
         "gateway.ini:2: [limits] headers: 4k is less than request_line (8k)"                                              },
        {"[gateway]\nlisten_mode = 0999\n",
         "gateway.ini:2: [gateway] listen_mode: \"0999\" is not an octal number (try 0660)"                                },
        {"[app]\numask = x\n",                      "gateway.ini:2: [app] umask: \"x\" is not an octal number (try 0022)"  },
        {"[gateway]\nserver_header = maybe\n",
         "gateway.ini:2: [gateway] server_header: \"maybe\" is not on or off"                                              },
        {"[log]\nlevel = loud\n",
         "gateway.ini:2: [log] level: \"loud\" is not one of debug, info, warning, error"                                  },
        {"[log]\nerror = stdout\n",                 "gateway.ini:2: [log] error: \"stdout\" is not stderr or a path"       },
        {"[log]\nrequest_id = X_Id\n",              "gateway.ini:2: [log] request_id: \"X_Id\" is not a header name of "
                                       "letters, digits and \"-\", or off"           },
        {"[gateway]\nuser = a b\n",                 "gateway.ini:2: [gateway] user: \"a b\" is not a name or a number"     },
        {"[app]\nkind = asgi\n",                    "gateway.ini:2: [app] kind: \"asgi\" is not one of auto, wsgi"         },
        {"[app]\nmodule = a b\n",
         "gateway.ini:2: [app] module: \"a b\" is not module:attribute, module or file.py:attribute"                       },
        {"[app]\nmodule = main:make()\n",
         "gateway.ini:2: [app] module: \"main:make()\" is a call (try main:make with factory = on)"                        },
        {"[app]\nenv = FOO\n",                      "gateway.ini:2: [app] env: \"FOO\" is not NAME=value"                  },
        {"[app]\nenv = 1=2\n",                      "gateway.ini:2: [app] env: \"1\" is not a name for a variable"         },
        {"[app]\npath = api\n",                     "gateway.ini:2: [app] path: \"api\" does not begin with / (try /api)"  },
        {"[app]\npath = /a//b\n",                   "gateway.ini:2: [app] path: \"/a//b\" has an empty or a dot segment"   },
        {"[app]\npath = /a/..\n",                   "gateway.ini:2: [app] path: \"/a/..\" has an empty or a dot segment"   },
        {"[app]\npath = /./a\n",                    "gateway.ini:2: [app] path: \"/./a\" has an empty or a dot segment"    },
        {"[app]\npath = /a?b\n",                    "gateway.ini:2: [app] path: \"/a?b\" is not a path: no ?, # or blank"  },
        {"[app]\ndomain = a.com:80\n",
         "gateway.ini:2: [app] domain: \"a.com:80\" is not a host name (www.example.com, *.example.com)"                   },
        {"[app]\ndomain = a.*.com\n",
         "gateway.ini:2: [app] domain: \"a.*.com\" is not a host name (www.example.com, *.example.com)"                    },
    };
    REFUSED(rows);
}

static void test_listen(void **state)
{
    (void)state;
    static const struct refused rows[] = {
        {"[gateway]\nlisten = 8000\n",        "gateway.ini:2: [gateway] listen: \"8000\" is not an address (try "
                                       "127.0.0.1:8000, or :8000 for every interface)"},
        {"[gateway]\nlisten = localhost\n",
         "gateway.ini:2: [gateway] listen: \"localhost\" is not an address "
         "(host:port, :port, [v6]:port or unix:/path)"                                                                      },
        {"[gateway]\nlisten = ::1:80\n",
         "gateway.ini:2: [gateway] listen: \"::1:80\" is not an address (host:port, "
         ":port, [v6]:port or unix:/path)"                                                                                  },
        {"[gateway]\nlisten = :http\n",
         "gateway.ini:2: [gateway] listen: \":http\": \"http\" is not a port (0 to 65535)"                                  },
        {"[gateway]\nlisten = :65536\n",
         "gateway.ini:2: [gateway] listen: \":65536\": \"65536\" is not a port (0 to 65535)"                                },
        {"[gateway]\nlisten = unix:x\n",
         "gateway.ini:2: [gateway] listen: \"unix:x\" needs an absolute path (unix:/path)"                                  },
        {"[gateway]\nlisten = fd:3\n",
         "gateway.ini:2: [gateway] listen: \"fd:3\" is not supported yet (host:port, "
         ":port, [v6]:port or unix:/path)"                                                                                  },
        {"[gateway]\nlisten = systemd:web\n",
         "gateway.ini:2: [gateway] listen: \"systemd:web\" is not supported yet "
         "(host:port, :port, [v6]:port or unix:/path)"                                                                      },
        {"[gateway]\nlisten =\n" APP_FILE,
         "gateway.ini:2: [gateway] listen: needs a value (try 127.0.0.1:8000)"                                              },
    };
    REFUSED(rows);
    assert_loads(
        load_text("[gateway]\nlisten = :80 [::1]:0 unix:/run//x/./s\nlisten = www.x-y.org:65535\n" APP_FILE));
    assert_list(&fx.conf->listen, ":80 [::1]:0 unix:/run/x/s www.x-y.org:65535");
}

static void test_lists(void **state)
{
    (void)state;
    assert_loads(load_text("[app]\ndomain = x.org\nenv = A=1\n"
                           "[app:hello]\nmodule = m\ndomain = WWW.Example.COM. *.b.org ; two\n"
                           "path =\n    /a/ ; with a comment\n\n    # not this\n    /b /c\npath = /d\n"
                           "env = B=1 2\n  C=\n"
                           "[app:other]\nmodule = m\n"
                           "[app:any]\nmodule = m\ndomain =\nenv =\n"));
    const struct conf_app *apps = fx.conf->apps;
    assert_list(&apps[0].domain, "www.example.com *.b.org");
    assert_list(&apps[0].path, "/a /b /c /d");
    assert_int_equal(apps[0].env.count, 2);
    assert_string_equal(apps[0].env.items[0], "B=1 2");
    assert_string_equal(apps[0].env.items[1], "C=");
    assert_list(&apps[1].domain, "x.org");
    assert_list(&apps[1].env, "A=1");
    assert_ptr_equal(apps[1].path.items, apps[2].path.items);
    assert_list(&apps[2].domain, "");
    assert_list(&apps[2].env, "");
    assert_fails(load_text("[app:a]\nmodule = m\npath =\n"),
                 "gateway.ini:3: [app:a] path: needs a value (try /)");
}

/* A key's line holds 199 bytes; comments and blanks at its end do not count. */
static void test_line_length(void **state)
{
    (void)state;
    char text[1024];
    for (int len = 150; len <= 250; len++) {
        (void)snprintf(text, sizeof(text), "[app:a]\nmodule = m\nroot_path = /%0*d  ; %0200d\n", len - 13, 7,
                       7);
        int result = load_text(text);
        if (len <= 199) {
            assert_loads(result);
            assert_int_equal(strlen(fx.conf->apps[0].root_path), len - 12);
        } else {
            (void)snprintf(
                text, sizeof(text),
                "gateway.ini:3: [app:a] root_path: the line has %d bytes, 199 is the most: put long values "
                "into an env_file",
                len);
            assert_fails(result, text);
        }
    }
    (void)snprintf(text, sizeof(text), "[app:a]\nmodule = m\nenv =\n   A=%0200d\n", 7);
    assert_fails(load_text(text),
                 "gateway.ini:4: [app:a] the line has 205 bytes, 199 is the most: put long values "
                 "into an env_file");
}

static void test_section_length(void **state)
{
    (void)state;
    char text[256];
    (void)snprintf(text, sizeof(text), "[app:%064d]\nmodule = m\n", 7);
    assert_loads(load_text(text));
    assert_int_equal(strlen(fx.conf->apps[0].name), 64);
    (void)snprintf(text, sizeof(text), "[app:%065d]\nmodule = m\n", 7);
    assert_int_equal(load_text(text), -1);
}

static void test_apps(void **state)
{
    (void)state;
    static const struct refused rows[] = {
        {"",                                           "gateway.ini: no app: it needs a section [app:NAME] with module = main:app" },
        {"[app]\nmodule = m\n",                        "gateway.ini: no app: it needs a section [app:NAME] with module = main:app" },
        {"\n[app:a]\n",                                "gateway.ini:2: [app:a] module: needs a value (module = main:app)"          },
        {"[app:a]\nmodule = m\n[app:a]\nmodule = m\n",
         "gateway.ini:3: [app:a] there is an app of this name already (line 1)"                                                    },
        {"[app:a]\nmodule = m\n[app:b]\nmodule = m\n",
         "gateway.ini:3: [app:b] path: \"/\" leads to [app:a] already (line 1)"                                                    },
        {"[app:a]\nmodule = m\ndomain = x.org y.org\npath = /p\n[app:b]\nmodule = m\ndomain = Y.org\npath = "
         "/q /p/\n",                          "gateway.ini:8: [app:b] path: \"y.org/p\" leads to [app:a] already (line 4)"},
        {"[app:a]\nmodule = m\npath = /p /q /p\n",     "gateway.ini:3: [app:a] path: \"/p\" stands there twice"                    },
    };
    REFUSED(rows);
    assert_loads(
        load_text("[app:a]\nmodule = m\n[app:b]\nmodule = m\ndomain = x.org\n[app:c]\nmodule=m\npath=/p\n"));
    assert_int_equal(fx.conf->app_count, 3);
}

/* Wherever [app] stands, it is every app's default. */
static void test_inheritance(void **state)
{
    (void)state;
    assert_loads(load_text("[app:a]\nmodule = m\nworkers = 3\n[app]\nworkers = 2\nqueue = 9\nmodule = n\n"
                           "[app:b]\npath = /b\n"));
    assert_int_equal(fx.conf->apps[0].workers, 3);
    assert_int_equal(fx.conf->apps[0].queue, 9);
    assert_string_equal(fx.conf->apps[0].module, "m");
    assert_int_equal(fx.conf->apps[1].workers, 2);
    assert_string_equal(fx.conf->apps[1].module, "n");
}

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

static void test_files(void **state)
{
    (void)state;
    assert_int_equal(unlink(in_dir("gateway.ini")), 0);
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
    assert_fails(load(NULL, NULL),
                 "conf.d/deep/c.ini:3: [app:c] idle_timeout: \"60x\" is not a time (try 60s)");
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
    assert_in_range(sizeof(struct conf_app), 1, 320);
    assert_in_range(conf_memory(fx.conf), 1000 * sizeof(struct conf_app), 500 * 1024);
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
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_lines),          cmocka_unit_test(test_line_errors),
        cmocka_unit_test(test_value_errors),   cmocka_unit_test(test_listen),
        cmocka_unit_test(test_lists),          cmocka_unit_test(test_line_length),
        cmocka_unit_test(test_section_length), cmocka_unit_test(test_apps),
        cmocka_unit_test(test_inheritance),    cmocka_unit_test(test_paths),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_strange_bytes),
        cmocka_unit_test(test_every_end),      cmocka_unit_test(test_include),
        cmocka_unit_test(test_include_errors), cmocka_unit_test(test_include_depth),
        cmocka_unit_test(test_thousand_apps),  cmocka_unit_test(test_gives_all_back),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
