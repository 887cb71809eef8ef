/* test_conf.c - what a file may say, and each error in the words that the user reads. */
#include "conf_fixture.h"

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
    assert_int_equal(conf->buffers, 64 << 20);
    assert_int_equal(conf->spool, 512 << 20);
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
    assert_int_equal(app->slow, 5000);
    assert_int_equal(app->max_rss, CONF_OFF);
    assert_int_equal(app->max_age, CONF_OFF);
    assert_int_equal(app->ignore_idle.count, 0);
    assert_int_equal(app->limit_address_space, CONF_OFF);
    assert_int_equal(app->limit_files, CONF_OFF);
    assert_int_equal(app->limit_processes, CONF_OFF);
    assert_int_equal(fx.conf->workers, 32);
    assert_int_equal(fx.conf->drain_delay, 0);
    assert_int_equal(fx.conf->idle_exit, CONF_OFF);
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
        {"[app:a] x\n",
         "gateway.ini:1: \"[app:a] x\" has more than a [section]: a comment begins with ;"                                               },
        {"[app:a]\nmodule = m\ndirectory = /srv # x\n",
         "gateway.ini:3: [app:a] directory: \"/srv # x\" has a # in it: a comment behind a value begins with ;"},
        {"[gateway]\nlisten =\n  :80 # x\n",
         "gateway.ini:3: [gateway] listen: \":80 # x\" has a # in it: a comment behind a value begins with ;"},
        {"[gateway]\nuser = # nobody\n",
         "gateway.ini:2: [gateway] user: \"# nobody\" has a # in it: a comment behind a value begins with ;"},
        {"[gateway]\nlisten\n",                                    "gateway.ini:2: [gateway] \"listen\" is not a \"key = value\" line"    },
        {"[gatway]\n",                                             "gateway.ini:1: [gatway] unknown section, did you mean [gateway]?"     },
        {"[ap:hello]\n",                                           "gateway.ini:1: [ap:hello] unknown section, did you mean [app:hello]?" },
        {"[wibble]\n",                                             "gateway.ini:1: [wibble] unknown section (an app's is [app:wibble])"   },
        {"[wibble:x]\n",                                           "gateway.ini:1: [wibble:x] unknown section (an app's is [app:NAME])"    },
        {"[app hello]\n", "gateway.ini:1: [app hello] unknown section (an app's is [app:hello])"},
        {"[my shop]\n", "gateway.ini:1: [my shop] unknown section (an app's is [app:NAME])"},
        {"[app:]\n",
         "gateway.ini:1: [app:] an app's name has 1 to 64 letters, digits, \"-\", \"_\" and \".\""                                        },
        {"[app:a b]\n",
         "gateway.ini:1: [app:a b] an app's name has 1 to 64 letters, digits, \"-\", \"_\" and \".\""                                     },
        {"[app:hello]\n\nidle_timout = 5s\n",
         "gateway.ini:3: [app:hello] unknown key \"idle_timout\", did you mean \"idle_timeout\"?"                                         },
        {"[app]\nwibble = 5s\n",                                   "gateway.ini:2: [app] unknown key \"wibble\""                          },
        {"[app:x]\nlisten = :80\n",                                "gateway.ini:2: [app:x] unknown key \"listen\", it belongs to [gateway] or [status]"},
        {"[gateway]\nworkers = 2\n",                               "gateway.ini:2: [gateway] unknown key \"workers\", it belongs to [limits] or [app]"},
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
         "gateway.ini:2: [app:hello] idle_timeout: \"60x\" is not a time in ms, s, m or h (try 60s)"                                        },
        {"[app:hello]\nidle_timeout = 60\n",
         "gateway.ini:2: [app:hello] idle_timeout: \"60\" is not a time (try 60s)"                                         },
        {"[app]\nstart_timeout = soon\n",
         "gateway.ini:2: [app] start_timeout: \"soon\" is not a time in ms, s, m or h (try 60s)"                                            },
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
        {"[timeouts]\ndrain_delay = 30s\n" APP_FILE,
         "gateway.ini:2: [timeouts] drain_delay: 30s leaves no time of drain (25s) to finish what is under way"},
        {"[timeouts]\ndrain = 5s\ndrain_delay = 4500ms\n" APP_FILE,
         "gateway.ini:3: [timeouts] drain_delay: 4500ms leaves no time of drain (5s) to finish what is under way"},
        {"[timeouts]\ndrain_delay = 24s\n" APP_FILE,
         "gateway.ini:2: [timeouts] drain_delay: 24s leaves no time of drain (25s) to finish what is under way"},
        {"[timeouts]\ndrain = 0s\ndrain_delay = 1ms\n" APP_FILE,
         "gateway.ini:3: [timeouts] drain_delay: 1ms leaves no time of drain (0s) to finish what is under way"},
        {"[gateway]\nlisten_mode = 0999\n",
         "gateway.ini:2: [gateway] listen_mode: \"0999\" is not an octal number (try 0660)"                                },
        {"[app]\numask = x\n",                      "gateway.ini:2: [app] umask: \"x\" is not an octal number (try 0022)"  },
        {"[app]\numask = off\n",                    "gateway.ini:2: [app] umask: cannot be off (try 0022)"                 },
        {"[app]\nlimit_files = off\n",              "gateway.ini:2: [app] limit_files: cannot be off (try 1024)"           },
        {"[app]\nlimit_files = abc\n",              "gateway.ini:2: [app] limit_files: \"abc\" is not a number (try 1024)" },
        {"[gateway]\nserver_header = maybe\n",
         "gateway.ini:2: [gateway] server_header: \"maybe\" is not on or off"                                              },
        {"[log]\nlevel = loud\n",
         "gateway.ini:2: [log] level: \"loud\" is not one of debug, info, warning, error"                                  },
        {"[log]\nerror = stdout\n",                 "gateway.ini:2: [log] error: \"stdout\" is not stderr or a path"       },
        {"[log]\nrequest_id = X_Id\n",              "gateway.ini:2: [log] request_id: \"X_Id\" is not a header name of "
                                       "letters, digits and \"-\", or off"           },
        {"[gateway]\nuser = a b\n",                 "gateway.ini:2: [gateway] user: \"a b\" is not a name or a number"     },
        {"[app]\nkind = php\n",
         "gateway.ini:2: [app] kind: \"php\" is not one of auto, wsgi, asgi, cgi, files, fastcgi"         },
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
        {"[app]\npath = /caf%C3%A9\n",
         "gateway.ini:2: [app] path: \"/caf%C3%A9\" has a %: paths are decoded before they are compared"                   },
        {"[app]\ndomain = a.com:80\n",
         "gateway.ini:2: [app] domain: \"a.com:80\" is not a host name (www.example.com, *.example.com)"                   },
        {"[app]\ndomain = a.*.com\n",
         "gateway.ini:2: [app] domain: \"a.*.com\" is not a host name (www.example.com, *.example.com)"                    },
    };
    REFUSED(rows);
    static const char *const times[] = {"drain = 0s\n", "drain = 5s\ndrain_delay = 4499ms\n", "drain_delay = 23999ms\n"};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "[timeouts]\n%s" APP_FILE, times[i]);
        assert_loads(load_text(text));
    }
}

