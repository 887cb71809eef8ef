/* tell.c - see tell.h. */
#include "tell.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <time.h>

#include "log.h"
#include "proc.h"
#include "units.h"

enum {
    SLOW_US = 300000, /* of an import: worth a look at what it consists of */
    HOW_MAX = 64      /* bytes of "was killed by signal 11 (Segmentation fault)" and the like */
};

void tell_ready(const struct worker *w, struct stats *stats)
{
    double import = w->import_us > 0 ? (double)w->import_us / 1e6 : 0;
    stats_cold_start(stats, w->spawned, w->made - w->spawned, w->ready - w->made - import, import);
    if (w->owner.app->kind == CONF_KIND_FASTCGI) /* it cannot tell when it really is */
        log_info("%s: started %s", w->owner.app->name, w->owner.app->command_words.items[0]);
    else if (w->import_us >= SLOW_US && w->owner.app->module[0] != '\0')
        log_info("%s: ready in %.0f ms (import %.0f); leangate profile shows where it went",
                 w->owner.app->name, (w->ready - w->spawned) * 1e3, (double)w->import_us / 1e3);
    else
        log_info("%s: ready in %.0f ms (import %.0f)", w->owner.app->name, (w->ready - w->spawned) * 1e3,
                 (double)w->import_us / 1e3);
}

/* A worker that has not been ready has no copies: its exit is told. */
void tell_result(const struct worker *w, const struct upstream *up, enum upstream_result result)
{
    const char *name = w->owner.app->name;
    const char *id = up->request != NULL ? up->request->id : "-";
    const char *who = w->link == UPSTREAM_COPY ? "a copy of worker" : "worker";
    int pid = (int)w->child.pid;
    if (result == UPSTREAM_BROKEN)
        log_error("%s: %s %d does not speak FastCGI: %s", name, who, pid, up->reason);
    else if (result == UPSTREAM_TIMEOUT)
        log_error("%s: %s %d exceeded the time for a request (id %s); it is %s", name, who, pid, id,
                  w->link == UPSTREAM_COPY   ? "killed"
                  : w->link == UPSTREAM_TASK ? "cancelled"
                                             : "replaced");
    else if (result == UPSTREAM_DIED && w->link == UPSTREAM_COPY && w->ready != 0)
        log_error("%s: a copy of worker %d ended without an answer (id %s)", name, pid, id);
    else if (result == UPSTREAM_HUNG)
        log_error("%s: worker %d did not %s that it was told to; it is replaced", name, pid,
                  w->link == UPSTREAM_COPY ? "kill a copy" : "end a request");
}

void tell_slow(const struct worker *w, const struct upstream *up)
{
    char line[256], after[UNITS_TEXT];
    const struct request *r = up->request;
    if (r == NULL) /* it has come to an end since */
        return;
    size_t n = r->head.path.off + r->head.path.len; /* method and path stand at the start */
    units_time_text(w->owner.app->slow * up->slow_told, after);
    n = log_escape(line, sizeof(line), r->in.data, n < 200 ? n : 200);
    log_warning("%s: \"%.*s\" has no answer after %s (worker %d, id %s); its stacks:", w->owner.app->name,
                (int)n, line, after, (int)w->child.pid, r->id);
}

void tell_idle_stop(const struct worker *w)
{
    char idle[UNITS_TEXT];
    struct proc_memory worker, gateway;
    proc_memory(w->child.pid, &worker);
    proc_memory(getpid(), &gateway);
    units_time_text(w->owner.app->idle_timeout, idle);
    log_info("%s: stopped after %s idle, %.1f MB given back; gateway %.1f MB", w->owner.app->name, idle,
             (double)worker.private / 1e6, (double)gateway.private / 1e6);
}

void tell_live(const struct worker *w)
{
    char line[512];
    size_t n = log_clean(line, sizeof(line), w->live, strlen(w->live));
    log_warning("%s: stopped while idle with %.*s in it; keep it with idle_timeout = off", w->owner.app->name,
                (int)n, line);
}

