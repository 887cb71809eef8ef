/* notify.c - see notify.h. */
#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "task.h"
#include "timeq.h"

enum { MESSAGE_MAX = 256 };

static int fd = -1;
static bool stopping;
static uint32_t told_apps, told_workers;
static int64_t watchdog_ms; /* half the time in which a sign of life is wanted */
static struct timeq_entry watchdog;
static struct task watchdog_task;

/* A full socket loses the message, which is what the next one is for: nothing here may block. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    if (fd == -1)
        return;
    va_start(args, format);
    int n = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof(message) &&
        send(fd, message, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
        log_debug("the service manager was not told: %s", strerror(errno));
}

static void run_watchdog(struct task *task)
{
    tell("WATCHDOG=1");
    timeq_start(timeq_get(watchdog_ms), &watchdog, task);
}

/* $WATCHDOG_PID, where it stands, says whose sign of life is wanted. */
static void start_watchdog(void)
{
    const char *text = getenv("WATCHDOG_USEC"), *owner = getenv("WATCHDOG_PID");
    char *end = NULL;
    long long us = text != NULL ? strtoll(text, &end, 10) : 0;
    if (us <= 0 || *end != '\0' || (owner != NULL && strtol(owner, NULL, 10) != (long)getpid()))
        return;
    watchdog_ms = us / 2000 > 0 ? us / 2000 : 1;
    task_init(&watchdog_task, run_watchdog);
    timeq_start(timeq_get(watchdog_ms), &watchdog, &watchdog_task);
}

/* "/path", or "@name" for one in the abstract namespace. */
static bool connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(address.sun_path)) {
        log_warning("NOTIFY_SOCKET is no address of a unix socket: %s", name);
        return false;
    }
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd != -1 && connect(fd, (struct sockaddr *)&address,
                            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
        return true;
    log_warning("NOTIFY_SOCKET %s cannot be used: %s", name, strerror(errno));
    notify_close();
    return false;
}

void notify_open(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    if (name != NULL && name[0] != '\0' && connect_to(name))
        start_watchdog();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_close(void)
{
    timeq_stop(&watchdog);
    task_cancel(&watchdog_task);
    if (fd != -1)
        close(fd);
    fd = -1;
}

static const char *plural(uint32_t n)
{
    return n == 1 ? "" : "s";
}

void notify_ready(uint32_t apps, uint32_t workers)
{
    told_apps = apps;
    told_workers = workers;
    tell("READY=1\nSTATUS=%" PRIu32 " app%s, %" PRIu32 " worker%s", apps, plural(apps), workers,
         plural(workers));
}

void notify_reloading(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    tell("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reading the configuration again",
         (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

void notify_stopping(void)
{
    stopping = true;
    tell("STOPPING=1\nSTATUS=draining");
}

void notify_numbers(uint32_t apps, uint32_t workers)
{
    if (fd == -1 || stopping || (apps == told_apps && workers == told_workers))
        return;
    told_apps = apps;
    told_workers = workers;
    tell("STATUS=%" PRIu32 " app%s, %" PRIu32 " worker%s", apps, plural(apps), workers, plural(workers));
}