static void test_listen(void **state)
{
    (void)state;
    static const struct refused rows[] = {
        {"[gateway]\nlisten = 8000\n",        "gateway.ini:2: [gateway] listen: \"8000\" is not an address (try "
                                       "127.0.0.1:8000, or :8000 for every interface)"},
        {"[gateway]\nlisten = localhost\n",
         "gateway.ini:2: [gateway] listen: \"localhost\" is not an address "
         "(host:port, :port, [v6]:port, unix:/path, fd:3, systemd or systemd:NAME)"                                                                      },
        {"[gateway]\nlisten = ::1:80\n",
         "gateway.ini:2: [gateway] listen: \"::1:80\" is not an address (host:port, "
         ":port, [v6]:port, unix:/path, fd:3, systemd or systemd:NAME)"                                                                                  },
        {"[gateway]\nlisten = :http\n",
         "gateway.ini:2: [gateway] listen: \":http\": \"http\" is not a port (0 to 65535)"                                  },
        {"[gateway]\nlisten = :65536\n",
         "gateway.ini:2: [gateway] listen: \":65536\": \"65536\" is not a port (0 to 65535)"                                },
        {"[gateway]\nlisten = unix:x\n",
         "gateway.ini:2: [gateway] listen: \"unix:x\" needs an absolute path (unix:/path)"                                  },
        {"[gateway]\nlisten = example.com:80\n",
         "gateway.ini:2: [gateway] listen: \"example.com:80\": names are not looked up: give example.com by its address, or :80 for every interface"},
        {"[gateway]\nlisten = 10.0.0.256:80\n",
         "gateway.ini:2: [gateway] listen: \"10.0.0.256:80\": names are not looked up: give 10.0.0.256 by its address, or :80 for every interface"},
        {"[gateway]\nlisten = fd:2\n",
         "gateway.ini:2: [gateway] listen: \"fd:2\" is not an inherited descriptor (fd:3 and above)"                      },
        {"[gateway]\nlisten = fd:3x\n",
         "gateway.ini:2: [gateway] listen: \"fd:3x\" is not an inherited descriptor (fd:3 and above)"                     },
        {"[gateway]\nlisten = systemd:\n",
         "gateway.ini:2: [gateway] listen: \"systemd:\" names no socket (systemd:NAME, as FileDescriptorName= says)"      },
        {"[gateway]\nlisten = systemd:a:b\n",
         "gateway.ini:2: [gateway] listen: \"systemd:a:b\" names no socket (systemd:NAME, as FileDescriptorName= says)"   },
        {"[gateway]\nlisten =\n" APP_FILE,
         "gateway.ini:2: [gateway] listen: needs a value (try 127.0.0.1:8000)"                                              },
    };
    REFUSED(rows);
    assert_loads(
        load_text("[gateway]\nlisten = :80 [::1]:0 unix:/run//x/./s\nlisten = localhost:65535\n" APP_FILE));
    assert_list(&fx.conf->listen, ":80 [::1]:0 unix:/run/x/s localhost:65535");
    assert_fails(load_text("[status]\nlisten = 127.0.0.1:8000\n" APP_FILE),
                 "gateway.ini:2: [status] listen: \"127.0.0.1:8000\" is where [gateway] listens: the status "
                 "needs an address of its own");
    assert_loads(load_text("[gateway]\nlisten = 127.0.0.1:0 127.0.0.1:0\n[status]\nlisten = 127.0.0.1:0\n" APP_FILE));
    assert_fails(load_text("[gateway]\nlisten = :80 :81\nlisten = :80\n" APP_FILE),
                 "gateway.ini:2: [gateway] listen: \":80\" stands there twice");
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
        {"[app:a]\nmodule = m\n[app:a]\npath = /a\n",
         "gateway.ini:3: [app:a] there is an app of this name already (line 1)"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_lines),          cmocka_unit_test(test_line_errors),
        cmocka_unit_test(test_value_errors),   cmocka_unit_test(test_listen),
        cmocka_unit_test(test_lists),          cmocka_unit_test(test_line_length),
        cmocka_unit_test(test_section_length), cmocka_unit_test(test_apps),
        cmocka_unit_test(test_inheritance),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
