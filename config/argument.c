/* argument.c - APP, the app named on the command line: a section that nobody wrote. */
#include "load.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the part of APP begins that names it: "mysite.wsgi:application" is "wsgi", "src/shop app.py" is
 * "shop app", a directory by its last segment; *len is its length. */
static const char *name_part(const struct conf_app *app, size_t *len)
{
    const char *whole = *app->root != '\0' ? app->root : *app->script != '\0' ? app->script : app->module;
    const char *colon = whole == app->module ? strrchr(whole, ':') : NULL;
    size_t end = colon != NULL ? (size_t)(colon - whole) : strlen(whole);
    bool script = check_is_script(whole, end);
    bool path = script || whole != app->module;
    end -= script ? strlen(".py") : 0;
    const char *last = memrchr(whole, path ? '/' : '.', end);
    const char *start = last != NULL ? last + 1 : whole;
    *len = end - (size_t)(start - whole);
    return start;
}

/* As an app's name may be written; returns its length. */
static size_t app_name(const struct conf_app *app, char name[APP_NAME_MAX])
{
    size_t len;
    const char *part = name_part(app, &len);
    if (len == 0) { /* the directory "/" */
        part = "root";
        len = strlen(part);
    }
    if (len > APP_NAME_MAX)
        len = APP_NAME_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = part[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        name[i] = plain ? c : '-';
    }
    return len;
}

/* The directory that APP is, absolute; NULL when it is none, or without memory. */
static const char *as_directory(const struct loader *l)
{
    struct stat st;
    const char *path = check_absolute(l->arena, l->input->cwd, l->app);
    return path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? path : NULL;
}

/* Whether APP, which is a directory, is named as `import` names a package: its modules are no scripts for
 * everybody to run. With a slash it is a directory all the same. */
static bool is_package(const struct loader *l, const char *directory)
{
    const char *init = check_absolute(l->arena, directory, "__init__.py");
    return init != NULL && strpbrk(l->app, "./-") == NULL && access(init, F_OK) == 0;
}

static bool take_module(struct loader *l, struct conf_app *app)
{
    struct check check = {.arena = l->arena, .base = l->input->cwd, .typed = true};
    app->module = check_module(&check, l->app);
    return app->module != NULL || load_fail(l, "%s", check.wrong);
}

/* Turns away what is typed in place of an app: a directory that is not there, and Django's own command, which
 * would be taken for a CGI script. */
static bool may_be_module(struct loader *l)
{
    size_t len = strlen(l->app);
    const char *slash = strrchr(l->app, '/');
    if (len > 0 && l->app[len - 1] == '/')
        return load_fail(l, "\"%s\": there is no such directory", l->app);
    if (strcmp(slash != NULL ? slash + 1 : l->app, "manage.py") == 0)
        return load_fail(l, "\"%s\" is Django's command, not an app (try leangate PROJECT.wsgi)", l->app);
    return true;
}

/* What APP is: by the kind that [app] says, else a directory is files unless it is a package, and all else is
 * for the worker to find out. Sets the kind and the one key that belongs to it. */
static bool take_app(struct loader *l, struct conf_app *app)
{
    size_t len = strlen(l->app);
    const char *directory = as_directory(l);
    *app = (struct conf_app){.name = "", .module = "", .script = "", .root = "", .kind = l->defaults.kind};
    if (len > 4 && strcmp(l->app + len - 4, ".ini") == 0 && directory == NULL)
        return load_fail(l, "\"%s\" is not an app (try leangate -c %s)", l->app, l->app);
    if (app->kind == CONF_KIND_FASTCGI) {
        return load_fail(
            l, "\"%s\": an app with kind = fastcgi has a section in a file, with its address or command",
            l->app);
    }
    if (app->kind == CONF_KIND_AUTO && directory == NULL && !may_be_module(l))
        return false;
    if (app->kind == CONF_KIND_AUTO && directory != NULL && !is_package(l, directory))
        app->kind = CONF_KIND_FILES;
    if (app->kind == CONF_KIND_FILES && directory == NULL)
        return load_fail(l, "\"%s\" is not a directory, which kind = files needs", l->app);
    if (app->kind == CONF_KIND_FILES)
        app->root = directory;
    else if (app->kind == CONF_KIND_CGI)
        app->script = check_absolute(l->arena, l->input->cwd, l->app);
    else
        return take_module(l, app);
    return app->script != NULL || load_no_memory(l);
}

static bool is_default(const struct loader *l, const struct table_row *row)
{
    return l->places[table_index(row)].layer == LAYER_DEFAULT;
}

/* Where the app runs: here, unless [app] says otherwise; a file.py starts from here even then. */
static bool set_directory(struct loader *l)
{
    const struct table_row *row = table_find(TABLE_APP, "directory");
    struct conf_app *app = &l->typed->app;
    if (is_default(l, row)) {
        l->typed->lines[table_app_index(row)] = 1;
        app->directory = check_absolute(l->arena, l->input->cwd, ".");
        return app->directory != NULL || load_no_memory(l);
    }
    const char *colon = strrchr(app->module, ':');
    if (check_is_script(app->module, colon != NULL ? (size_t)(colon - app->module) : strlen(app->module)))
        app->module = check_absolute(l->arena, l->input->cwd, app->module);
    return app->module != NULL || load_no_memory(l);
}

/* The app's own value of a key, as if its section had it. */
static void own(struct draft *draft, const char *key)
{
    draft->lines[table_app_index(table_find(TABLE_APP, key))] = 1;
}

/* `profile -c FILE NAME` is about an app of that file; notes which. False: it is about none. */
static bool take_profiled(struct loader *l)
{
    if (l->action != CONF_PROFILE)
        return false;
    for (const struct draft *draft = l->drafts; draft != NULL; draft = draft->next)
        if (strcmp(draft->app.name, l->app) == 0)
            l->conf->profiled_app = draft->app.name;
    return l->conf->profiled_app != NULL;
}

/* `profile -c FILE NAME` with a name that the file has not: a module of that name would be found by nobody's
 * intention. */
static bool is_misspelt(const struct loader *l)
{
    return l->action == CONF_PROFILE && l->drafts != NULL && strpbrk(l->app, ":./") == NULL;
}

bool argument_app(struct loader *l)
{
    char name[APP_NAME_MAX];
    struct conf_app app;
    if (l->app == NULL || take_profiled(l))
        return true;
    if (is_misspelt(l))
        return load_fail(l, "there is no [app:%s]; one that there is: %s", l->app, l->drafts->app.name);
    if (!take_app(l, &app))
        return false;
    struct place place = {.layer = LAYER_FLAG, .name = "command line", .base = l->input->cwd};
    l->typed = sections_draft(l, &place, name, app_name(&app, name));
    if (l->typed == NULL)
        return false;
    l->typed->app.kind = app.kind;
    l->typed->app.module = app.module;
    l->typed->app.script = app.script;
    l->typed->app.root = app.root;
    static const char *const keys[] = {"kind", "module", "script", "root"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        own(l->typed, keys[i]);
    if (is_default(l, table_find(TABLE_APP, "start"))) {
        l->typed->app.start = CONF_START_CHECK;
        own(l->typed, "start");
    }
    return set_directory(l);
}
