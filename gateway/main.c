/* main.c - options, load the configuration, run, exit codes. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "gateway.h"
#include "profile.h"
#include "version.h"
#include "warm.h"

/* Takes the reference to the configuration over. */
static enum gateway_exit act(enum conf_action action, struct conf *conf, const struct conf_input *input)
{
    switch (action) {
    case CONF_VERSION:
        puts("leangate " LEANGATE_VERSION);
        return GATEWAY_OK;
    case CONF_HELP:
        conf_help(stdout);
        return GATEWAY_OK;
    case CONF_DUMP: /* written by conf_load */
        conf_unref(conf);
        return GATEWAY_OK;
    case CONF_PROFILE:
        return profile_run(conf);
    case CONF_CHECK:
        return gateway_check(conf);
    case CONF_WARM:
        return warm_run(conf);
    case CONF_RUN:
        break;
    }
    return gateway_run(conf, input);
}

/* What is opened next must not become one of the standard descriptors. */
static bool have_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd > STDERR_FILENO && close(fd) == 0;
}

int main(int argc, char **argv)
{
    if (!have_standard_descriptors()) {
        perror("leangate: /dev/null");
        return GATEWAY_INTERNAL;
    }
    struct conf *conf = NULL;
    struct conf_error error;
    enum conf_action action = CONF_RUN;
    char *cwd = getcwd(NULL, 0);
    const struct conf_input input = {
        .argc = argc > 0 ? argc - 1 : 0,
        .argv = argv + 1,
        .environ = environ,
        .cwd = cwd != NULL ? cwd : "/",
    };
    enum gateway_exit status = GATEWAY_USAGE;
    if (conf_load(&input, &action, &conf, stderr, stdout, &error) == -1)
        fprintf(stderr, "leangate: %s\n", error.text);
    else
        status = act(action, conf, &input);
    free(cwd);
    if (fflush(stdout) != 0 && status == GATEWAY_OK)
        status = GATEWAY_INTERNAL;
    return (int)status;
}
