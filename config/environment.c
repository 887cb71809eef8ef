/* environment.c - LEANGATE_* variables and $PORT. An empty one is not set: compose files make such. */
#include "load.h"

#include <string.h>

static const char prefix[] = "LEANGATE_";

#define PREFIX_LEN (sizeof(prefix) - 1)

const char *environment_get(const struct conf_input *input, const char *name)
{
    size_t len = strlen(name);
    for (char *const *at = input->environ; at != NULL && *at != NULL; at++)
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=')
            return *at + len + 1;
    return NULL;
}

static void own_part(const struct table_row *row, char *name)
{
    char whole[TABLE_NAME];
    table_variable(row, whole);
    memmove(name, whole + PREFIX_LEN, strlen(whole + PREFIX_LEN) + 1);
}

static void warn_unknown(struct loader *l, const char *name)
{
    const struct table_row *near = load_nearest(own_part, name + PREFIX_LEN);
    char known[TABLE_NAME] = "";
    if (near != NULL)
        table_variable(near, known);
    if (check_variable_name(name, strlen(name))) {
        (void)fprintf(l->warn, "unknown variable %.128s%s%s%s\n", name, near != NULL ? ", did you mean " : "",
                      known, near != NULL ? "?" : "");
    }
}

/* The place of a variable's value. */
static struct place variable(struct loader *l, const char *name)
{
    return (struct place){.layer = LAYER_VARIABLE, .name = name, .base = l->input->cwd};
}

static bool take_entry(struct loader *l, const char *entry)
{
    size_t len = strcspn(entry, "=");
    if (strncmp(entry, prefix, PREFIX_LEN) != 0 || entry[len] == '\0' || entry[len + 1] == '\0')
        return true;
    const char *name = arena_copy(l->scratch, entry, len);
    if (name == NULL)
        return load_no_memory(l);
    const struct table_row *row = table_find_variable(name);
    if (row == NULL) {
        warn_unknown(l, name);
        return true;
    }
    struct place place = variable(l, name);
    return (row->flags & TABLE_INCLUDE) != 0 || value_take(l, &place, NULL, row, entry + len + 1);
}

/* What other servers take the same list from, with commas. Our own variable goes before it. */
static bool take_allow_ips(struct loader *l)
{
    const char *own = environment_get(l->input, "LEANGATE_TRUSTED_PROXIES");
    const char *text = environment_get(l->input, "FORWARDED_ALLOW_IPS");
    struct place place = variable(l, "$FORWARDED_ALLOW_IPS");
    if ((own != NULL && *own != '\0') || text == NULL || *text == '\0')
        return true;
    const char *list = load_blanks(l, text);
    return list != NULL && value_take(l, &place, NULL, table_find(TABLE_GATEWAY, "trusted_proxies"), list);
}

bool environment_take(struct loader *l)
{
    if (!take_allow_ips(l))
        return false;
    for (char *const *at = l->input->environ; at != NULL && *at != NULL; at++)
        if (!take_entry(l, *at))
            return false;
    return true;
}

bool environment_include(struct loader *l)
{
    static const char name[] = "LEANGATE_INCLUDE";
    const char *text = environment_get(l->input, name);
    struct place place = variable(l, name);
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "\n");
        const char *pattern = arena_copy(l->scratch, text, len);
        if (pattern == NULL)
            return load_no_memory(l);
        if (len > 0 && !sections_include(l, &place, pattern))
            return false;
        text += len + (text[len] == '\n' ? 1 : 0);
    }
    return true;
}

/* $PORT takes the place of the first loopback listener; the others would be the same address again. */
static bool replace(struct loader *l, const struct place *place, const char *port)
{
    const struct conf_list old = l->conf->listen;
    struct conf_list list = {.items = NULL};
    bool replaced = false;
    for (uint32_t i = 0; i < old.count; i++) {
        const char *item = old.items[i];
        if (check_is_loopback(item)) {
            item = replaced ? NULL : arena_join(l->arena, l->dev ? "127.0.0.1:" : "0.0.0.0:", port, "");
            if (item == NULL && !replaced)
                return load_no_memory(l);
            replaced = true;
        }
        if (item != NULL && !value_append(l, &list, item))
            return false;
    }
    if (replaced) {
        l->conf->listen = list;
        l->places[table_index(table_find(TABLE_GATEWAY, "listen"))] = *place;
    }
    return true;
}

bool environment_port(struct loader *l)
{
    const char *port = environment_get(l->input, "PORT");
    struct place place = variable(l, "$PORT");
    if (port == NULL || *port == '\0' ||
        l->places[table_index(table_find(TABLE_GATEWAY, "listen"))].layer > LAYER_FILE)
        return true;
    if (!check_is_port(port))
        return load_fail_at(l, &place, NULL, NULL, "\"%s\" is not a port (0 to 65535)", port);
    return replace(l, &place, port);
}
