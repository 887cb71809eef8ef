/* status_metrics.c - see status_metrics.h.
 *
 * All samples of one metric stand together, so the answer goes metric by metric and, within each, app by app:
 * part is the metric, `app` the next app. An app that was never called has no samples; what belongs to no app
 * counts as the app "-". */
#include "status_metrics.h"

#include <string.h>
#include <unistd.h>
#include <sys/resource.h>

#include "body.h"
#include "proc.h"
#include "stats.h"
#include "version.h"

/* Parts: the gateway, then each counter row, then each histogram, then each gauge. */
enum { PART_GATEWAY, PART_COUNTERS, PART_HISTOGRAMS = PART_COUNTERS + STATS_COUNTERS };

static bool put_head(struct buf *out, const char *metric, const char *type, const char *help)
{
    return buf_printf(out, "# HELP leangate_%s %s\n# TYPE leangate_%s %s\n", metric, help, metric, type);
}

/* ---- the gateway ---- */

struct number {
    const char *metric;
    const char *type;
    const char *help;
    double value;
};

static bool put_numbers(struct buf *out, const char *prefix, const struct number *numbers, size_t count)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n%s%s %.17g\n", prefix, numbers[i].metric,
                        numbers[i].help, prefix, numbers[i].metric, numbers[i].type, prefix,
                        numbers[i].metric, numbers[i].value);
    return ok;
}

/* What every exporter tells of its process. */
static bool put_process(struct buf *out, const struct status_facts *facts)
{
    struct rlimit files = {0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    const struct number numbers[] = {
        {"cpu_seconds_total",     "counter", "Processor time of the gateway.",   proc_own_cpu()                 },
        {"open_fds",              "gauge",   "Open descriptors of the gateway.", proc_own_descriptors()         },
        {"max_fds",               "gauge",   "Descriptors that it may have.",    (double)files.rlim_cur         },
        {"virtual_memory_bytes",  "gauge",   "Bytes that it maps.",              (double)proc_own_mapped()      },
        {"resident_memory_bytes", "gauge",   "Bytes of them in memory.",         (double)proc_resident(getpid())},
        {"start_time_seconds",    "gauge",   "When it started, since 1970.",     (double)facts->started         },
    };
    return put_numbers(out, "process_", numbers, sizeof(numbers) / sizeof(numbers[0]));
}

static bool put_gateway(struct buf *out, const struct status_facts *facts)
{
    const struct number numbers[] = {
        {"apps",             "gauge", "Apps that are configured.",                   facts->conf->app_count },
        {"draining",         "gauge", "1 from SIGTERM on.",                          facts->draining        },
        {"connections",      "gauge", "Connections of clients that are open.",       *facts->connections    },
        {"connections_idle", "gauge", "Those of them that wait for a next request.", list_count(facts->idle)},
        {"buffer_bytes",     "gauge", "Heads, bodies and answers in memory.",        (double)buf_allocated()},
        {"spool_bytes",      "gauge", "Bodies and answers in files.",                (double)body_spooled() },
    };
    bool ok = put_head(out, "build_info", "gauge", "1; the label is what is wanted.") &&
              buf_puts(out, "leangate_build_info{version=\"" LEANGATE_VERSION "\"} 1\n") &&
              put_numbers(out, "leangate_", numbers, sizeof(numbers) / sizeof(numbers[0]));
    for (int i = 0; ok && i < STATS_GLOBALS; i++)
        ok = put_head(out, stats_global_rows[i].metric, "counter", stats_global_rows[i].help) &&
             buf_printf(out, "leangate_%s %llu\n", stats_global_rows[i].metric,
                        (unsigned long long)stats_globals[i]);
    return ok && put_process(out, facts);
}

/* ---- of each app: counters and histograms ---- */

/* How many rows of this metric there are from row i on; 0: an earlier row has begun it. */
static int rows_of(int i)
{
    int n = 0;
    if (i > 0 && strcmp(stats_rows[i].metric, stats_rows[i - 1].metric) == 0)
        return 0;
    while (i + n < STATS_COUNTERS && strcmp(stats_rows[i].metric, stats_rows[i + n].metric) == 0)
        n++;
    return n;
}

static bool put_counter(struct buf *out, int row, const char *app, const struct stats *s)
{
    bool ok = true;
    for (int i = row, end = row + rows_of(row); ok && i < end; i++) {
        const struct stats_row *r = &stats_rows[i];
        ok = buf_printf(out, "leangate_%s{app=\"%s\"", r->metric, app) &&
             (r->label == NULL || buf_printf(out, ",%s=\"%s\"", r->label, r->key)) &&
             buf_printf(out, "} %llu\n", (unsigned long long)s->counts[i]);
    }
    return ok;
}

static bool put_histogram(struct buf *out, int row, const char *app, const struct stats *s)
{
    const char *metric = stats_histogram_rows[row].metric;
    unsigned long long sum = 0;
    bool ok = true;
    for (int i = 0; ok && i < STATS_BUCKETS; i++) {
        sum += s->histograms[row].buckets[i];
        ok = buf_printf(out, "leangate_%s_bucket{app=\"%s\",le=\"%g\"} %llu\n", metric, app, stats_bounds[i],
                        sum);
    }
    sum += s->histograms[row].buckets[STATS_BUCKETS];
    return ok && buf_printf(out, "leangate_%s_bucket{app=\"%s\",le=\"+Inf\"} %llu\n", metric, app, sum) &&
           buf_printf(out, "leangate_%s_sum{app=\"%s\"} %.6f\nleangate_%s_count{app=\"%s\"} %llu\n", metric,
                      app, s->histograms[row].sum, metric, app, sum);
}

/* ---- of each app: how things stand ---- */

static bool put_state(struct buf *out, const char *metric, const struct app *app)
{
    enum status_view_state state = status_view_state(app);
    bool ok = true;
    for (int i = 0; ok && i < STATUS_VIEW_STATES; i++)
        ok = buf_printf(out, "leangate_%s{app=\"%s\",state=\"%s\"} %d\n", metric, app->app_conf->name,
                        status_view_states[i], i == (int)state);
    return ok;
}

static bool put_value(struct buf *out, const char *metric, const struct app *app, uint64_t value)
{
    return buf_printf(out, "leangate_%s{app=\"%s\"} %llu\n", metric, app->app_conf->name,
                      (unsigned long long)value);
}

static bool put_queue(struct buf *out, const char *metric, const struct app *app)
{
    return put_value(out, metric, app, app->queue.count);
}

static bool put_queue_most(struct buf *out, const char *metric, const struct app *app)
{
    return put_value(out, metric, app, app->stats->queue_most);
}

static bool put_in_flight(struct buf *out, const char *metric, const struct app *app)
{
    return put_value(out, metric, app, status_view_in_flight(app));
}

static bool put_workers(struct buf *out, const char *metric, const struct app *app)
{
    return put_value(out, metric, app, app->roster.count);
}

static bool put_memory(struct buf *out, const char *metric, const struct app *app)
{
    uint64_t sum = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &app->roster.workers)
        sum += proc_resident(LIST_OBJECT(node, struct worker, node)->child.pid);
    return put_value(out, metric, app, sum);
}

