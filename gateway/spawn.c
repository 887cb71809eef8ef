/* spawn.c - see spawn.h.
 *
 * fork and exec, not posix_spawn: what has to happen in between (process group, death signal, limits,
 * directory, environment) cannot be said to posix_spawn. The gateway has one thread, so the child may use all
 * of libc. */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file_open.h"
#include "net.h"
#include "prefetch.h"
#include "version.h"

enum {
    CONTROL_FD = 3,
    CHILD_FDS = 4,        /* 0 listening socket, 1 2 output, 3 control channel */
    EXIT_CANNOT_RUN = 127 /* as a shell says it */
};

static struct rlimit files_before;

void spawn_keep_limits(void)
{
    if (getrlimit(RLIMIT_NOFILE, &files_before) == -1)
        files_before.rlim_max = 0;
}

/* ---- the private socket ---- */

/* A fresh directory in `place` that only we can enter: its descriptor, or -1. */
static int private_directory(const char *place, char path[4096])
{
    int n = snprintf(path, 4096, "%s/leangate-XXXXXX", place);
    if (n <= 0 || n >= 4096) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkdtemp(path) == NULL)
        return -1;
    int fd = file_open_place(path, O_DIRECTORY);
    int code = errno;
    if (fd == -1)
        rmdir(path);
    errno = code;
    return fd;
}

static int bind_path(int fd, const char *path)
{
    struct net_address a;
    if (!net_unix_address(path, &a)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return bind(fd, &a.to.any, a.len);
}

/* Binds through the directory's descriptor, so that the length of its path does not matter, then forgets the
 * name, whatever else fails: the directory can be removed. */
static int bind_nameless(struct spawn_socket *s, int dir, int backlog)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/s", dir);
    if (bind_path(s->listen_fd, path) == -1)
        return -1;
    s->path_fd = file_open_place(path, 0);
    int code = errno;
    if (unlinkat(dir, "s", 0) == -1)
        return -1;
    errno = code;
    if (s->path_fd == -1 || listen(s->listen_fd, backlog) == -1)
        return -1;
    snprintf(s->path, sizeof(s->path), "/proc/self/fd/%d", s->path_fd);
    return 0;
}

static int socket_in(const char *place, struct spawn_socket *s, int backlog)
{
    char path[4096];
    *s = (struct spawn_socket){.listen_fd = -1, .path_fd = -1};
    int dir = private_directory(place, path);
    if (dir == -1)
        return -1;
    int failed = -1;
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listen_fd != -1)
        failed = bind_nameless(s, dir, backlog);
    if (failed && s->listen_fd != -1 && access("/proc/self/fd", F_OK) == -1) {
        int n = snprintf(s->path, sizeof(s->path), "%s/s", path);
        if (n > 0 && (size_t)n < sizeof(s->path) && bind_path(s->listen_fd, s->path) == 0)
            failed = listen(s->listen_fd, backlog);
    }
    int code = errno;
    if (failed || s->path_fd != -1)
        rmdir(path);
    close(dir);
    if (failed)
        spawn_socket_close(s);
    errno = code;
    return failed;
}

/* In the first of the usual places that takes it: one may take a directory and no socket in it. */
int spawn_socket(struct spawn_socket *s, int backlog)
{
    const char *const places[] = {getenv("RUNTIME_DIRECTORY"), getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"),
                                  "/tmp"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (places[i] == NULL || places[i][0] != '/')
            continue;
        if (socket_in(places[i], s, backlog) == 0)
            return 0;
        if (net_is_shortage(errno)) /* of the machine's, not of the place */
            return -1;
    }
    return -1;
}

void spawn_socket_close(struct spawn_socket *s)
{
    if (s->listen_fd != -1)
        close(s->listen_fd);
    if (s->path_fd != -1) {
        close(s->path_fd);
    } else if (s->path[0] != '\0') {
        unlink(s->path);
        char *slash = strrchr(s->path, '/');
        if (slash != NULL) {
            *slash = '\0';
            rmdir(s->path);
        }
    }
    *s = (struct spawn_socket){.listen_fd = -1, .path_fd = -1};
}

/* ---- in the child ---- */

/* Tells why the worker cannot run, in the words of its own FAILED message, and ends the child. */
static void __attribute__((noreturn, format(printf, 1, 2))) refuse(const char *format, ...)
{
    char text[SPAWN_ERROR_MAX] = "FAILED\n";
    size_t head = strlen(text);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text + head, sizeof(text) - head, format, ap);
    va_end(ap);
    if (n > 0 && send(CONTROL_FD, text, strlen(text), MSG_NOSIGNAL) == -1)
        (void)dprintf(STDERR_FILENO, "leangate: %s\n", text + head); /* if this fails the exit says enough */
    _exit(EXIT_CANNOT_RUN);
}

/* A descriptor whose own number is one of 0 to 3 is first moved above them, so that no dup2() closes one that
 * is still needed. The others stay where they are: there may be no free number. */
