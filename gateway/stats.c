/* stats.c - see stats.h. */
#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_TEXT_MAX = 16 * 1024 };

/* clang-format off */
const struct stats_row stats_rows[STATS_COUNTERS] = {
    [STATS_2XX]  = {"requests", "2xx", "http_requests_total", "class", "Exchanges that are over, by the class of their status."},
    [STATS_3XX]  = {"requests", "3xx", "http_requests_total", "class", NULL},
    [STATS_4XX]  = {"requests", "4xx", "http_requests_total", "class", NULL},
    [STATS_5XX]  = {"requests", "5xx", "http_requests_total", "class", NULL},
    [STATS_GONE] = {"requests", "gone", "http_requests_total", "class", NULL},
    [STATS_COLD] = {"cold_requests", NULL, "cold_requests_total", NULL, "Requests that waited for a worker to start."},
    [STATS_QUEUE_FULL]    = {"rejected", "queue_full", "requests_rejected_total", "reason", "Requests that no worker was asked to answer."},
    [STATS_QUEUE_TIMEOUT] = {"rejected", "queue_timeout", "requests_rejected_total", "reason", NULL},
    [STATS_CANNOT_START]  = {"rejected", "cannot_start", "requests_rejected_total", "reason", NULL},
    [STATS_RECEIVED] = {"bytes", "received", "received_bytes_total", NULL, "Bytes of request bodies."},
    [STATS_SENT]     = {"bytes", "sent", "sent_bytes_total", NULL, "Bytes of answers' bodies, with the framing of chunks."},
    [STATS_STARTS]   = {"worker_starts", NULL, "worker_starts_total", NULL, "Processes started."},
    [STATS_EXIT_IDLE]            = {"worker_exits", "idle", "worker_exits_total", "reason", "Processes that have ended."},
    [STATS_EXIT_ROOM]            = {"worker_exits", "made_room", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_REPLACED]        = {"worker_exits", "replaced", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_STOPPED]         = {"worker_exits", "stopped", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_FAILED]          = {"worker_exits", "failed", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_START_TIMEOUT]   = {"worker_exits", "start_timeout", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_REQUEST_TIMEOUT] = {"worker_exits", "request_timeout", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_STOP_TIMEOUT]    = {"worker_exits", "stop_timeout", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_BROKEN]          = {"worker_exits", "broken", "worker_exits_total", "reason", NULL},
    [STATS_EXIT_CRASHED]         = {"worker_exits", "crashed", "worker_exits_total", "reason", NULL},
};

const struct stats_row stats_global_rows[STATS_GLOBALS] = {
    [STATS_ACCEPTED]    = {"accepted", NULL, "connections_accepted_total", NULL, "Connections of clients."},
    [STATS_CLOSED_IDLE] = {"closed_idle", NULL, "connections_closed_idle_total", NULL, "Idle connections that made room for new ones."},
    [STATS_RELOADS]     = {"reloads", NULL, "reloads_total", NULL, "Configurations that were read again, and are used."},
    [STATS_RELOADS_FAILED] = {"reloads_failed", NULL, "reloads_failed_total", NULL, "Those that were refused: the old one goes on."},
    [STATS_LOG_DROPPED] = {"log_dropped", NULL, "log_lines_dropped_total", NULL, "Log lines that a slow reader or a full disk has cost."},
};

const struct stats_row stats_histogram_rows[STATS_HISTOGRAMS] = {
    [STATS_DURATION] = {"duration", NULL, "http_request_duration_seconds", NULL, "From an exchange's first byte to its last."},
    [STATS_QUEUE]    = {"queue_wait", NULL, "queue_wait_seconds", NULL, "Waiting for a free worker, less its start."},
    [STATS_START]    = {"start", NULL, "worker_start_seconds", NULL, "From making a worker's process to ready."},
};
/* clang-format on */

const double stats_bounds[STATS_BUCKETS] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

const char *const stats_cold_names[STATS_COLD_PARTS] = {"queue", "spawn", "interpreter", "import", "answer"};

