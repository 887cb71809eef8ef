/* python.c - which interpreter runs an app, found by looking at files only.
 *
 *   python = auto     .venv, venv, $VIRTUAL_ENV, python3 of $PATH;
 *                     for an app of the command line $VIRTUAL_ENV goes first
 *   python = NAME     a directory of that name in the app's: a venv; else NAME of $PATH
 *   python = a/path   a venv's directory or an interpreter
 *
 * An interpreter inside a venv is never resolved: its own path is how Python finds the venv. */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4096

static const char standard_path[] = "/usr/local/bin:/usr/bin:/bin";

/* A search: where it puts what it finds, and what it has looked at. */
struct search {
    const struct conf *conf;
    const struct conf_app *app;
    char *path; /* PATH_ROOM bytes */
    char tried[700];
};

enum found { FOUND, NOT_FOUND, BROKEN };

__attribute__((format(printf, 2, 3))) static void tried(struct search *s, const char *format, ...)
{
    size_t len = strlen(s->tried);
    va_list args;
    va_start(args, format);
    (void)snprintf(s->tried + len, sizeof(s->tried) - len, "%s", len > 0 ? ", " : "");
    len = strlen(s->tried);
    (void)vsnprintf(s->tried + len, sizeof(s->tried) - len, format, args);
    va_end(args);
}

