/* argument.c - APP, the app named on the command line: a section that nobody wrote. */
#include "load.h"

#include <string.h>

#define APP_NAME_MAX 64

/* "mysite.wsgi:application" is named "wsgi", "src/shop app.py" is "shop-app". */
static size_t app_name(const char *app, char name[APP_NAME_MAX])
{
    const char *colon = strrchr(app, ':');
    size_t end = colon != NULL ? (size_t)(colon - app) : strlen(app);
    bool file = check_is_script(app, end);
    end -= file ? 3 : 0;
    size_t start = end;
    while (start > 0 && app[start - 1] != (file ? '/' : '.'))
        start--;
    size_t len = end - start < APP_NAME_MAX ? end - start : APP_NAME_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = app[start + i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        name[i] = plain ? c : '-';
    }
    return len;
}

static const char *checked_app(struct loader *l)
{
    struct check check = {.arena = l->arena, .base = l->input->cwd, .typed = true};
    size_t len = strlen(l->app);
    if (len > 4 && strcmp(l->app + len - 4, ".ini") == 0) {
        (void)load_fail(l, "\"%s\" is not an app (try leangate -c %s)", l->app, l->app);
        return NULL;
    }
    const char *module = check_module(&check, l->app);
    if (module == NULL)
        (void)load_fail(l, "%s", check.wrong);
    return module;
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

bool argument_app(struct loader *l)
{
    char name[APP_NAME_MAX];
    if (l->app == NULL)
        return true;
    const char *module = checked_app(l);
    if (module == NULL)
        return false;
    struct place place = {.layer = LAYER_FLAG, .name = "command line", .base = l->input->cwd};
    l->typed = sections_draft(l, &place, name, app_name(l->app, name));
    if (l->typed == NULL)
        return false;
    l->typed->app.module = module;
    l->typed->lines[table_app_index(table_find(TABLE_APP, "module"))] = 1;
    const struct table_row *start = table_find(TABLE_APP, "start");
    if (is_default(l, start)) {
        l->typed->app.start = CONF_START_CHECK;
        l->typed->lines[table_app_index(start)] = 1;
    }
    return set_directory(l);
}
