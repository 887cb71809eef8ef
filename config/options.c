/* options.c - the command line: every key of the table is a flag; what follows here are the few flags that
 * are not, the names that people bring from uvicorn and gunicorn. */
#include "load.h"

#include <string.h>

#include "suggest.h"
#include "units.h"

enum effect {
    SET_KEY,     /* the flag `means`, by another name */
    SET_SECONDS, /* the same, but a bare number means seconds, and 0 off where it can be off */
    SET_UNIX,    /* a path to listen on */
    SET_FD,      /* an inherited descriptor to listen on */
    SET_COMMAS,  /* a list with commas */
    SET_HOST,
    SET_PORT,
    SET_FILE,
    SET_DEV,
    ACT,    /* what to do, no value */
    REFUSE, /* a sentence instead */
    REFUSE_TLS
};

struct special {
    const char *flag;
    enum effect effect;
    const char *means; /* a flag of the table, or the sentence */
    enum conf_action action;
};

static const struct special specials[] = {
    {"-c",                          SET_FILE,    NULL,                                                                               CONF_RUN    },
    {"--config",                    SET_FILE,    NULL,                                                                               CONF_RUN    },
    {"-t",                          ACT,         NULL,                                                                               CONF_CHECK  },
    {"-T",                          ACT,         NULL,                                                                               CONF_DUMP   },
    {"-V",                          ACT,         NULL,                                                                               CONF_VERSION},
    {"--version",                   ACT,         NULL,                                                                               CONF_VERSION},
    {"-h",                          ACT,         NULL,                                                                               CONF_HELP   },
    {"--help",                      ACT,         NULL,                                                                               CONF_HELP   },
    {"-b",                          SET_KEY,     "--listen",                                                                         CONF_RUN    },
    {"--bind",                      SET_KEY,     "--listen",                                                                         CONF_RUN    },
    {"--uds",                       SET_UNIX,    "--listen",                                                                         CONF_RUN    },
    {"--host",                      SET_HOST,    NULL,                                                                               CONF_RUN    },
    {"--port",                      SET_PORT,    NULL,                                                                               CONF_RUN    },
    {"-w",                          SET_KEY,     "--workers",                                                                        CONF_RUN    },
    {"--app-dir",                   SET_KEY,     "--directory",                                                                      CONF_RUN    },
    {"-e",                          SET_KEY,     "--env",                                                                            CONF_RUN    },
    {"--chdir",                     SET_KEY,     "--directory",                                                                      CONF_RUN    },
    {"--timeout",                   SET_SECONDS, "--request-timeout",                                                                CONF_RUN    },
    {"--keep-alive",                SET_SECONDS, "--timeouts-keepalive",                                                             CONF_RUN    },
    {"--timeout-keep-alive",        SET_SECONDS, "--timeouts-keepalive",                                                             CONF_RUN    },
    {"--graceful-timeout",          SET_SECONDS, "--timeouts-drain",                                                                 CONF_RUN    },
    {"--timeout-graceful-shutdown", SET_SECONDS, "--timeouts-drain",                                                                 CONF_RUN    },
    {"-k",                          REFUSE,      "leangate needs no -k: it has one kind of worker, started when a request needs it",
     CONF_RUN                                                                                                                                    },
    {"--worker-class",              REFUSE,
     "leangate needs no --worker-class: it has one kind of worker, started when a request needs it",                                 CONF_RUN    },
    {"--loop",                      REFUSE,      "leangate needs no --loop: the event loop is its own",                              CONF_RUN    },
    {"--http",                      REFUSE,      "leangate needs no --http: the HTTP parser is its own",                             CONF_RUN    },
    {"--ws",                        REFUSE,      "leangate needs no --ws: it serves no websockets",                                  CONF_RUN    },
    {"--daemon",                    REFUSE,      "leangate has no --daemon: systemd or a container keeps it running",                CONF_RUN    },
    {"--pid",                       REFUSE,      "leangate has no --pid: whoever starts it knows its process",                       CONF_RUN    },
    {"--proxy-headers",             REFUSE,      "leangate needs no --proxy-headers: --trusted-proxies says whom it believes",
     CONF_RUN                                                                                                                                    },
    {"--access-logfile",            REFUSE,      "leangate has no --access-logfile: it is --log-access here",                        CONF_RUN    },
    {"--no-access-log",             REFUSE,      "leangate has no --no-access-log: it is --log-access off here",                     CONF_RUN    },
    {"--error-logfile",             REFUSE,      "leangate has no --error-logfile: it is --log-error here",                          CONF_RUN    },
    {"-u",                          SET_KEY,     "--user",                                                                           CONF_RUN    },
    {"-g",                          SET_KEY,     "--group",                                                                          CONF_RUN    },
    {"-D",                          REFUSE,      "leangate has no -D: systemd or a container keeps it running",                      CONF_RUN    },
    {"-p",                          REFUSE,      "leangate has no -p: a port is --port, and whoever starts it knows its process",    CONF_RUN    },
    {"--max-requests-jitter",       REFUSE,
     "leangate needs no --max-requests-jitter: a fresh worker is ready before the old one goes",                                     CONF_RUN    },
    {"--worker-tmp-dir",            REFUSE,      "leangate needs no --worker-tmp-dir: no worker is watched by a file",
     CONF_RUN                                                                                                                                    },
    {"--capture-output",            REFUSE,
     "leangate needs no --capture-output: what workers print is in the log (--log-worker)",                                          CONF_RUN    },
    {"--access-logformat",          REFUSE,      "leangate has no --access-logformat: there is --log-format",                        CONF_RUN    },
    {"--check-config",              REFUSE,      "leangate has no --check-config: it is -t here",                                    CONF_RUN    },
    {"--print-config",              REFUSE,      "leangate has no --print-config: it is -T here",                                    CONF_RUN    },
    {"--pythonpath",                REFUSE,      "leangate has no --pythonpath: it is --env PYTHONPATH=... here",                    CONF_RUN    },
    {"--reload-dir",                REFUSE,
     "leangate needs no --reload-dir: --reload looks at every module that was imported",                                             CONF_RUN    },
    {"--worker-connections",        REFUSE,      "leangate has no --worker-connections: it is --concurrency here",
     CONF_RUN                                                                                                                                    },
    {"--limit-concurrency",         REFUSE,
     "leangate has no --limit-concurrency: it is --concurrency here, and --queue for what waits",                                    CONF_RUN    },
    {"--no-server-header",          REFUSE,      "leangate needs no --no-server-header: it sends none",                              CONF_RUN    },
    {"--log-config",                REFUSE,      "leangate has no --log-config: there are --log-level and --log-format",
     CONF_RUN                                                                                                                                    },
    {"--ssl-*",                     REFUSE_TLS,  NULL,                                                                               CONF_RUN    },
    {"--keyfile",                   REFUSE_TLS,  NULL,                                                                               CONF_RUN    },
    {"--certfile",                  REFUSE_TLS,  NULL,                                                                               CONF_RUN    },
    {"--interface",                 REFUSE,      "leangate needs no --interface: it is --kind here, and auto is the default",
     CONF_RUN                                                                                                                                    },
    {"--log-file",                  REFUSE,      "leangate has no --log-file: it is --log-error here",                               CONF_RUN    },
    {"--fd",                        SET_FD,      "--listen",                                                                         CONF_RUN    },
    {"--dev",                       SET_DEV,     NULL,                                                                               CONF_RUN    },
    {"--threads",                   SET_KEY,     "--concurrency",                                                                    CONF_RUN    },
    {"--limit-max-requests",        SET_KEY,     "--max-requests",                                                                   CONF_RUN    },
    {"--forwarded-allow-ips",       SET_COMMAS,  "--trusted-proxies",                                                                CONF_RUN    },
};

