/* router.c - see router.h. One array, sorted by domain and path; a lookup tries the few prefixes that the
 * path has. */
#include "router.h"

#include <stdlib.h>
#include <string.h>

enum { HOST_MAX = 255 };

struct entry {
    const char *domain; /* "" for any */
    const char *path;   /* "" for "/" */
    uint16_t domain_len;
    uint16_t path_len;
    uint32_t app;
};

struct router {
    uint32_t count;
    uint16_t longest; /* path_len of the longest route */
    struct entry entries[];
};

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = compare_text(a->domain, a->domain_len, b->domain, b->domain_len);
    return order != 0 ? order : compare_text(a->path, a->path_len, b->path, b->path_len);
}

static uint32_t count_routes(const struct conf *conf)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < conf->app_count; i++) {
        const struct conf_app *app = &conf->apps[i];
        n += (app->domain.count > 0 ? app->domain.count : 1) * app->path.count;
    }
    return n;
}

static void add(struct router *router, const char *domain, const char *path, uint32_t app)
{
    size_t path_len = strcmp(path, "/") == 0 ? 0 : strlen(path);
    if (path_len > router->longest)
        router->longest = (uint16_t)path_len;
    router->entries[router->count++] = (struct entry){
        .domain = domain,
        .domain_len = (uint16_t)strlen(domain),
        .path = path,
        .path_len = (uint16_t)path_len,
        .app = app,
    };
}

struct router *router_new(const struct conf *conf)
{
    struct router *router = calloc(1, sizeof(*router) + count_routes(conf) * sizeof(router->entries[0]));
    if (router == NULL)
        return NULL;
    for (uint32_t i = 0; i < conf->app_count; i++) {
        const struct conf_app *app = &conf->apps[i];
        for (uint32_t p = 0; p < app->path.count; p++) {
            for (uint32_t d = 0; d < app->domain.count; d++)
                add(router, app->domain.items[d], app->path.items[p], i);
            if (app->domain.count == 0)
                add(router, "", app->path.items[p], i);
        }
    }
    qsort(router->entries, router->count, sizeof(router->entries[0]), compare);
    return router;
}

void router_free(struct router *router)
{
    free(router);
}

static const struct entry *find_exact(const struct router *router, const char *domain, size_t domain_len,
                                      const char *path, size_t path_len)
{
    const struct entry key = {
        .domain = domain, .domain_len = (uint16_t)domain_len, .path = path, .path_len = (uint16_t)path_len};
    return bsearch(&key, router->entries, router->count, sizeof(key), compare);
}

/* The longest prefix of whole segments within one domain. */
static const struct entry *find_path(const struct router *router, const char *domain, size_t domain_len,
                                     const char *path, size_t path_len)
{
    size_t n = path_len;
    for (;;) {
        bool boundary = n == path_len || path[n] == '/';
        if (boundary && n <= router->longest) {
            const struct entry *entry = find_exact(router, domain, domain_len, path, n);
            if (entry != NULL || n == 0)
                return entry;
        }
        if (n == 0)
            return NULL;
        n = n > (size_t)router->longest + 1 ? router->longest : n - 1;
    }
}

/* Lower case, without port and final dot; returns the length. */
static size_t normalise_host(const char *host, size_t len, char out[HOST_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < HOST_MAX; i++) {
        char c = host[i];
        if (c == ':' && host[0] != '[')
            break;
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        if (c == ']')
            break;
    }
    return n > 1 && out[n - 1] == '.' ? n - 1 : n;
}

bool router_find(const struct router *router, const char *host, size_t host_len, const char *path,
                 size_t path_len, struct route *route)
{
    char name[HOST_MAX + 1];
    size_t n = normalise_host(host, host_len, name + 1);
    const struct entry *entry = n > 0 ? find_path(router, name + 1, n, path, path_len) : NULL;
    /* "*.example.com": the pattern is laid over the name, one label shorter each time */
    for (size_t i = 1; entry == NULL && i <= n; i++)
        if (name[i] == '.' && i > 1) {
            char before = name[i - 1];
            name[i - 1] = '*';
            entry = find_path(router, name + i - 1, n - i + 2, path, path_len);
            name[i - 1] = before;
        }
    if (entry == NULL)
        entry = find_path(router, "", 0, path, path_len);
    if (entry == NULL)
        return false;
    *route = (struct route){.app = entry->app, .prefix_len = entry->path_len};
    return true;
}
