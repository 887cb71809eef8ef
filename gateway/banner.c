/* banner.c - see banner.h. */
#include "banner.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "listener.h"
#include "log.h"
#include "units.h"
#include "version.h"

enum { BANNER_APPS = 20 }; /* apps that are named; the rest is a number */

/* What answers: a module, a file, a directory, another server. */
static const char *name_of(const struct conf_app *app)
{
    const char *const names[] = {app->module, app->script, app->root, app->address, app->command};
    size_t i = 0;
    while (*names[i] == '\0') /* one is there: the configuration sees to it */
        i++;
    return names[i];
}

static void find_python(const struct conf *conf, const struct conf_app *app, char label[128])
{
    char python[4096];
    struct conf_error error;
    if (conf_python(conf, app, python, label, &error) == 0)
        return;
    log_warning("%s", error.text);
    snprintf(label, 128, "no python");
}

static void tell_app(const struct conf *conf, const struct conf_app *app)
{
    char label[128] = "fastcgi", idle[UNITS_TEXT], when[64] = "stays once started";
    const char *domain = app->domain.count > 0 ? app->domain.items[0] : "";
    if (*app->address != '\0') {
        log_info("  %s%s  %s  %s  runs already", domain, app->path.items[0], app->address, label);
        return;
    }
    if (access(app->directory, X_OK) == -1)
        log_warning("%s: directory %s: %s", app->name, app->directory, strerror(errno));
    if (app->kind != CONF_KIND_FASTCGI)
        find_python(conf, app, label);
    if (app->idle_timeout != CONF_OFF) {
        units_time_text(app->idle_timeout, idle);
        snprintf(when, sizeof(when), "stops after %s idle", idle);
    }
    log_info("  %s%s  %s  %s  %s, %s", domain, app->path.items[0], name_of(app), label,
             app->start == CONF_START_EAGER ? "starts now" : "asleep: starts on request", when);
}

static bool in_container(void)
{
    return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 ||
           getenv("KUBERNETES_SERVICE_HOST") != NULL;
}

/* What costs people an hour when nobody says it. */
static void give_hints(const struct conf *conf)
{
    bool outside = false, unix_socket = false, debug = false;
    const char *port = NULL; /* with its colon */
    for (uint32_t i = 0; i < conf->listen.count; i++) {
        const char *spec = conf->listen.items[i];
        bool is_unix = strncmp(spec, "unix:", 5) == 0, inside = check_is_loopback(spec);
        unix_socket = unix_socket || is_unix;
        outside = outside || (!is_unix && !inside);
        port = inside ? strrchr(spec, ':') : port;
    }
    for (uint32_t i = 0; i < conf->app_count; i++)
        debug = debug || conf->apps[i].debug;
    if (outside && debug)
        log_warning("debug is on and not only this machine can connect: everybody gets to see tracebacks");
    if (conf->status_listen[0] != '\0' && strncmp(conf->status_listen, "unix:", 5) != 0 &&
        !check_is_loopback(conf->status_listen))
        log_warning("the status listener is open to other machines: it shows routes, errors and output");
    if (!outside && !unix_socket && port != NULL && in_container())
        log_warning("inside a container 127.0.0.1 is reached by nobody else: try --bind %s", port);
}

void banner_warn(const struct conf *conf)
{
    for (uint32_t i = 0; i < conf->app_count; i++)
        for (uint32_t n = 0; n < conf->apps[i].static_count; n++) {
            const char *directory = conf->apps[i].statics[n].directory;
            char inside[PATH_MAX];
            int len = snprintf(inside, sizeof(inside), "%s/.", directory); /* a file is no directory */
            if (len >= 0 && (size_t)len < sizeof(inside) && access(inside, X_OK) == -1)
                log_warning("%s: static %s: %s", conf->apps[i].name, directory, strerror(errno));
        }
}

void banner_tell(const struct conf *conf, const struct forwarded *forwarded, const struct list *listeners,
                 const struct list *status_listeners)
{
    char where[512];
    size_t n = 0;
    struct list *node, *after;
    LIST_EACH (node, after, listeners) {
        const struct listener *l = LIST_OBJECT(node, struct listener, node);
        int len = snprintf(where + n, sizeof(where) - n, "%s%s", n > 0 ? " and " : "", l->url);
        if (len > 0 && n + (size_t)len < sizeof(where))
            n += (size_t)len;
    }
    where[n] = '\0';
    log_info("leangate " LEANGATE_VERSION " on %s  (Ctrl-C stops)", where);
    LIST_EACH (node, after, status_listeners)
        log_info("  status on %s", LIST_OBJECT(node, struct listener, node)->url);
    give_hints(conf);
    banner_warn(conf);
    if (forwarded_trusts_all(forwarded))
        log_warning("trusted_proxies = *: whoever connects can claim any address, scheme and host");
    for (uint32_t i = 0; i < conf->app_count && i < BANNER_APPS; i++)
        tell_app(conf, &conf->apps[i]);
    if (conf->app_count > BANNER_APPS)
        log_info("  and %u more apps", conf->app_count - BANNER_APPS);
}
