/* warm.c - see warm.h. A start does not need what is kept, so a worker that cannot keep it serves all the
 * same; whoever warms an image wants to know. */
#include "warm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "library.h"
#include "log.h"

/* False, and told, if a start of the app has left no such record. `path`: "" if there is to be none. */
static bool is_kept(const struct conf_app *app, const char *path)
{
    if (path[0] == '\0' || access(path, R_OK) == 0)
        return true;
    log_error(
        "%s: nothing is kept for its next start: %s: %s; set [gateway] cache_dir to a directory that user "
        "%u may write to, or to off",
        app->name, path, strerror(errno), (unsigned)geteuid());
    return false;
}

static bool left_all(const struct conf *conf, const struct conf_app *app, const char *library)
{
    struct conf_error error;
    struct command *command = command_new(conf, app, library, &error);
    if (command == NULL) {
        log_error("%s", error.text);
        return false;
    }
    bool all = is_kept(app, command->cache.files) && is_kept(app, command->cache.imports);
    free(command);
    return all;
}

enum gateway_exit warm_run(struct conf *conf)
{
    conf_ref(conf);
    enum gateway_exit status = gateway_check(conf);
    char *library = library_find();
    for (uint32_t i = 0; status == GATEWAY_OK && library != NULL && i < conf->app_count; i++)
        if (!left_all(conf, &conf->apps[i], library))
            status = GATEWAY_CANNOT_START;
    free(library);
    conf_unref(conf);
    return status;
}