void tell_room(const struct worker *w, const char *other, int64_t limit)
{
    log_info("%s: worker %d makes room for %s ([limits] workers = %lld)", w->owner.app->name,
             (int)w->child.pid, other, (long long)limit);
}

void tell_replaced(const struct worker *w)
{
    log_info("%s: worker %d is replaced after %u requests (%s)", w->owner.app->name, (int)w->child.pid,
             w->served, w->outdated ? "reload" : w->worn);
}

void tell_failure(const struct worker *w, struct stats *stats, const char *text)
{
    char line[1024];
    size_t n = strcspn(text, "\n");
    log_error("%s: %.*s", w->owner.app->name, (int)log_clean(line, sizeof(line), text, n), line);
    if (text[n] == '\n')
        log_text(text + n + 1, strlen(text + n + 1));
    stats_error(stats, time(NULL), text);
}

static bool killed_here(const struct worker *w)
{
    return w->state == WORKER_KILL && WIFSIGNALED(w->child.status) && WTERMSIG(w->child.status) == SIGKILL;
}

/* How its process has ended. */
static void describe_end(const struct worker *w, char how[HOW_MAX])
{
    int status = w->child.status;
    bool killed = killed_here(w);
    bool dying = w->lost && !w->hung_up; /* when it was killed here */
    if (w->stop_expired)
        snprintf(how, HOW_MAX, "did not stop within stop_timeout and was killed");
    else if (killed && w->hung_up && w->ready == 0)
        snprintf(how, HOW_MAX, "closed its socket before it was ready and was killed");
    else if (WIFSIGNALED(status))
        snprintf(how, HOW_MAX, "was killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)),
                 WTERMSIG(status) == SIGKILL && (!killed || dying) ? ", maybe out of memory" : "");
    else
        snprintf(how, HOW_MAX, "exited with status %d%s", WEXITSTATUS(status),
                 w->ready == 0 ? " before it was ready" : "");
}

/* What it has ended for. */
static enum stats_counter reason_of(const struct worker *w)
{
    int status = w->child.status;
    /* one that is DRAINING has refused a request, or is replaced: it may go before it is told to */
    bool asked = w->state == WORKER_TERM || w->state == WORKER_KILL || w->state == WORKER_DRAINING;
    /* A FastCGI program of others cannot be told STOP, only SIGTERM, so dying of that is obedience; and so is
     * any exit status, for php-cgi exits with that of the last script that failed; but not with a request in
     * its hands. */
    bool obeyed = status == 0 || (w->owner.app->kind == CONF_KIND_FASTCGI &&
                                  ((WIFEXITED(status) && !w->lost) || WTERMSIG(status) == SIGTERM));
    bool ended = w->why != 0; /* by its owner: then a connection that it has closed is no surprise */
    if (w->stop_expired)
        return STATS_EXIT_STOP_TIMEOUT;
    if (w->failure != NULL)
        return STATS_EXIT_FAILED;
    if (w->start_expired)
        return STATS_EXIT_START_TIMEOUT;
    if ((w->lost && !ended) || !(killed_here(w) || (asked && obeyed)))
        return STATS_EXIT_CRASHED;
    return ended ? (enum stats_counter)w->why : STATS_EXIT_BROKEN;
}

void tell_exit(struct worker *w, struct stats *stats)
{
    char how[HOW_MAX], text[HOW_MAX + 32];
    enum stats_counter reason = reason_of(w);
    describe_end(w, how);
    bool failed = w->failure != NULL || w->start_expired; /* which was told already */
    bool unasked = reason == STATS_EXIT_CRASHED || reason == STATS_EXIT_STOP_TIMEOUT;
    if (w->memory_most > stats->memory_most)
        stats->memory_most = w->memory_most;
    stats_exit(stats, time(NULL), w->child.pid, reason, how);
    if (unasked) {
        snprintf(text, sizeof(text), "worker %d %s", (int)w->child.pid, how);
        log_error("%s: %s", w->owner.app->name, text);
    }
    if (unasked && !failed)
        stats_error(stats, time(NULL), text);
    if (unasked || failed)
        stats_output(stats, &w->tail);
}
