/* stats.h - what is counted, and what is remembered of an app: a counter is a row.
 *
 * An app's numbers are allocated when it is first called. They outlive its runtime state, for a request that
 * still flows to its client counts when it is over: whoever counts holds a reference. Times are
 * arguments. */
#ifndef LEANGATE_STATS_H
#define LEANGATE_STATS_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "tail.h"

/* One a row of stats_rows. */
enum stats_counter {
    STATS_2XX,
    STATS_3XX,
    STATS_4XX,
    STATS_5XX,
    STATS_GONE,
    STATS_COLD,
    STATS_OF_APPS = STATS_COLD, /* from here on: of apps alone */
    STATS_QUEUE_FULL,
    STATS_QUEUE_TIMEOUT,
    STATS_CANNOT_START,
    STATS_RECEIVED,
    STATS_SENT,
    STATS_STARTS,
    STATS_EXIT_IDLE,
    STATS_EXIT_ROOM,
    STATS_EXIT_REPLACED,
    STATS_EXIT_STOPPED,
    STATS_EXIT_FAILED,
    STATS_EXIT_START_TIMEOUT,
    STATS_EXIT_REQUEST_TIMEOUT,
    STATS_EXIT_STOP_TIMEOUT,
    STATS_EXIT_BROKEN,
    STATS_EXIT_CRASHED,
    STATS_COUNTERS
};

/* What is true of the gateway as a whole. */
enum stats_global {
    STATS_ACCEPTED,
    STATS_CLOSED_IDLE,
    STATS_RELOADS,
    STATS_RELOADS_FAILED,
    STATS_LOG_DROPPED,
    STATS_GLOBALS
};

enum stats_histogram { STATS_DURATION, STATS_QUEUE, STATS_START, STATS_HISTOGRAMS };

/* Rows of one metric stand together; they share its help. */
struct stats_row {
    const char *group;  /* its object in status.json, or its name there when it has no key */
    const char *key;    /* its name in that object, and the value of `label`; NULL: it stands alone */
    const char *metric; /* for Prometheus, without "leangate_" */
    const char *label;  /* NULL: none */
    const char *help;
};

extern const struct stats_row stats_rows[STATS_COUNTERS];
extern const struct stats_row stats_global_rows[STATS_GLOBALS];
extern const struct stats_row stats_histogram_rows[STATS_HISTOGRAMS];

enum {
    STATS_BUCKETS = 11,  /* with an upper bound; one more has none */
    STATS_COLD_KEPT = 15 /* cold starts that medians are taken of */
};

extern const double stats_bounds[STATS_BUCKETS]; /* seconds, ascending */

/* Where the time of a start went: seconds, which add up to the time from the request to its answer. Negative:
 * not known (yet). */
enum stats_cold_part {
    STATS_COLD_QUEUE,       /* the request was complete, until the process was made */
    STATS_COLD_SPAWN,       /* making the process */
    STATS_COLD_INTERPRETER, /* until it was ready, less the import */
    STATS_COLD_IMPORT,      /* the app's own import */
    STATS_COLD_ANSWER,      /* from ready to the head of the first answer */
    STATS_COLD_PARTS
};

extern const char *const stats_cold_names[STATS_COLD_PARTS];

struct stats {
    uint32_t refs;
    uint32_t queue_most;  /* requests that waited at once, at most */
    uint64_t memory_most; /* bytes of one worker, as far as anybody has looked */
    uint64_t counts[STATS_COUNTERS];
    struct {
        uint64_t buckets[STATS_BUCKETS + 1]; /* not cumulative */
        double sum;
    } histograms[STATS_HISTOGRAMS];
    uint32_t cold_count;
    double cold_spawned; /* of the last start, monotonic */
    struct {
        double spawned; /* of the start that it belongs to */
        double complete;
        double answer;
    } early; /* a first answer that was told before its start */
    float cold[STATS_COLD_KEPT][STATS_COLD_PARTS];
    struct {
        time_t at; /* 0: none yet */
        pid_t pid;
        enum stats_counter reason;
        char how[64];
    } exit;
    struct {
        time_t at;
        char *text;         /* owned; a line, mostly with more behind it */
        struct tail output; /* what that worker printed last */
    } error;
};

/* All numbers 0, one reference; NULL: no memory. */
struct stats *stats_new(void);
struct stats *stats_ref(struct stats *s); /* NULL is passed on */
void stats_unref(struct stats *s);        /* frees at the last; NULL is ignored */

/* The numbers of exchanges that belong to no app. */
extern struct stats stats_unrouted;
extern uint64_t stats_globals[STATS_GLOBALS];

/* Counts one more of what the histogram is about. */
void stats_observe(struct stats *s, enum stats_histogram histogram, double seconds);

/* A worker is ready that was spawned at `spawned` (monotonic). */
void stats_cold_start(struct stats *s, double spawned, double spawn, double interpreter, double import);

/* An answer of the worker that was spawned at `spawned`, which may be told before its start: its request was
 * complete at `complete`, its head came `answer` seconds after ready. Only the first one is looked at. */
void stats_cold_answer(struct stats *s, double spawned, double complete, double answer);

/* One part of the last start, and the median of those that are kept. Negative: not known. */
double stats_cold_last(const struct stats *s, enum stats_cold_part part);
double stats_cold_median(const struct stats *s, enum stats_cold_part part);

/* A process has ended; `how` in words ("exited with status 3"). */
void stats_exit(struct stats *s, time_t at, pid_t pid, enum stats_counter reason, const char *how);

/* A start has failed, or a worker died. The text is copied; without memory for it it is not kept. */
void stats_error(struct stats *s, time_t at, const char *text);

/* What that worker printed last; it is taken over, and empty then. */
void stats_output(struct stats *s, struct tail *output);

#endif
