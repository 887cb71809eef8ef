/* gateway_apps.c - see gateway_apps.h. */
#include "gateway_apps.h"

void gateway_apps_start(struct gateway *g)
{
    struct conn_pool *pool = &g->pool;
    for (uint32_t i = 0; i < pool->conf->app_count; i++) {
        bool eager = pool->conf->apps[i].start == CONF_START_EAGER;
        struct app *app = eager ? conn_pool_app(pool, i) : NULL;
        if (app != NULL)
            app_start_early(app);
    }
}

void gateway_apps_stop(struct gateway *g, bool now)
{
    for (uint32_t i = 0; i < g->pool.conf->app_count; i++)
        if (g->pool.apps[i] != NULL)
            app_stop(g->pool.apps[i], now);
    struct list *node, *after;
    LIST_EACH (node, after, &g->retired)
        app_stop(LIST_OBJECT(node, struct app, node), now);
}

void gateway_apps_free_retired(struct gateway *g)
{
    struct list *node, *after;
    LIST_EACH (node, after, &g->retired) {
        struct app *app = LIST_OBJECT(node, struct app, node);
        if (!app_over(app))
            continue;
        list_remove(node);
        app_free(app);
    }
}

/* Starts one app in a process that ends right after. False: it cannot be loaded, which was logged. */
static bool check_app(struct gateway *g, uint32_t index)
{
    struct app *app = app_new(&g->shared, g->pool.conf, &g->pool.conf->apps[index], NULL);
    if (app == NULL)
        return false;
    app->checking = true;
    app_start_early(app);
    while (!app->checked && g->signal_count == 0) {
        gateway_work(g);
        if (!app->checked)
            ev_run(g->loop, EVRUN_ONCE);
    }
    g->shared.stopping = true;
    app_stop(app, g->signal_count > 0);
    while (app->roster.count > 0) {
        gateway_work(g);
        if (app->roster.count > 0)
            ev_run(g->loop, EVRUN_ONCE);
    }
    g->shared.stopping = false;
    bool ok = app->check_ok || g->signal_count > 0; /* a check that was broken off says nothing */
    app_free(app);
    return ok;
}

bool gateway_apps_check(struct gateway *g, bool every)
{
    bool ok = true;
    for (uint32_t i = 0; i < g->pool.conf->app_count && g->signal_count == 0; i++) {
        const struct conf_app *app = &g->pool.conf->apps[i];
        if (!every && app->start != CONF_START_CHECK)
            continue;
        bool loads = check_app(g, i);
        ok = ok && loads;
    }
    return ok;
}

void gateway_apps_free(struct gateway *g)
{
    if (g->pool.apps == NULL)
        return;
    for (uint32_t i = 0; i < g->pool.conf->app_count; i++)
        if (g->pool.apps[i] != NULL)
            app_free(g->pool.apps[i]);
    gateway_apps_free_retired(g);
}