/* errno says why not. */
__attribute__((format(printf, 2, 3))) static bool put(char *path, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(path, PATH_ROOM, format, args);
    va_end(args);
    if (len < PATH_ROOM)
        return len >= 0;
    errno = ENAMETOOLONG;
    return false;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* errno says why not. */
static bool runnable(const char *path)
{
    struct stat st;
    if (stat(path, &st) == -1)
        return false;
    if (!S_ISREG(st.st_mode)) {
        errno = EACCES;
        return false;
    }
    return access(path, X_OK) == 0;
}

static bool exists(const char *directory, const char *name)
{
    char path[PATH_ROOM];
    return put(path, "%s/%s", directory, name) && access(path, F_OK) == 0;
}

/* The interpreter of a venv. A venv whose interpreter is gone is not passed over: the app would run without
 * its packages, and the message would be about the first of them. */
static enum found in_venv(struct search *s, const char *directory)
{
    static const char *const names[] = {"python", "python3"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (put(s->path, "%s/bin/%s", directory, names[i]) && runnable(s->path))
            return FOUND;
    tried(s, "%s/bin/python (%s)", directory, strerror(errno));
    return exists(directory, "pyvenv.cfg") ? BROKEN : NOT_FOUND;
}

static enum found in_app_venv(struct search *s, const char *name)
{
    char directory[PATH_ROOM];
    if (!put(directory, "%s/%s", s->app->directory, name))
        return NOT_FOUND;
    return in_venv(s, directory);
}

static enum found in_virtual_env(struct search *s)
{
    const char *directory = s->conf->virtual_env;
    if (directory == NULL || directory[0] != '/') {
        tried(s, "$VIRTUAL_ENV (not set)");
        return NOT_FOUND;
    }
    return in_venv(s, directory);
}

static enum found on_path(struct search *s, const char *name)
{
    const char *at = s->conf->search_path != NULL ? s->conf->search_path : standard_path;
    while (*at != '\0') {
        size_t len = strcspn(at, ":");
        /* a relative entry means the directory of the moment, which is nobody's intention here */
        if (at[0] == '/' && put(s->path, "%.*s/%s", (int)len, at, name) && runnable(s->path))
            return FOUND;
        at += len + (at[len] == ':' ? 1 : 0);
    }
    tried(s, "%s on $PATH", name);
    return NOT_FOUND;
}

static enum found automatic(struct search *s)
{
    bool typed = s->conf->typed_app != NULL && s->conf->typed_app == s->app->name;
    enum found found = typed ? in_virtual_env(s) : NOT_FOUND;
    found = found == NOT_FOUND ? in_app_venv(s, ".venv") : found;
    found = found == NOT_FOUND ? in_app_venv(s, "venv") : found;
    found = found == NOT_FOUND && !typed ? in_virtual_env(s) : found;
    return found == NOT_FOUND ? on_path(s, "python3") : found;
}

static enum found named(struct search *s, const char *python)
{
    char path[PATH_ROOM];
    bool whole = python[0] == '/';
    bool fits = put(path, "%s%s%s", whole ? "" : s->app->directory, whole ? "" : "/", python);
    if (fits && is_directory(path))
        return in_venv(s, path);
    if (strchr(python, '/') == NULL)
        return on_path(s, python);
    if (fits && put(s->path, "%s", path) && runnable(s->path))
        return FOUND;
    tried(s, "%s (%s)", path, strerror(errno));
    return NOT_FOUND;
}

/* ---- the label ---- */

/* "3.11" of "version = 3.11.2" (venv) or "version_info = 3.11.2.final.0" (virtualenv); false: neither. */
static bool venv_version(const char *root, char version[16])
{
    char path[PATH_ROOM];
    char line[256];
    unsigned major;
    unsigned minor;
    bool found = false;
    FILE *file = put(path, "%s/pyvenv.cfg", root) ? fopen(path, "re") : NULL;
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        found = sscanf(line, "version = %3u.%3u", &major, &minor) == 2 ||
                sscanf(line, "version_info = %3u.%3u", &major, &minor) == 2;
    }
    if (found)
        (void)snprintf(version, 16, "%u.%u", major, minor);
    if (file != NULL)
        (void)fclose(file);
    return found;
}

/* "3.11" where the path leads to a file python3.11. */
static bool resolved_version(const char *path, char version[16])
{
    char *real = realpath(path, NULL);
    const char *name = real != NULL ? strrchr(real, '/') : NULL;
    unsigned major;
    unsigned minor;
    bool found = name != NULL && sscanf(name, "/python%3u.%3u", &major, &minor) == 2;
    if (found)
        (void)snprintf(version, 16, "%u.%u", major, minor);
    free(real);
    return found;
}

/* The venv of an interpreter, as people call it: relative to the app's directory, or its last part. */
static bool venv_name(const struct conf_app *app, const char *path, char root[PATH_ROOM], const char **name)
{
    (void)put(root, "%s", path);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(root, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    size_t len = strlen(app->directory);
    bool inside =
        strncmp(root, app->directory, len) == 0 && root[len] == '/' && strncmp(root + len, "/../", 4) != 0;
    const char *last = strrchr(root, '/');
    *name = inside ? root + len + 1 : last != NULL ? last + 1 : root;
    return exists(root, "pyvenv.cfg");
}

static void make_label(const struct conf_app *app, const char *path, char label[128])
{
    char root[PATH_ROOM];
    const char *name = "";
    char version[16] = "";
    bool venv = venv_name(app, path, root, &name);
    if (!(venv && venv_version(root, version)) && !resolved_version(path, version)) {
        const char *base = strrchr(path, '/');
        (void)snprintf(label, 128, "%.60s%s%.60s", venv ? name : "", venv ? " " : "",
                       base != NULL ? base + 1 : path);
        return;
    }
    (void)snprintf(label, 128, "%.90s%spython %s", venv ? name : "", venv ? " " : "", version);
}

int conf_python(const struct conf *conf, const struct conf_app *app, char path[4096], char label[128],
                struct conf_error *error)
{
    struct search s = {.conf = conf, .app = app, .path = path};
    bool any = strcmp(app->python, "auto") == 0;
    if ((any ? automatic(&s) : named(&s, app->python)) != FOUND) {
        (void)snprintf(error->text, sizeof(error->text), "%s: no Python for python = %.120s, tried %s",
                       app->name, app->python, s.tried);
        return -1;
    }
    make_label(app, path, label);
    return 0;
}