/* One option while it is read: its name, the value in the same argument, the arguments behind it. */
struct reading {
    struct loader *loader;
    const char *name;
    const char *value; /* NULL: none in this argument */
    int next;          /* index in argv of what follows */
};

/* "--ssl-*" stands for all that begin so. */
static bool is_named(const struct special *special, const char *name)
{
    size_t len = strcspn(special->flag, "*");
    return special->flag[len] == '*' ? strncmp(special->flag, name, len) == 0
                                     : strcmp(special->flag, name) == 0;
}

static const struct special *find_special(const char *name)
{
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
        if (is_named(&specials[i], name))
            return &specials[i];
    return NULL;
}

/* The option's value: behind "=", in the rest of a short option, or the next argument. */
static const char *need_value(struct reading *r)
{
    if (r->value != NULL)
        return r->value;
    const struct conf_input *input = r->loader->input;
    if (r->next < input->argc && strncmp(input->argv[r->next], "--", 2) != 0)
        return input->argv[r->next++];
    (void)load_fail(r->loader, "%s: needs a value", r->name);
    return NULL;
}

static bool remember(struct reading *r, const struct table_row *row, const char *text, bool item)
{
    struct loader *l = r->loader;
    struct option *option = text != NULL ? arena_alloc(l->scratch, sizeof(*option)) : NULL;
    if (option == NULL)
        return load_no_memory(l);
    *option = (struct option){.row = row, .flag = r->name, .text = text, .item = item};
    *l->options_end = option;
    l->options_end = &option->next;
    l->includes_given = l->includes_given || (row->flags & TABLE_INCLUDE) != 0;
    return true;
}

