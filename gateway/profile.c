/* profile.c - see profile.h. */
#include "profile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "library.h"
#include "privileges.h"
#include "spawn.h"

enum { FIXED = 8 /* arguments beside paths and the worker's, with the NULL at the end */ };

static const char code[] = "import sys; sys.path.insert(0, sys.argv[1]); import pyworker.profile";

/* The app of the command line, the named one of the file, or the only one there is. */
static const struct conf_app *choose(const struct conf *conf)
{
    const char *name = conf->profiled_app != NULL ? conf->profiled_app : conf->typed_app;
    for (uint32_t i = 0; i < conf->app_count; i++)
        if (conf->app_count == 1 || conf->apps[i].name == name)
            return &conf->apps[i];
    return NULL;
}

/* python -c CODE LIBRARY DIRECTORY NAME [PATH ...] -- and the worker's own arguments. */
static const char **arguments(const struct conf *conf, const struct conf_app *app,
                              const struct command *command, const char *library, const char *directory)
{
    size_t words = 0, n = 0;
    while (command->argv[words] != NULL)
        words++;
    const char **argv = calloc(FIXED + conf->profiled.count + words, sizeof(*argv));
    if (argv == NULL)
        return NULL;
    argv[n++] = command->program;
    argv[n++] = "-c";
    argv[n++] = code;
    argv[n++] = library;
    argv[n++] = directory;
    argv[n++] = app->name;
    for (uint32_t i = 0; i < conf->profiled.count; i++)
        argv[n++] = conf->profiled.items[i];
    argv[n++] = "--";
    for (size_t i = 1; command->argv[i] != NULL; i++)
        argv[n++] = command->argv[i];
    return argv;
}

/* Returns when it cannot. */
static void become(const struct conf_app *app, const char *program, const char **argv)
{
    union {
        const char **in;
        char *const *out;
    } both = {.in = argv}; /* as for any execv */
    if (chdir(app->directory) == -1) {
        fprintf(stderr, "leangate: cannot enter directory %s: %s\n", app->directory, strerror(errno));
        return;
    }
    spawn_environment(app);
    execv(program, both.out);
    fprintf(stderr, "leangate: cannot run %s: %s\n", program, strerror(errno));
}

enum gateway_exit profile_run(const struct conf *conf)
{
    struct conf_error error = {.text = "no memory"};
    const struct conf_app *app = choose(conf);
    if (app == NULL || app->kind == CONF_KIND_FASTCGI) {
        fprintf(stderr, "leangate: profile is for one Python app: leangate profile APP, or -c FILE NAME for "
                        "[app:NAME]\n");
        return GATEWAY_USAGE;
    }
    if (!privileges_drop(conf))
        return GATEWAY_CANNOT_START;
    char *library = library_find(), *directory = getcwd(NULL, 0);
    struct command *command =
        library != NULL && directory != NULL ? command_new(conf, app, library, &error) : NULL;
    const char **argv = command != NULL ? arguments(conf, app, command, library, directory) : NULL;
    if (argv != NULL)
        become(app, command->program, argv);
    else
        fprintf(stderr, "leangate: %s\n", library != NULL ? error.text : "the directory pyworker is missing");
    free(argv);
    free(command);
    free(directory);
    free(library);
    return GATEWAY_CANNOT_START;
}
