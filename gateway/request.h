/* request.h - the hinge: one exchange, its buffers, its handler and its times.
 *
 * The connection owns it and looks at it after a wake; the handler fills the answer in. A handler never
 * touches a socket, the connection never a worker. "Headers already sent?" is asked here only.
 *
 *      conn --- start / resume / cancel ---> handler
 *      conn <--- request_head / _body / _end / _fail / _cut --- handler      (each wakes the conn's task) */
#ifndef LEANGATE_REQUEST_H
#define LEANGATE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "body.h"
#include "buf.h"
#include "config.h"
#include "http_chunked.h"
#include "http_head.h"
#include "http_reply.h"
#include "list.h"
#include "net.h"
#include "task.h"
#include "timeq.h"

struct app;
struct request;
struct stats;
struct status_facts;
struct upstream;

/* Whoever answers. All three are called by the connection only. */
struct handler {
    void (*start)(struct request *r);  /* head and body are complete */
    void (*resume)(struct request *r); /* there is room for more of the answer again */
    void (*cancel)(struct request *r); /* the client is gone: drop the pointer, now */
};

/* resume() and cancel() of a handler that has nothing to go on with, or nothing to drop. */
void request_nothing(struct request *r);

enum { REQUEST_ID_MAX = 64 }; /* bytes of an id that a proxy gave; one of ours has 32 */

/* How far an answer has come that is made in pieces; what it counts is its handler's. All 0 at first. */
struct request_place {
    uint32_t part;
    uint32_t app;
    uint32_t item;
    uint64_t rss;
    uint64_t private;
};

struct request {
    struct conf *conf; /* a reference */
    struct task *conn; /* woken whenever the answer has made progress */

    /* From the client; the connection's. */
    struct buf in; /* the head at 0, behind it what was not taken yet: body bytes, then further requests */
    struct http_head head;
    struct http_chunked chunked;
    uint64_t body_left; /* of Content-Length, still to come */
    double body_began;  /* when its body was first waited for, on timeq_now's clock */
    struct body body;
    char *path_memory; /* owned: the normalised path, where it differs from the target's bytes */
    uint32_t path_len; /* of request_path() */
    char remote_addr[NET_ADDRESS_MAX]; /* the client's as far as it is believed; "": a unix socket's peer */
    char remote_port[8];
    const char *scheme;      /* "http" or "https"; NULL until the two above are known */
    struct slice prefix;     /* a path that a trusted proxy has removed, in `in`; len 0: none */
    unsigned forwarded;      /* forwarding headers that are believed and passed on (forwarded.h) */
    const char *server_addr; /* the listener's */
    const char *server_port;
    char id[REQUEST_ID_MAX + 1];

    /* The handler and what it keeps here. */
    const struct handler *handler; /* NULL: none is at work */
    const struct conf_app *app_conf;
    /* The directory that answers; NULL: the app does. */
    const struct conf_static *files;
    uint32_t script_len;      /* bytes of path that are SCRIPT_NAME */
    char *script_file;        /* owned: the file that answers, below its app's root: "/cart.py"; NULL: none */
    const char *script_index; /* put behind SCRIPT_NAME; NULL: nothing */
    struct app *app;          /* the app that has it, from start to end or cancel */
    struct stats *stats;      /* a reference: where it counts when it is over; NULL: it belongs to no app */
    struct list waiting;      /* in the app's queue */
    struct upstream *up;      /* the slot that serves it, or NULL */
    struct timeq_entry queue_deadline;
    uint8_t refused;                  /* how many workers did not begin it */
    uint8_t died;                     /* how many workers were lost under it */
    bool ignored;                     /* it neither wakes a worker nor keeps one awake */
    bool cold;                        /* a worker was started for it or under it */
    pid_t worker;                     /* the last one that it was given to; 0: none */
    const struct status_facts *facts; /* what a status answer tells of */
    struct request_place place;

    /* The answer. */
    struct body out; /* bytes for the client: head and framed body */
    uint16_t status;
    enum http_framing framing;
    bool keep_alive;       /* in: may the connection go on; out: does it */
    bool head_sent;        /* the answer's head is in `out` */
    bool ended;            /* the answer is complete in `out` */
    bool cut;              /* the answer is broken off: the connection must be closed */
    bool starved;          /* a handler found no room: resume it when there is */
    bool excess;           /* more than its Content-Length has come, which was said */
    int64_t answer_left;   /* bytes of the promised Content-Length still to come; -1: unknown */
    uint64_t answer_bytes; /* body bytes in the answer, the framing of its chunks included */