static const struct gauge {
    const char *metric;
    const char *help;
    bool (*put)(struct buf *out, const char *metric, const struct app *app);
} gauges[] = {
    {"app_state",                    "1 for the state that the app is in.",              put_state     },
    {"queue_depth",                  "Requests that wait for a worker.",                 put_queue     },
    {"queue_depth_highest",          "The most that ever waited at once.",               put_queue_most},
    {"http_requests_in_flight",      "Requests that are with workers.",                  put_in_flight },
    {"workers",                      "Processes that there are.",                        put_workers   },
    {"worker_resident_memory_bytes", "Memory of the app's workers, shared pages twice.", put_memory    },
};

enum {
    GAUGES = sizeof(gauges) / sizeof(gauges[0]),
    PART_GAUGES = PART_HISTOGRAMS + STATS_HISTOGRAMS,
    PARTS = PART_GAUGES + GAUGES
};

/* ---- steps ---- */

/* HELP and TYPE of a metric, and of a counter what belongs to no app. */
static bool begin_metric(struct buf *out, uint32_t part)
{
    if (part >= PART_GAUGES)
        return put_head(out, gauges[part - PART_GAUGES].metric, "gauge", gauges[part - PART_GAUGES].help);
    if (part >= PART_HISTOGRAMS) {
        int row = (int)part - PART_HISTOGRAMS;
        return put_head(out, stats_histogram_rows[row].metric, "histogram", stats_histogram_rows[row].help);
    }
    int row = (int)part - PART_COUNTERS;
    return put_head(out, stats_rows[row].metric, "counter", stats_rows[row].help) &&
           (row >= STATS_OF_APPS || put_counter(out, row, "-", &stats_unrouted));
}

static bool put_app(struct buf *out, uint32_t part, const struct app *app)
{
    const char *name = app->app_conf->name; /* letters, digits and -_. only */
    if (part >= PART_GAUGES)
        return gauges[part - PART_GAUGES].put(out, gauges[part - PART_GAUGES].metric, app);
    if (part >= PART_HISTOGRAMS)
        return put_histogram(out, (int)part - PART_HISTOGRAMS, name, app->stats);
    return put_counter(out, (int)part - PART_COUNTERS, name, app->stats);
}

static void next_part(struct request_place *place)
{
    place->app = 0;
    do
        place->part++;
    while (place->part < PART_HISTOGRAMS && rows_of((int)place->part - PART_COUNTERS) == 0);
    if (place->part == PARTS)
        place->part = STATUS_DONE;
}

static unsigned step(struct buf *out, const struct status_facts *facts, struct request_place *place)
{
    bool ok = true;
    if (place->part == PART_GATEWAY) {
        ok = put_gateway(out, facts);
        next_part(place);
        return ok;
    }
    if (place->app == 0)
        ok = begin_metric(out, place->part);
    const struct app *app = place->app < facts->conf->app_count ? facts->apps[place->app] : NULL;
    if (ok && app != NULL)
        ok = put_app(out, place->part, app);
    if (++place->app >= facts->conf->app_count)
        next_part(place);
    if (!ok)
        return 0;
    return 1 + (app != NULL ? app->roster.count : 0);
}

const struct status_format status_metrics = {"text/plain; version=0.0.4", step};