static bool set_key(struct reading *r, const struct table_row *row)
{
    if (row->type == TABLE_BOOL)
        return remember(r, row, r->value != NULL ? r->value : "on", false);
    const char *value = need_value(r);
    if (value != NULL && strcmp(row->key, "preload") == 0 && strchr(value, ':') != NULL)
        return load_fail(r->loader,
                         "%s: needs names of modules, and \"%s\" is an app (gunicorn's is --mode fork here)",
                         r->name, value);
    return value != NULL && remember(r, row, value, (row->flags & TABLE_LINES) != 0 && *value != '\0');
}

static bool set_seconds(struct reading *r, const struct table_row *row)
{
    const char *value = need_value(r);
    int64_t seconds;
    if (value != NULL && units_number(value, &seconds)) {
        bool off = seconds == 0 && (row->flags & TABLE_OFF) != 0;
        return remember(r, row, off ? "off" : arena_join(r->loader->scratch, value, "s", ""), false);
    }
    return value != NULL && remember(r, row, value, false);
}

static bool set_prefixed(struct reading *r, const struct table_row *row, const char *before)
{
    const char *value = need_value(r);
    return value != NULL && remember(r, row, arena_join(r->loader->scratch, before, value, ""), true);
}

static bool set_commas(struct reading *r, const struct table_row *row)
{
    const char *value = need_value(r);
    return value != NULL && remember(r, row, load_blanks(r->loader, value), false);
}

static bool set_text(struct reading *r, const char **text)
{
    if (*text != NULL)
        return load_fail(r->loader, "%s: given twice", r->name);
    *text = need_value(r);
    if (*text != NULL && **text == '\0')
        return load_fail(r->loader, "%s: needs a value", r->name);
    return *text != NULL;
}

/* For the desk: fresh code at each request, tracebacks as pages, and nobody else sees them. */
static bool set_dev(struct reading *r)
{
    r->loader->dev = true;
    if (r->value != NULL)
        return load_fail(r->loader, "%s: takes no value", r->name);
    return remember(r, table_find_flag("--reload"), "on", false) &&
           remember(r, table_find_flag("--debug"), "on", false);
}

static bool act(struct reading *r, enum conf_action action)
{
    r->loader->action = action;
    return r->value == NULL || load_fail(r->loader, "%s: takes no value", r->name);
}

static bool set_special(struct reading *r, const struct special *special)
{
    switch (special->effect) {
    case SET_KEY:
        return set_key(r, table_find_flag(special->means));
    case SET_SECONDS:
        return set_seconds(r, table_find_flag(special->means));
    case SET_UNIX:
        return set_prefixed(r, table_find_flag(special->means), "unix:");
    case SET_FD:
        return set_prefixed(r, table_find_flag(special->means), "fd:");
    case SET_COMMAS:
        return set_commas(r, table_find_flag(special->means));
    case SET_HOST:
        return set_text(r, &r->loader->host);
    case SET_PORT:
        return set_text(r, &r->loader->port);
    case SET_FILE:
        return set_text(r, &r->loader->file);
    case SET_DEV:
        return set_dev(r);
    case ACT:
        return act(r, special->action);
    case REFUSE:
        return load_fail(r->loader, "%s", special->means);
    case REFUSE_TLS:
        break;
    }
    return load_fail(r->loader, "leangate has no %s: TLS ends in a proxy in front of it", r->name);
}

static bool unknown(struct loader *l, const char *name)
{
    const struct table_row *near = load_nearest(table_flag, name);
    if (near == NULL || name[1] != '-')
        return load_fail(l, "unknown option %s (leangate --help lists them)", name);
    char known[TABLE_NAME];
    table_flag(near, known);
    return load_fail(l, "unknown option %s, did you mean %s?", name, known);
}

/* Splits "--name=value" and "-nvalue". */
static bool split(struct reading *r, const char *arg)
{
    size_t len = arg[1] == '-' ? strcspn(arg, "=") : 2;
    r->name = arena_copy(r->loader->scratch, arg, len);
    r->value = arg[len] == '\0' ? NULL : arg + len + (arg[1] == '-' ? 1 : 0);
    return r->name != NULL || load_no_memory(r->loader);
}