struct stats stats_unrouted = {.refs = 1};
uint64_t stats_globals[STATS_GLOBALS];

struct stats *stats_new(void)
{
    struct stats *s = calloc(1, sizeof(*s));
    if (s != NULL) {
        s->refs = 1;
        tail_init(&s->error.output);
    }
    return s;
}

struct stats *stats_ref(struct stats *s)
{
    if (s != NULL)
        s->refs++;
    return s;
}

void stats_unref(struct stats *s)
{
    if (s == NULL || --s->refs > 0)
        return;
    free(s->error.text);
    tail_free(&s->error.output);
    free(s);
}

void stats_observe(struct stats *s, enum stats_histogram histogram, double seconds)
{
    int i = 0;
    while (i < STATS_BUCKETS && seconds > stats_bounds[i])
        i++;
    s->histograms[histogram].buckets[i]++;
    s->histograms[histogram].sum += seconds;
}

/* ---- cold starts ---- */

static uint32_t last_cold(const struct stats *s)
{
    return (s->cold_count - 1) % STATS_COLD_KEPT;
}

void stats_cold_start(struct stats *s, double spawned, double spawn, double interpreter, double import)
{
    s->cold_count++;
    s->cold_spawned = spawned;
    float *parts = s->cold[last_cold(s)];
    parts[STATS_COLD_QUEUE] = parts[STATS_COLD_ANSWER] = -1;
    parts[STATS_COLD_SPAWN] = (float)spawn;
    parts[STATS_COLD_INTERPRETER] = (float)interpreter;
    parts[STATS_COLD_IMPORT] = (float)import;
    stats_observe(s, STATS_START, spawn + interpreter + import);
    if (s->early.spawned == spawned)
        stats_cold_answer(s, spawned, s->early.complete, s->early.answer);
}

void stats_cold_answer(struct stats *s, double spawned, double complete, double answer)
{
    if (spawned > s->cold_spawned && s->early.spawned != spawned) {
        s->early.spawned = spawned;
        s->early.complete = complete;
        s->early.answer = answer;
    }
    if (s->cold_count == 0 || spawned != s->cold_spawned)
        return;
    float *parts = s->cold[last_cold(s)];
    if (parts[STATS_COLD_ANSWER] >= 0)
        return;
    parts[STATS_COLD_QUEUE] = spawned > complete ? (float)(spawned - complete) : 0;
    parts[STATS_COLD_ANSWER] = answer > 0 ? (float)answer : 0;
}

double stats_cold_last(const struct stats *s, enum stats_cold_part part)
{
    return s->cold_count > 0 ? (double)s->cold[last_cold(s)][part] : -1;
}

double stats_cold_median(const struct stats *s, enum stats_cold_part part)
{
    uint32_t kept = s->cold_count < STATS_COLD_KEPT ? s->cold_count : STATS_COLD_KEPT, n = 0;
    float sorted[STATS_COLD_KEPT] = {0};
    for (uint32_t i = 0; i < kept; i++) {
        float value = s->cold[i][part];
        if (value < 0)
            continue;
        uint32_t at = n++;
        for (; at > 0 && sorted[at - 1] > value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
    }
    if (n == 0)
        return -1;
    return ((double)sorted[(n - 1) / 2] + (double)sorted[n / 2]) / 2;
}

/* ---- ends ---- */

void stats_exit(struct stats *s, time_t at, pid_t pid, enum stats_counter reason, const char *how)
{
    s->counts[reason]++;
    s->exit.at = at;
    s->exit.pid = pid;
    s->exit.reason = reason;
    (void)snprintf(s->exit.how, sizeof(s->exit.how), "%s", how);
}

void stats_error(struct stats *s, time_t at, const char *text)
{
    free(s->error.text);
    s->error.at = at;
    s->error.text = strndup(text, ERROR_TEXT_MAX);
    tail_free(&s->error.output);
}

void stats_output(struct stats *s, struct tail *output)
{
    tail_free(&s->error.output);
    s->error.output = *output;
    tail_init(output);
}
