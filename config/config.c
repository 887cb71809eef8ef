/* config.c - loads a configuration: the layers in rising precedence, then the whole is checked and built.
 *
 *   command line ─ sorted out ─┐
 *   defaults ──▶ files ──▶ variables ──▶ flags ──▶ APP ──▶ inheritance, checks ──▶ struct conf
 *
 * All that is only needed on the way lives in a scratch arena that is gone at the end. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

static const char default_file[] = "gateway.ini";

enum { KILLING_MS = 1000 }; /* at most so much of `drain` is kept for killing, and a tenth of it at most */

static const char *kept(struct loader *l, const char *text)
{
    return text != NULL ? arena_copy(l->arena, text, strlen(text)) : NULL;
}

static bool begin(struct loader *l)
{
    l->drafts_end = &l->drafts;
    l->options_end = &l->options;
    l->scratch = arena_new();
    l->arena = arena_new();
    l->conf = l->arena != NULL ? arena_alloc(l->arena, sizeof(*l->conf)) : NULL;
    if (l->scratch == NULL || l->conf == NULL)
        return load_no_memory(l);
    l->conf->arena = l->arena;
    l->conf->refs = 1;
    l->conf->file = "";
    return true;
}

static bool take_defaults(struct loader *l)
{
    const struct place place = {.layer = LAYER_DEFAULT, .name = "default", .base = l->input->cwd};
    for (size_t i = 0; i < table_count; i++) {
        const struct table_row *row = &table_rows[i];
        l->places[i] = place;
        if ((row->flags & TABLE_INCLUDE) == 0 && !value_take(l, &place, NULL, row, row->standard))
            return false;
    }
    return true;
}

/* The name before ".settings" in a line of manage.py that sets DJANGO_SETTINGS_MODULE: the package with
 * wsgi.py. */
static bool django_package(const struct loader *l, char package[64])
{
    char path[4096], line[512];
    int n = snprintf(path, sizeof(path), "%s/manage.py", l->input->cwd);
    FILE *file = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "re") : NULL;
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        const char *name = strstr(line, "DJANGO_SETTINGS_MODULE");
        found = name != NULL && sscanf(name, "DJANGO_SETTINGS_MODULE%*[\"', ]%63[A-Za-z0-9_]", package) == 1;
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

static bool no_file(struct loader *l)
{
    char package[64];
    if (django_package(l, package))
        return load_fail(l, "no gateway.ini here, but a manage.py: try leangate %s.wsgi", package);
    return load_fail(l, "no gateway.ini here: name an app (leangate main:app) or a file (-c FILE)");
}

/* -c FILE, or gateway.ini of this directory unless there is an APP. */
static bool read_file(struct loader *l)
{
    if (l->file == NULL && l->app != NULL)
        return true;
    const char *shown = l->file != NULL ? l->file : default_file;
    const char *path = check_absolute(l->scratch, l->input->cwd, shown);
    if (path == NULL)
        return load_no_memory(l);
    if (l->file == NULL && access(path, F_OK) == -1 && errno == ENOENT)
        return no_file(l);
    l->conf->file = kept(l, shown);
    return l->conf->file != NULL ? sections_file(l, shown, path) : load_no_memory(l);
}

/* Files named by flags or the variable replace the include lines of the file, as any list does. */
static bool read_files(struct loader *l, FILE *stream, const char *shown)
{
    const char *variable = environment_get(l->input, "LEANGATE_INCLUDE");
    bool flagged = l->includes_given;
    l->includes_given = flagged || (variable != NULL && *variable != '\0');
    if (stream != NULL) {
        l->conf->file = kept(l, shown);
        if (l->conf->file == NULL || !sections_stream(l, stream, shown, l->input->cwd))
            return false;
    } else if (!read_file(l)) {
        return false;
    }
    return flagged ? options_include(l) : environment_include(l);
}

/* What conf_python will ask for: the configuration outlives the environment it was loaded with. */
static bool keep_environment(struct loader *l)
{
    const char *virtual_env = environment_get(l->input, "VIRTUAL_ENV");
    const char *search_path = environment_get(l->input, "PATH");
    l->conf->virtual_env = kept(l, virtual_env);
    l->conf->search_path = kept(l, search_path);
    bool lost = (virtual_env != NULL && l->conf->virtual_env == NULL) ||
                (search_path != NULL && l->conf->search_path == NULL);
    return !lost || load_no_memory(l);
}

static bool run(struct loader *l, FILE *stream, const char *shown, FILE *out)
{
    if (!begin(l) || !options_parse(l))
        return false;
    if (l->action == CONF_HELP || l->action == CONF_VERSION) {
        arena_free(l->arena);
        l->conf = NULL;
        return true;
    }
    /* $PORT after the flags: it yields to all that names a listener there or in the environment */
    bool good = take_defaults(l) && read_files(l, stream, shown) && environment_take(l) && options_take(l) &&
                environment_port(l) && argument_app(l) && keep_environment(l) && finish_all(l);
    if (good && l->action == CONF_DUMP && out != NULL)
        dump_conf(l, out);
    return good;
}

static int load(struct loader *l, FILE *stream, const char *shown, struct conf **conf, FILE *out)
{
    l->error->text[0] = '\0';
    bool good = run(l, stream, shown, out);
    arena_free(l->scratch);
    if (!good)
        arena_free(l->arena);
    *conf = good ? l->conf : NULL;
    return good ? 0 : -1;
}

int conf_load(const struct conf_input *input, enum conf_action *action, struct conf **conf, FILE *warn,
              FILE *out, struct conf_error *error)
{
    struct loader l = {.input = input, .error = error, .warn = warn, .action = CONF_RUN};
    int result = load(&l, NULL, NULL, conf, out);
    *action = l.action;
    return result;
}

int conf_load_stream(const struct conf_input *input, FILE *file, const char *shown, struct conf **conf,
                     struct conf_error *error)
{
    struct loader l = {.input = input, .error = error, .warn = stderr, .action = CONF_RUN};
    return load(&l, file, shown, conf, NULL);
}

struct conf *conf_ref(struct conf *conf)
{
    conf->refs++;
    return conf;
}

void conf_unref(struct conf *conf)
{
    if (conf != NULL && --conf->refs == 0)
        arena_free(conf->arena);
}

int64_t conf_drain_time(const struct conf *conf)
{
    int64_t tenth = conf->drain / 10;
    return conf->drain - (tenth < KILLING_MS ? tenth : KILLING_MS);
}

size_t conf_memory(const struct conf *conf)
{
    return arena_used(conf->arena);
}