static bool option(struct reading *r, const char *arg)
{
    if (!split(r, arg))
        return false;
    const struct special *special = find_special(r->name);
    if (special != NULL)
        return set_special(r, special);
    const struct table_row *row = table_find_flag(r->name);
    return row != NULL ? set_key(r, row) : unknown(r->loader, r->name);
}

/* Words that stand before APP and say what to do with it. An app of that name is written profile:app. */
static bool is_word(struct loader *l, const char *arg)
{
    static const struct {
        const char *word;
        enum conf_action action;
    } words[] = {
        {"warm",    CONF_WARM   },
        {"profile", CONF_PROFILE}
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (l->action == CONF_RUN && strcmp(words[i].word, arg) == 0) {
            l->action = words[i].action;
            return true;
        }
    return false;
}

static bool positional(struct loader *l, const char *arg)
{
    if (*arg == '\0') /* an unset variable in quotes; as a path it would be the current directory */
        return load_fail(l, "\"\" is not an app (leangate . serves this directory)");
    if (l->app == NULL && is_word(l, arg))
        return true;
    if (l->action == CONF_PROFILE && arg[0] == '/' && (l->app != NULL || l->file != NULL)) {
        const char *kept = arena_copy(l->arena, arg, strlen(arg));
        return kept != NULL ? value_append(l, &l->conf->profiled, kept) : load_no_memory(l);
    }
    if (l->app != NULL) {
        struct suggest suggest;
        suggest_init(&suggest, l->app);
        if (suggest_offer(&suggest, "warm") || suggest_offer(&suggest, "profile"))
            return load_fail(l, "\"%s\" is no command, did you mean \"%s\"?", l->app, suggest.best);
        return load_fail(l, "\"%s\": there is an app already, \"%s\" (more than one stand in a file)", arg,
                         l->app);
    }
    l->app = arg;
    return true;
}

bool options_parse(struct loader *l)
{
    struct reading r = {.loader = l};
    bool options_end = false;
    while (r.next < l->input->argc && l->action != CONF_HELP && l->action != CONF_VERSION) {
        const char *arg = l->input->argv[r.next++];
        if (!options_end && strcmp(arg, "--") == 0) {
            options_end = true;
        } else if (options_end || arg[0] != '-' || arg[1] == '\0') {
            if (!positional(l, arg))
                return false;
        } else if (!option(&r, arg)) {
            return false;
        }
    }
    return true;
}

/* ---- the layer ---- */

static struct place flag_place(const struct loader *l, const char *flag)
{
    return (struct place){.layer = LAYER_FLAG, .name = flag, .base = l->input->cwd};
}

/* --host and --port make one listener together. */
static bool take_host(struct loader *l)
{
    if (l->host == NULL && l->port == NULL)
        return true;
    const char *host = l->host != NULL ? l->host : "127.0.0.1";
    const char *port = l->port != NULL ? l->port : "8000";
    struct place place = flag_place(l, l->port != NULL ? "--port" : "--host");
    if (!check_is_port(port))
        return load_fail_at(l, &place, NULL, NULL, "\"%s\" is not a port (0 to 65535)", port);
    bool v6 = strchr(host, ':') != NULL && host[0] != '[';
    const char *name = arena_join(l->scratch, v6 ? "[" : "", host, v6 ? "]" : "");
    const char *item = name != NULL ? arena_join(l->scratch, name, ":", port) : NULL;
    if (item == NULL)
        return load_no_memory(l);
    place.name = l->host != NULL ? "--host" : "--port";
    return value_take_item(l, &place, NULL, table_find_flag("--listen"), item);
}

bool options_take(struct loader *l)
{
    for (const struct option *o = l->options; o != NULL; o = o->next) {
        struct place place = flag_place(l, o->flag);
        if ((o->row->flags & TABLE_INCLUDE) != 0)
            continue;
        if (!(o->item ? value_take_item(l, &place, NULL, o->row, o->text)
                      : value_take(l, &place, NULL, o->row, o->text)))
            return false;
    }
    return take_host(l);
}

bool options_include(struct loader *l)
{
    for (const struct option *o = l->options; o != NULL; o = o->next) {
        struct place place = flag_place(l, o->flag);
        if ((o->row->flags & TABLE_INCLUDE) != 0 && *o->text != '\0' && !sections_include(l, &place, o->text))
            return false;
    }
    return true;
}
