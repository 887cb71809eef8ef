/* tell.c - see tell.h. */
#include "tell.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "log.h"
#include "units.h"

void tell_ready(const struct worker *w)
{
    log_info("%s: ready in %.0f ms (import %.0f)", w->owner.app->name, (w->ready - w->spawned) * 1e3,
             (double)w->import_us / 1e3);
}

void tell_idle_stop(const struct worker *w)
{
    char idle[UNITS_TEXT];
    units_time_text(w->owner.app->idle_timeout, idle);
    log_info("%s: stopped after %s idle, %.1f MB given back; gateway %.1f MB", w->owner.app->name, idle,
             (double)worker_memory(w->child.pid) / 1e6, (double)worker_memory(0) / 1e6);
}

void tell_failure(const struct worker *w, const char *text)
{
    char line[1024];
    size_t n = strcspn(text, "\n");
    log_error("app %s: %.*s", w->owner.app->name, (int)log_clean(line, sizeof(line), text, n), line);
    if (text[n] == '\n')
        log_text(text + n + 1, strlen(text + n + 1));
}

/* An exit that nobody asked for. */
static void tell_crash(const struct worker *w)
{
    const char *name = w->owner.app->name;
    int pid = (int)w->child.pid, status = w->child.status;
    if (WIFSIGNALED(status))
        log_error("%s: worker %d was killed by signal %d (%s)", name, pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else
        log_error("%s: worker %d exited with status %d%s", name, pid, WEXITSTATUS(status),
                  w->ready == 0 ? " before it was ready" : "");
}

void tell_exit(const struct worker *w)
{
    const char *name = w->owner.app->name;
    int pid = (int)w->child.pid, status = w->child.status;
    bool killed = w->state == WORKER_KILL && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool asked = w->state == WORKER_TERM || w->state == WORKER_KILL;
    if (w->stop_expired)
        log_error("%s: worker %d did not stop within stop_timeout and was killed", name, pid);
    else if (killed && w->lost)
        log_error("%s: worker %d closed its socket before it was ready and was killed", name, pid);
    else if (w->failure == NULL && !killed && (!asked || status != 0 || w->lost))
        tell_crash(w);
}
