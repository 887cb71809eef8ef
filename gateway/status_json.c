/* status_json.c - see status_json.h.
 *
 *   the gateway --> app: itself --> worker, worker, ... --> app: its memory and past --> next app --> the end
 *
 * part: PART_*, of the app `app`; item: its next worker. Times are seconds, sizes bytes. */
#include "status_json.h"

#include <string.h>
#include <unistd.h>

#include "body.h"
#include "json.h"
#include "proc.h"
#include "stats.h"
#include "version.h"
#include "worker_slots.h"

enum { PART_GATEWAY, PART_APP, PART_WORKERS, PART_PAST };

enum {
    NAMES_MAX = 32,     /* domains and paths that are told */
    COST_OF_MEMORY = 32 /* of reading what a process maps, in steps */
};

static const struct stats never_called;

static bool put_text(struct buf *out, const char *name, const char *text)
{
    return buf_printf(out, ",\"%s\":", name) && json_string(out, text, strlen(text));
}

/* ---- numbers as rows ---- */

/* Rows of one group make an object: "requests":{"2xx":1,"3xx":0}. */
static bool put_rows(struct buf *out, const struct stats_row *rows, size_t count, const uint64_t *values)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        bool first = i == 0 || strcmp(rows[i].group, rows[i - 1].group) != 0;
        bool last = i + 1 == count || strcmp(rows[i].group, rows[i + 1].group) != 0;
        ok = buf_putc(out, ',');
        if (ok && first)
            ok = buf_printf(out, "\"%s\":", rows[i].group);
        if (ok && rows[i].key != NULL)
            ok = buf_printf(out, "%s\"%s\":", first ? "{" : "", rows[i].key);
        ok = ok && buf_put_uint(out, values[i]) && (rows[i].key == NULL || !last || buf_putc(out, '}'));
    }
    return ok;
}

/* {"queue":0.000012,"spawn":...,"total":...}; null where a part is not known. */
static bool put_cold(struct buf *out, const char *name, const struct stats *s,
                     double (*value)(const struct stats *, enum stats_cold_part))
{
    double total = 0;
    bool ok = buf_printf(out, ",\"%s\":", name);
    if (ok && s->cold_count == 0)
        return buf_puts(out, "null");
    for (int part = 0; ok && part < STATS_COLD_PARTS; part++) {
        double seconds = value(s, (enum stats_cold_part)part);
        ok = buf_printf(out, "%c\"%s\":", part == 0 ? '{' : ',', stats_cold_names[part]) &&
             (seconds < 0 ? buf_puts(out, "null") : buf_printf(out, "%.6f", seconds));
        total += seconds < 0 ? 0 : seconds;
    }
    return ok && buf_printf(out, ",\"total\":%.6f}", total);
}

/* ---- the gateway ---- */

static bool put_gateway(struct buf *out, const struct status_facts *facts)
{
    struct proc_memory memory;
    char started[STATUS_VIEW_TIME];
    status_view_time(facts->started, started);
    proc_memory(getpid(), &memory);
    return buf_printf(out, "{\"version\":\"%s\",\"pid\":%d,\"state\":\"%s\",\"started\":\"%s\"",
                      LEANGATE_VERSION, (int)getpid(), facts->draining ? "draining" : "serving", started) &&
           put_text(out, "config", facts->conf->file) &&
           buf_printf(out, ",\"connections\":{\"open\":%u,\"idle\":%u,\"limit\":%u", *facts->connections,
                      list_count(facts->idle), facts->limit) &&
           put_rows(out, stats_global_rows, STATS_GLOBALS, stats_globals) &&
           buf_printf(out, "},\"memory\":{\"rss\":%llu,\"peak\":%llu,\"pss\":%llu,\"private\":%llu",
                      (unsigned long long)memory.rss, (unsigned long long)memory.rss_most,
                      (unsigned long long)memory.pss, (unsigned long long)memory.private) &&
           buf_printf(out, ",\"buffers\":%llu,\"spool\":%llu},\"unrouted\":{\"app\":null",
                      (unsigned long long)buf_allocated(), (unsigned long long)body_spooled()) &&
           put_rows(out, stats_rows, STATS_OF_APPS, stats_unrouted.counts) && buf_puts(out, "},\"apps\":[");
}

/* ---- one app ---- */

static bool put_list(struct buf *out, const char *name, const struct conf_list *list)
{
    bool ok = buf_printf(out, ",\"%s\":[", name);
    for (uint32_t i = 0; ok && i < list->count && i < NAMES_MAX; i++)
        ok = (i == 0 || buf_putc(out, ',')) && json_string(out, list->items[i], strlen(list->items[i]));
    return ok && buf_putc(out, ']');
}

