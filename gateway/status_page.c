/* status_page.c - see status_page.h.
 *
 *   head --> app with its workers, app, ... --> foot        (part; `app` is the next one) */
#include "status_page.h"

#include <string.h>
#include <unistd.h>

#include "json.h"
#include "proc.h"
#include "stats.h"
#include "version.h"
#include "worker_slots.h"

enum { PART_HEAD, PART_APP };

enum { NAMES_MAX = 8, COST_OF_MEMORY = 4 };

static const char style[] =
    "<!doctype html>\n<html lang=en><meta charset=utf-8><title>leangate</title>\n"
    "<meta name=viewport content='width=device-width'>\n<style>\n"
    ":root{color-scheme:light dark;--line:#8884;--soft:#888}\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem;max-width:90rem}\n"
    "h1{font-size:1.2rem;margin:0}p{margin:.2rem 0 1rem;color:var(--soft)}\n"
    "div{overflow-x:auto}table{border-collapse:collapse;width:100%}\n"
    "th,td{padding:.35rem .7rem;text-align:right;white-space:nowrap;vertical-align:top}\n"
    "th{font-weight:600;border-bottom:2px solid var(--line)}\n"
    "th.t,td.t{text-align:left}tr.app td{border-top:1px solid var(--line)}\n"
    "tr.more td{padding-top:0;color:var(--soft)}\n"
    "td.s::before{content:'';display:inline-block;width:.6em;height:.6em;border-radius:50%;margin-right:."
    "45em;"
    "background:#999}\n"
    "td.starting::before{background:#38f}td.idle::before{background:#3a5}td.busy::before{background:#e90}\n"
    "td.backoff::before{background:#d33}td.stopping::before{background:#a6c}\n"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0;font-size:.85em}\n"
    "summary{cursor:pointer;white-space:normal}\n</style>\n";

static const char columns[] =
    "<div><table>\n<tr><th class=t>App<th class=t>Route<th class=t>State<th>Workers<th>Queue, highest"
    "<th>In flight<th>2xx<th>3xx<th>4xx<th>5xx<th>Gone<th>Cold starts<th>Last, median<th>Memory, peak"
    "<th class=t>Last exit\n";

