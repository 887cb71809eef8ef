/* command.c - see command.h. pyworker/README.md lists the options; one that has its default is left
 * out. */
#include "command.h"

#include <inttypes.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FIXED_MAX = 26 /* arguments besides preloaded modules and words of a command, with the NULL at the end */
};

__attribute__((format(printf, 3, 4))) static void explain(struct conf_error *error,
                                                          const struct conf_app *app, const char *format, ...)
{
    va_list args;
    int n = snprintf(error->text, sizeof(error->text), "%s: ", app->name);
    va_start(args, format);
    if (n > 0 && (size_t)n < sizeof(error->text))
        (void)vsnprintf(error->text + n, sizeof(error->text) - (size_t)n, format, args);
    va_end(args);
}

/* A Python string literal of the directory, for the -c text. False: too long. */
static bool quote(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        if (n + 3 > size)
            return false;
        if (*text == '\'' || *text == '\\')
            out[n++] = '\\';
        out[n++] = *text;
    }
    out[n] = '\0';
    return true;
}

static bool put_code(struct command *c, const char *library)
{
    char literal[4096];
    if (!quote(literal, sizeof(literal), library))
        return false;
    (void)snprintf(c->code, sizeof(c->code), "import sys; sys.path.insert(0, '%s'); import pyworker.__main__",
                   literal);
    return true;
}

/* The last argument: a module, the script or the directory. */
static const char *app_argument(const struct conf_app *app)
{
    if (app->kind == CONF_KIND_CGI)
        return app->script;
    return app->kind == CONF_KIND_FILES ? app->root : app->module;
}

static size_t put_cache(struct command *c, size_t n)
{
    const char *const paths[][2] = {
        {"--bytecode", c->cache.bytecode},
        {"--files",    c->cache.files   },
        {"--imports",  c->cache.imports }
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (paths[i][1][0] != '\0') {
            c->argv[n++] = paths[i][0];
            c->argv[n++] = paths[i][1];
        }
    return n;
}

static void put_options(struct command *c, const struct conf_app *app, size_t n)
{
    static const char *const modes[] = {"auto", "persistent", "fork"};
    static const char *const lifespans[] = {"auto", "on", "off"};
    c->argv[n++] = "--kind";
    c->argv[n++] = conf_kind_name(app->kind);
    if (app->mode != CONF_MODE_AUTO) {
        c->argv[n++] = "--mode";
        c->argv[n++] = modes[app->mode];
    }
    if (app->concurrency != CONF_AUTO) {
        (void)snprintf(c->concurrency, sizeof(c->concurrency), "%" PRId64, app->concurrency);
        c->argv[n++] = "--concurrency";
        c->argv[n++] = c->concurrency;
    }
    for (uint32_t i = 0; i < app->preload.count; i++) {
        c->argv[n++] = "--preload";
        c->argv[n++] = app->preload.items[i];
    }
    if (app->lifespan != CONF_LIFESPAN_AUTO) {
        c->argv[n++] = "--lifespan";
        c->argv[n++] = lifespans[app->lifespan];
    }
    if (app->reload)
        c->argv[n++] = "--reload";
    if (app->factory)
        c->argv[n++] = "--factory";
    if (app->debug)
        c->argv[n++] = "--debug";
    n = put_cache(c, n);
    c->argv[n] = app_argument(app);
}

static bool put_python(struct command *c, const struct conf *conf, const struct conf_app *app,
                       const char *library, struct conf_error *error)
{
    char label[128];
    if (conf_python(conf, app, c->python, label, error) == -1)
        return false;
    if (!put_code(c, library)) {
        explain(error, app, "the path of pyworker is too long");
        return false;
    }
    c->program = c->argv[0] = c->python;
    c->argv[1] = "-c";
    c->argv[2] = c->code;
    cache_paths(&c->cache, conf, app, c->python);
    put_options(c, app, 3);
    return true;
}

static bool put_words(struct command *c, const struct conf_app *app)
{
    for (uint32_t i = 0; i < app->command_words.count; i++)
        c->argv[i] = app->command_words.items[i];
    c->program = c->argv[0];
    return true;
}

struct command *command_new(const struct conf *conf, const struct conf_app *app, const char *library,
                            struct conf_error *error)
{
    size_t room = FIXED_MAX + 2 * (size_t)app->preload.count + app->command_words.count;
    struct command *c = calloc(1, sizeof(*c) + room * sizeof(c->argv[0]));
    if (c == NULL) {
        explain(error, app, "no memory for a worker");
        errno = ENOMEM;
        return NULL;
    }
    if (app->kind == CONF_KIND_FASTCGI ? put_words(c, app) : put_python(c, conf, app, library, error))
        return c;
    free(c);
    errno = 0;
    return NULL;
}
