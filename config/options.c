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
    ACT_CHECK, /* what to do, no value */
    ACT_DUMP,
    ACT_VERSION,
    ACT_HELP,
    HAS_NO, /* refused: `means` says why */
    NEEDS_NO
};

struct special {
    const char *flag;
    enum effect effect;
    const char *means;
};

/* clang-format off */
static const struct special specials[] = {
    {"-c",                          SET_FILE,    NULL},
    {"--config",                    SET_FILE,    NULL},
    {"-t",                          ACT_CHECK,   NULL},
    {"-T",                          ACT_DUMP,    NULL},
    {"-V",                          ACT_VERSION, NULL},
    {"--version",                   ACT_VERSION, NULL},
    {"-h",                          ACT_HELP,    NULL},
    {"--help",                      ACT_HELP,    NULL},
    {"-b",                          SET_KEY,     "--listen"},
    {"--bind",                      SET_KEY,     "--listen"},
    {"--uds",                       SET_UNIX,    "--listen"},
    {"--host",                      SET_HOST,    NULL},
    {"--port",                      SET_PORT,    NULL},
    {"-w",                          SET_KEY,     "--workers"},
    {"--app-dir",                   SET_KEY,     "--directory"},
    {"-e",                          SET_KEY,     "--env"},
    {"--chdir",                     SET_KEY,     "--directory"},
    {"--timeout",                   SET_SECONDS, "--request-timeout"},
    {"--keep-alive",                SET_SECONDS, "--timeouts-keepalive"},
    {"--timeout-keep-alive",        SET_SECONDS, "--timeouts-keepalive"},
    {"--graceful-timeout",          SET_SECONDS, "--timeouts-drain"},
    {"--timeout-graceful-shutdown", SET_SECONDS, "--timeouts-drain"},
    {"-k",                          NEEDS_NO,    "it has one kind of worker, started when a request needs it"},
    {"--worker-class",              NEEDS_NO,    "it has one kind of worker, started when a request needs it"},
    {"--loop",                      NEEDS_NO,    "the event loop is its own"},
    {"--http",                      NEEDS_NO,    "the HTTP parser is its own"},
    {"--ws",                        NEEDS_NO,    "it serves no websockets"},
    {"--daemon",                    HAS_NO,      "systemd or a container keeps it running"},
    {"--pid",                       HAS_NO,      "whoever starts it knows its process"},
    {"--proxy-headers",             NEEDS_NO,    "--trusted-proxies says whom it believes"},
    {"--access-logfile",            HAS_NO,      "it is --log-access here"},
    {"--no-access-log",             HAS_NO,      "it is --log-access off here"},
    {"--error-logfile",             HAS_NO,      "it is --log-error here"},
    {"-u",                          SET_KEY,     "--user"},
    {"-g",                          SET_KEY,     "--group"},
    {"-D",                          HAS_NO,      "systemd or a container keeps it running"},
    {"-p",                          HAS_NO,      "a port is --port, and whoever starts it knows its process"},
    {"--max-requests-jitter",       NEEDS_NO,    "a fresh worker is ready before the old one goes"},
    {"--worker-tmp-dir",            NEEDS_NO,    "no worker is watched by a file"},
    {"--capture-output",            NEEDS_NO,    "what workers print is in the log (--log-worker)"},
    {"--access-logformat",          HAS_NO,      "there is --log-format"},
    {"--check-config",              HAS_NO,      "it is -t here"},
    {"--print-config",              HAS_NO,      "it is -T here"},
    {"--pythonpath",                HAS_NO,      "it is --env PYTHONPATH=... here"},
    {"--reload-dir",                NEEDS_NO,    "--reload looks at every module that was imported"},
    {"--worker-connections",        HAS_NO,      "it is --concurrency here"},
    {"--limit-concurrency",         HAS_NO,      "it is --concurrency here, and --queue for what waits"},
    {"--no-server-header",          NEEDS_NO,    "it sends none"},
    {"--log-config",                HAS_NO,      "there are --log-level and --log-format"},
    {"--ssl-*",                     HAS_NO,      "TLS ends in a proxy in front of it"},
    {"--keyfile",                   HAS_NO,      "TLS ends in a proxy in front of it"},
    {"--certfile",                  HAS_NO,      "TLS ends in a proxy in front of it"},
    {"--interface",                 NEEDS_NO,    "it is --kind here, and auto is the default"},
    {"--log-file",                  HAS_NO,      "it is --log-error here"},
    {"--fd",                        SET_FD,      "--listen"},
    {"--dev",                       SET_DEV,     NULL},
    {"--threads",                   SET_KEY,     "--concurrency"},
    {"--limit-max-requests",        SET_KEY,     "--max-requests"},
    {"--forwarded-allow-ips",       SET_COMMAS,  "--trusted-proxies"},
};
/* clang-format on */

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
    case ACT_CHECK:
        return act(r, CONF_CHECK);
    case ACT_DUMP:
        return act(r, CONF_DUMP);
    case ACT_VERSION:
        return act(r, CONF_VERSION);
    case ACT_HELP:
        return act(r, CONF_HELP);
    case HAS_NO:
    case NEEDS_NO:
        break;
    }
    return load_fail(r->loader, "leangate %s no %s: %s", special->effect == HAS_NO ? "has" : "needs", r->name,
                     special->means);
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
static bool take_word(struct loader *l, const char *arg)
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
    if (l->app == NULL && take_word(l, arg))
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
