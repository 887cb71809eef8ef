/* cache.c - see cache.h.
 *
 *   cache_dir/UID/bytecode/...            as PYTHONPYCACHEPREFIX lays it out
 *   cache_dir/UID/APP-0123456789abcdef.files
 *   cache_dir/UID/APP-0123456789abcdef.imports */
#include "cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_open.h"
#include "safe_open.h"

/* Of an app that root has started as another user, who may have no home of its own: nobody, www-data. */
#define OF_THE_MACHINE "/var/cache/leangate"

/* False with "" in `path` when it does not fit. */
__attribute__((format(printf, 2, 3))) static bool put(char path[CACHE_PATH], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(path, CACHE_PATH, format, args);
    va_end(args);
    bool fits = n > 0 && n < CACHE_PATH;
    if (!fits)
        path[0] = '\0';
    return fits;
}

/* The user's own place under the directory that an environment variable names; of a list the first. */
static bool from_variable(char base[CACHE_PATH], const char *name, const char *below)
{
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' && put(base, "%.*s%s", (int)strcspn(value, ":"), value, below);
}

static bool has_home(uid_t user)
{
    struct stat st;
    const char *home = getenv("HOME");
    return home != NULL && stat(home, &st) == 0 && st.st_uid == user;
}

static bool find_base(const struct conf *conf, uid_t user, char base[CACHE_PATH])
{
    if (strcmp(conf->cache_dir, "off") == 0)
        return false;
    if (conf->cache_dir[0] != '\0')
        return put(base, "%s", conf->cache_dir);
    if (from_variable(base, "CACHE_DIRECTORY", "") || from_variable(base, "XDG_CACHE_HOME", "/leangate"))
        return true;
    if (conf->user[0] != '\0' && !has_home(user))
        return put(base, "%s", OF_THE_MACHINE);
    return from_variable(base, "HOME", "/.cache/leangate");
}

/* Opens a directory, which is made if it is missing and root alone may make it. -1: there is none. */
static int open_base(int above, const char *name)
{
    bool fresh = safe_open_is_roots(above) && mkdirat(above, name, 0755) == 0;
    int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1 || !fresh || fchmod(fd, 0755) == 0) /* whatever the umask of root is */
        return fd;
    close(fd);
    return -1;
}

/* Makes the user's directory in one that root alone can change; in any other the user needs no help, or
 * must not be trusted with it. */
static void make_below(int base, uid_t user, gid_t group)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%u", (unsigned)user);
    if (!safe_open_is_roots(base) || mkdirat(base, name, 0700) == -1)
        return;
    if (fchownat(base, name, user, group, AT_SYMLINK_NOFOLLOW) == -1)
        (void)unlinkat(base, name, AT_REMOVEDIR);
}

/* No link is followed on the way: it may be the user's, and lead where only root may make a directory. */
void cache_make(const struct conf *conf, uid_t user, gid_t group)
{
    char path[CACHE_PATH];
    if (!find_base(conf, user, path))
        return;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    int root = file_open_place("/", O_DIRECTORY);
    int above = file_open_walk(root, path[0] != '\0' ? path + 1 : ".");
    int base = open_base(above, slash + 1);
    if (base != -1)
        make_below(base, user, group);
    const int opened[] = {root, above, base};
    for (size_t i = 0; i < sizeof(opened) / sizeof(opened[0]); i++)
        if (opened[i] != -1)
            close(opened[i]);
}

/* FNV-1a, of the text and the NUL behind it. */
static uint64_t mix(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    while (*text++ != '\0');
    return hash;
}

/* Apps of one name that run something else, or elsewhere, do not share their records. */
static uint64_t identity(const struct conf_app *app, const char *python)
{
    const char *const parts[] = {python, app->directory, app->module, app->script, app->root};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        hash = mix(hash, parts[i]);
    return hash;
}

void cache_paths(struct cache *cache, const struct conf *conf, const struct conf_app *app, const char *python)
{
    char base[CACHE_PATH], record[CACHE_PATH];
    uid_t user = geteuid();
    cache->bytecode[0] = cache->files[0] = cache->imports[0] = '\0';
    if (!find_base(conf, user, base))
        return;
    if (app->bytecode == CONF_CACHE_AUTO)
        (void)put(cache->bytecode, "%s/%u/bytecode", base, (unsigned)user);
    if (!put(record, "%s/%u/%s-%016" PRIx64, base, (unsigned)user, app->name, identity(app, python)))
        return;
    if (app->prefetch == CONF_CACHE_AUTO)
        (void)put(cache->files, "%s.files", record);
    if (app->import_cache)
        (void)put(cache->imports, "%s.imports", record);
}