    /* Monotonic seconds; 0: not reached. */
    double began;   /* first byte */
    double started; /* complete, handed to the handler */
    double sent;    /* given to a worker that was ready */
    double spawned; /* cold: when the start that it waited for began */
    double ready;   /* cold: when that was READY; 0: it was given to it before, and `sent` is that time */
    double headed;  /* the answer's head */
};

/* A new exchange for a connection; NULL when out of memory. */
struct request *request_new(struct conf *conf, struct task *conn);

/* Its head is whole: it is served by the configuration that is current now. */
void request_adopt(struct request *r, struct conf *conf);

/* Frees it and what it holds. No handler may be at work. */
void request_free(struct request *r);

/* Between two exchanges of one connection: keeps only the bytes behind the finished one. */
void request_next(struct request *r);

/* Decodes and normalises the target's path. False: it cannot be decoded, or leaves the root; or there is no
 * memory: then path_memory is NULL. */
bool request_set_path(struct request *r);

/* The name of the file that answers, below the directory of r->files: it begins with a slash. */
const char *request_file_name(const struct request *r, size_t *len);

/* The normalised path, r->path_len bytes; valid until more is read from the client. */
const char *request_path(const struct request *r);

enum request_intake {
    REQUEST_INTAKE_MORE,
    REQUEST_INTAKE_WHOLE,
    REQUEST_INTAKE_BAD,       /* the chunked coding is broken: r->chunked.reason */
    REQUEST_INTAKE_TOO_LARGE, /* past body_size */
    REQUEST_INTAKE_NO_ROOM    /* it cannot be kept: errno; EDQUOT when [limits] spool is used up */
};

/* The head announced a body: makes ready for request_take. */
void request_expect_body(struct request *r);

/* Takes body bytes from data[0..len), which is decoded in place; *consumed of them belonged to the body. */
enum request_intake request_take(struct request *r, char *data, size_t len, size_t *consumed);

/* Where the time from the whole request to the head of its answer went: seconds, 0 where it did not come so
 * far. */
struct request_phases {
    double queue; /* no worker was free */
    double start; /* one was starting */
    double app;   /* a worker had it */
};

struct request_phases request_phases(const struct request *r);

/* Gives it its id, if it has none yet. */
void request_identify(struct request *r);

/* The head of the answer: `given` says its status, reason, fields, content_length, has_date and has_server;
 * the rest is the request's, and put in here. False: no memory; the answer is cut. */
bool request_head(struct request *r, const struct http_reply *given);

/* A piece of the answer's body. More than the promised length is dropped. False: no room or no space, the
 * answer is cut and the handler is to stop. */
bool request_body(struct request *r, const void *data, size_t len);

/* The whole body of the answer, or all that is left of it: len bytes of a file from `offset` on. Takes the
 * descriptor over. */
void request_file(struct request *r, int fd, uint64_t offset, uint64_t len);

/* Whether a handler should produce more now; after a false it gets resume() when there is room. */
bool request_room(struct request *r);

/* The answer is complete. The handler must not use r any more. */
void request_end(struct request *r);

/* The answer is broken off; nothing more can be told to the client. The handler must not use r any more. */
void request_cut(struct request *r);

/* Answers with an error page if no head was sent, else cuts. `detail` may be NULL. The handler must not use r
 * any more. */
void request_fail(struct request *r, unsigned status, const char *detail);

/* The same with header lines of its own, each with its CRLF: what a status asks for (Allow, Content-Range).
 */
void request_refuse(struct request *r, unsigned status, const char *detail, const char *fields);

/* Whether it is GET or HEAD. */
bool request_fetches(const struct request *r);

/* Whether it may be given out once more although somebody may have begun it (RFC 9110 9.2.1, 9.2.2). */
bool request_repeats(const struct request *r);

/* The value of a header field of the request by its name; false when there is none. */
bool request_field(const struct request *r, const char *name, struct slice *value);

/* Whether its method is this one. */
bool request_method_is(const struct request *r, const char *method);

#endif