static bool put_app(struct buf *out, const struct conf_app *conf, const struct app *app)
{
    const struct stats *s = app != NULL ? app->stats : &never_called;
    return buf_puts(out, "{\"name\":") && json_string(out, conf->name, strlen(conf->name)) &&
           put_text(out, "kind", conf_kind_name(conf->kind)) &&
           put_text(out, "state", status_view_states[status_view_state(app)]) &&
           put_list(out, "domains", &conf->domain) && put_list(out, "paths", &conf->path) &&
           buf_printf(out, ",\"queue\":{\"now\":%u,\"highest\":%u,\"limit\":%lld},\"in_flight\":%u",
                      app != NULL ? app->queue.count : 0, s->queue_most, (long long)conf->queue,
                      app != NULL ? status_view_in_flight(app) : 0) &&
           put_rows(out, stats_rows, STATS_COUNTERS, s->counts) &&
           buf_printf(out, ",\"cold_starts\":{\"count\":%u", s->cold_count) &&
           put_cold(out, "last", s, stats_cold_last) && put_cold(out, "median", s, stats_cold_median) &&
           buf_printf(out, "},\"workers_limit\":%lld,\"workers\":[", (long long)conf->workers);
}

static bool put_worker(struct buf *out, const struct app *app, const struct worker *w,
                       struct request_place *place)
{
    struct proc_memory memory;
    proc_memory(w->child.pid, &memory);
    place->rss += memory.rss;
    place->private += memory.private;
    if (memory.rss_most > app->stats->memory_most)
        app->stats->memory_most = memory.rss_most;
    return (place->item == 0 || buf_putc(out, ',')) &&
           buf_printf(
               out,
               "{\"pid\":%d,\"state\":\"%s\",\"age\":%.3f,\"in_flight\":%u,\"concurrency\":%u,\"served\":%u",
               (int)w->child.pid, status_view_worker(w), timeq_clock() - w->spawned, worker_busy(w),
               w->concurrency, w->served) &&
           buf_printf(out, ",\"memory\":{\"rss\":%llu,\"peak\":%llu,\"pss\":%llu,\"private\":%llu}}",
                      (unsigned long long)memory.rss, (unsigned long long)memory.rss_most,
                      (unsigned long long)memory.pss, (unsigned long long)memory.private);
}

static bool put_exit(struct buf *out, const struct stats *s)
{
    char at[STATUS_VIEW_TIME];
    if (s->exit.at == 0)
        return buf_puts(out, ",\"last_exit\":null");
    status_view_time(s->exit.at, at);
    return buf_printf(out, ",\"last_exit\":{\"at\":\"%s\",\"pid\":%d,\"reason\":\"%s\"", at, (int)s->exit.pid,
                      stats_rows[s->exit.reason].key) &&
           put_text(out, "how", s->exit.how) && buf_putc(out, '}');
}

static bool put_error(struct buf *out, const struct stats *s)
{
    char at[STATUS_VIEW_TIME];
    const struct buf *output = &s->error.output.kept;
    if (s->error.at == 0)
        return buf_puts(out, ",\"last_error\":null");
    status_view_time(s->error.at, at);
    return buf_printf(out, ",\"last_error\":{\"at\":\"%s\"", at) &&
           put_text(out, "text", s->error.text != NULL ? s->error.text : "") &&
           buf_puts(out, ",\"output\":") && json_string(out, output->data, output->len) && buf_putc(out, '}');
}

static bool put_past(struct buf *out, const struct app *app, const struct request_place *place)
{
    const struct stats *s = app != NULL ? app->stats : &never_called;
    return buf_printf(out, "],\"memory\":{\"rss\":%llu,\"private\":%llu,\"peak_of_a_worker\":%llu}",
                      (unsigned long long)place->rss, (unsigned long long)place->private,
                      (unsigned long long)s->memory_most) &&
           put_exit(out, s) && put_error(out, s) && buf_putc(out, '}');
}

/* ---- steps ---- */

static unsigned step_worker(struct buf *out, const struct app *app, struct request_place *place)
{
    const struct worker *w = status_view_nth(app, place->item);
    if (app == NULL || w == NULL) {
        place->part = PART_PAST;
        return 1;
    }
    if (!put_worker(out, app, w, place))
        return 0;
    place->item++;
    return COST_OF_MEMORY;
}

static unsigned step(struct buf *out, const struct status_facts *facts, struct request_place *place)
{
    bool left = place->app < facts->conf->app_count;
    const struct app *app = left ? facts->apps[place->app] : NULL;
    bool ok = true;
    switch (place->part) {
    case PART_GATEWAY:
        ok = put_gateway(out, facts);
        place->part = PART_APP;
        return ok ? COST_OF_MEMORY : 0;
    case PART_APP:
        if (!left) {
            place->part = STATUS_DONE;
            return buf_puts(out, "]}\n");
        }
        place->part = PART_WORKERS;
        place->item = 0;
        place->rss = place->private = 0;
        ok = (place->app == 0 || buf_putc(out, ',')) && put_app(out, &facts->conf->apps[place->app], app);
        break;
    case PART_WORKERS:
        return step_worker(out, app, place);
    default:
        ok = put_past(out, app, place);
        place->part = PART_APP;
        place->app++;
    }
    return ok;
}

const struct status_format status_json = {"application/json", step};