static void place_descriptors(const struct spawn *s)
{
    const int from[CHILD_FDS] = {s->listen_fd, s->out_fd, s->err_fd, s->control_fd};
    int parked[CHILD_FDS];
    for (int i = 0; i < CHILD_FDS; i++) {
        parked[i] = from[i] < CHILD_FDS ? fcntl(from[i], F_DUPFD_CLOEXEC, CHILD_FDS) : from[i];
        if (parked[i] == -1) {
            int code = errno;
            if (dup2(s->control_fd, CONTROL_FD) == CONTROL_FD) /* takes none that is free */
                refuse("no descriptors to start with: %s", strerror(code));
            _exit(EXIT_CANNOT_RUN);
        }
    }
    for (int i = 0; i < CHILD_FDS; i++)
        if (dup2(parked[i], i) == -1)
            _exit(EXIT_CANNOT_RUN);
    if (s->app->kind == CONF_KIND_FASTCGI && fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) == -1)
        _exit(EXIT_CANNOT_RUN);
    if (syscall(SYS_close_range, CHILD_FDS, ~0u, 0) == -1) {
        struct rlimit limit;
        int end =
            getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
        for (int fd = CHILD_FDS; fd < end; fd++)
            close(fd);
    }
}

static void default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL); /* fails for those that cannot be changed, which are at their default anyway */
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whether a variable of the gateway's own environment is handed on. */
static bool inherits(const char *entry, bool clear_env)
{
    static const char *const ours[] = {"LEANGATE_", "LISTEN_", "NOTIFY_", "WATCHDOG_"};
    static const char *const kept[] = {"PATH=", "HOME=", "LANG=", "LC_", "TZ=", "TMPDIR="};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (has_prefix(entry, ours[i]))
            return false;
    if (!clear_env)
        return true;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (has_prefix(entry, kept[i]))
            return true;
    return false;
}

static int put_entry(const char *entry, void *arg)
{
    (void)arg;
    char *copy = strdup(entry);              /* lives in the environment, until exec */
    return copy == NULL ? -1 : putenv(copy); /* NOLINT(clang-analyzer-unix.Malloc) */
}

/* A copy of the environment's array: libc frees its own, which setenv() has made, at the first putenv() to
 * another one. To be freed. */
static char **entries_before(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **entries = calloc(count + 1, sizeof(*entries));
    if (entries == NULL)
        refuse("no memory for the environment");
    memcpy(entries, environ, count * sizeof(*entries));
    return entries;
}

void spawn_environment(const struct conf_app *app)
{
    char **before = entries_before();
    struct conf_error error;
    static char *none[] = {NULL};
    environ = none;
    for (char **entry = before; *entry != NULL; entry++)
        if (inherits(*entry, app->clear_env) && putenv(*entry) != 0)
            refuse("no memory for the environment");
    free(before);
    /* what web.py asks for to learn that it serves the public: without it its error pages show all sources
     * and variables */
    if (setenv("SERVER_SOFTWARE", "leangate/" LEANGATE_VERSION, 0) == -1)
        refuse("no memory for the environment");
    /* php-cgi ends by itself after 500 requests, under what it has been given by then; max_requests does
     * without */
    if (app->kind == CONF_KIND_FASTCGI && setenv("PHP_FCGI_MAX_REQUESTS", "0", 0) == -1)
        refuse("no memory for the environment");
    for (uint32_t i = 0; i < app->env_file.count; i++)
        if (conf_env_file(app->env_file.items[i], put_entry, NULL, &error) == -1)
            refuse("%s", error.text);
    for (uint32_t i = 0; i < app->env.count; i++)
        if (put_entry(app->env.items[i], NULL) != 0)
            refuse("no memory for the environment");
}

/* `limit` of the app's configuration, or CONF_OFF: as it is. */
static void limit_resource(int resource, const char *key, int64_t limit)
{
    const struct rlimit both = {(rlim_t)limit, (rlim_t)limit};
    if (limit != CONF_OFF && setrlimit(resource, &both) == -1)
        refuse("%s = %lld: %s", key, (long long)limit, strerror(errno));
}

static void limit_resources(const struct conf_app *app)
{
    const struct rlimit no_core = {0, 0};
    if (files_before.rlim_max != 0)
        (void)setrlimit(RLIMIT_NOFILE, &files_before);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    limit_resource(RLIMIT_NOFILE, "limit_files", app->limit_files);
    limit_resource(RLIMIT_NPROC, "limit_processes", app->limit_processes);
    limit_resource(RLIMIT_AS, "limit_address_space", app->limit_address_space);
}

static void __attribute__((noreturn)) become_worker(const struct spawn *s, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the death signal was set */
        _exit(EXIT_CANNOT_RUN);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    default_signals();
    place_descriptors(s);
    if (s->app->umask != CONF_OFF)
        umask((mode_t)s->app->umask);
    if (chdir(s->app->directory) == -1)
        refuse("cannot enter directory %s: %s", s->app->directory, strerror(errno));
    spawn_environment(s->app);
    limit_resources(s->app);
    prefetch_begin(s->files);
    union {
        const char *const *in;
        char *const *out;
    } argv = {.in = s->argv}; /* execv takes char *const[] for historical reasons and changes nothing */
    if (s->app->kind == CONF_KIND_FASTCGI)
        execvp(s->program, argv.out);
    else
        execv(s->program, argv.out);
    refuse("cannot run %s: %s", s->program, strerror(errno));
}

pid_t spawn_process(const struct spawn *s)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_worker(s, parent);
    if (pid != -1)
        setpgid(pid, pid); /* the child does the same: whoever comes first */
    return pid;
}