/* Text that may be anything, as it may stand in HTML. */
static bool put_html(struct buf *out, const char *text, size_t len)
{
    bool ok = true;
    while (ok && len > 0) {
        size_t n = json_utf8(text, len);
        unsigned char c = (unsigned char)text[0];
        if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
            ok = buf_printf(out, "&#%u;", c);
        else if (n == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            ok = buf_puts(out, "\xef\xbf\xbd");
        else
            ok = buf_put(out, text, n);
        n = n > 0 ? n : 1;
        text += n;
        len -= n;
    }
    return ok;
}

static bool put_text(struct buf *out, const char *text)
{
    return put_html(out, text, strlen(text));
}

static bool put_head(struct buf *out, const struct status_facts *facts)
{
    struct proc_memory memory;
    char started[STATUS_VIEW_TIME];
    status_view_time(facts->started, started);
    proc_memory(getpid(), &memory);
    return buf_puts(out, style) &&
           buf_printf(out, "<h1>leangate " LEANGATE_VERSION "</h1>\n<p>%s since %s, process %d, ",
                      facts->draining ? "draining; started" : "serving", started, (int)getpid()) &&
           buf_printf(out, "%.1f MB (%.2f private), %u connections, %u apps", (double)memory.rss / 1e6,
                      (double)memory.private / 1e6, *facts->connections, facts->conf->app_count) &&
           (facts->conf->file[0] == '\0' || (buf_puts(out, ", ") && put_text(out, facts->conf->file))) &&
           buf_puts(out, ".</p>\n") && buf_puts(out, columns);
}

/* ---- one app ---- */

static bool put_routes(struct buf *out, const struct conf_app *conf)
{
    bool ok = true;
    uint32_t n = 0;
    for (uint32_t p = 0; ok && p < conf->path.count; p++)
        for (uint32_t d = 0; ok && d < (conf->domain.count > 0 ? conf->domain.count : 1) && n < NAMES_MAX;
             d++, n++)
            ok = (n == 0 || buf_puts(out, "<br>")) &&
                 put_text(out, conf->domain.count > 0 ? conf->domain.items[d] : "") &&
                 put_text(out, conf->path.items[p]);
    return ok;
}

static double total(const struct stats *s, double (*value)(const struct stats *, enum stats_cold_part))
{
    double sum = 0;
    for (int part = 0; part < STATS_COLD_PARTS; part++)
        sum += value(s, (enum stats_cold_part)part) > 0 ? value(s, (enum stats_cold_part)part) : 0;
    return sum;
}

static bool put_numbers(struct buf *out, const struct app *app)
{
    const struct stats *s = app->stats;
    bool ok = true;
    for (int i = STATS_2XX; ok && i <= STATS_GONE; i++)
        ok = buf_printf(out, "<td>%llu", (unsigned long long)s->counts[i]);
    ok = ok && buf_printf(out, "<td>%u", s->cold_count);
    if (ok && s->cold_count > 0)
        return buf_printf(out, "<td>%.0f, %.0f ms", total(s, stats_cold_last) * 1e3,
                          total(s, stats_cold_median) * 1e3);
    return ok && buf_puts(out, "<td>");
}

/* The app's memory, and its workers line by line into `lines`. */
static bool put_workers(struct buf *lines, const struct app *app, uint64_t *rss)
{
    struct proc_memory memory;
    bool ok = true;
    struct list *node, *after;
    LIST_EACH (node, after, &app->roster.workers) {
        const struct worker *w = LIST_OBJECT(node, struct worker, node);
        proc_rss(w->child.pid, &memory);
        *rss += memory.rss;
        if (memory.rss_most > app->stats->memory_most)
            app->stats->memory_most = memory.rss_most;
        ok = ok &&
             buf_printf(lines, "%sworker %d: %s, %u of %u requests, %.0f s old, %.1f MB",
                        lines->len > 0 ? "<br>" : "", (int)w->child.pid, status_view_worker(w),
                        worker_busy(w), w->concurrency, timeq_clock() - w->spawned, (double)memory.rss / 1e6);
    }
    return ok;
}

static bool put_exit(struct buf *out, const struct stats *s)
{
    char at[STATUS_VIEW_TIME];
    if (s->exit.at == 0)
        return buf_puts(out, "<td>");
    status_view_time(s->exit.at, at);
    return buf_printf(out, "<td class=t title='%s'>%s: ", at, stats_rows[s->exit.reason].key) &&
           put_text(out, s->exit.how);
}

static bool put_error(struct buf *out, const struct stats *s)
{
    char at[STATUS_VIEW_TIME];
    const struct buf *output = &s->error.output.kept;
    if (s->error.at == 0)
        return true;
    const char *text = s->error.text != NULL ? s->error.text : "";
    status_view_time(s->error.at, at);
    return buf_printf(out,
                      "<tr class=more><td><td class=t colspan=14><details><summary>last error, %s: ", at) &&
           put_html(out, text, strcspn(text, "\n")) && buf_puts(out, "</summary><pre>") &&
           put_text(out, text) && buf_puts(out, "</pre>") &&
           (output->len == 0 || (buf_puts(out, "printed last:<pre>") &&
                                 put_html(out, output->data, output->len) && buf_puts(out, "</pre>"))) &&
           buf_puts(out, "</details>\n");
}

static bool put_called_app(struct buf *out, const struct app *app, const struct buf *lines, uint64_t rss)
{
    return buf_printf(out, "<td>%u of %lld<td>%u, %u<td>%u", app->roster.count,
                      (long long)app->app_conf->workers, app->queue.count, app->stats->queue_most,
                      status_view_in_flight(app)) &&
           put_numbers(out, app) &&
           buf_printf(out, "<td>%.1f, %.1f MB", (double)rss / 1e6, (double)app->stats->memory_most / 1e6) &&
           put_exit(out, app->stats) && buf_putc(out, '\n') &&
           (lines->len == 0 || (buf_puts(out, "<tr class=more><td><td class=t colspan=14>") &&
                                buf_put(out, lines->data, lines->len) && buf_putc(out, '\n'))) &&
           put_error(out, app->stats);
}

static bool put_app(struct buf *out, const struct conf_app *conf, const struct app *app)
{
    struct buf lines;
    uint64_t rss = 0;
    const char *state = status_view_states[status_view_state(app)];
    buf_init(&lines, out->max);
    bool ok = buf_puts(out, "<tr class=app><td class=t>") && put_text(out, conf->name) &&
              buf_puts(out, "<td class=t>") && put_routes(out, conf) &&
              buf_printf(out, "<td class='t s %s'>%s", state, state);
    if (ok && app != NULL)
        ok = put_workers(&lines, app, &rss) && put_called_app(out, app, &lines, rss);
    else if (ok)
        ok = buf_puts(out, "<td class=t colspan=12>not called yet\n");
    buf_free(&lines);
    return ok;
}

static unsigned step(struct buf *out, const struct status_facts *facts, struct request_place *place)
{
    if (place->part == PART_HEAD) {
        place->part = PART_APP;
        return put_head(out, facts);
    }
    if (place->app == facts->conf->app_count) {
        place->part = STATUS_DONE;
        return buf_puts(out, "</table></div>\n</html>\n");
    }
    const struct app *app = facts->apps[place->app];
    if (!put_app(out, &facts->conf->apps[place->app++], app))
        return 0;
    return 1 + (app != NULL ? COST_OF_MEMORY * app->roster.count : 0);
}

const struct status_format status_page = {"text/html", step};
