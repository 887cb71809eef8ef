/* config.h - the configuration: read once from file, environment and command line into one plain immutable
 * struct.
 *
 * All strings and lists belong to the struct and live in one arena; conf_unref frees everything at once. */
#ifndef LEANGATE_CONFIG_H
#define LEANGATE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONF_OFF  (-1) /* a time, size or number whose value is `off` */
#define CONF_AUTO (-2) /* a number that the worker chooses */

struct conf_list {
    const char *const *items; /* NULL when empty */
    uint32_t count;
};

enum conf_kind {
    CONF_KIND_AUTO, /* the worker finds out: wsgi, asgi or cgi */
    CONF_KIND_WSGI,
    CONF_KIND_ASGI,
    CONF_KIND_CGI,
    CONF_KIND_FILES,
    CONF_KIND_FASTCGI
};

/* As the file has it: "wsgi", "asgi", ... */
static inline const char *conf_kind_name(int kind)
{
    static const char names[][8] = {"auto", "wsgi", "asgi", "cgi", "files", "fastcgi"};
    return names[kind];
}

enum conf_mode { CONF_MODE_AUTO, CONF_MODE_PERSISTENT, CONF_MODE_FORK };
enum conf_lifespan { CONF_LIFESPAN_AUTO, CONF_LIFESPAN_ON, CONF_LIFESPAN_OFF };
enum conf_cache { CONF_CACHE_AUTO, CONF_CACHE_OFF };
enum conf_start { CONF_START_LAZY, CONF_START_CHECK, CONF_START_EAGER };
enum conf_log_level { CONF_LOG_DEBUG, CONF_LOG_INFO, CONF_LOG_WARNING, CONF_LOG_ERROR };
enum conf_log_format { CONF_FORMAT_TEXT, CONF_FORMAT_COMBINED, CONF_FORMAT_JSON };
enum conf_worker_output { CONF_WORKER_AUTO, CONF_WORKER_RAW, CONF_WORKER_TAGGED };

/* One line of `static`. */
struct conf_static {
    const char *prefix; /* not terminated; "/" counts as 0 bytes, so that a path's rest begins with '/' */
    uint32_t prefix_len;
    const char *directory; /* absolute */
};

/* Times are milliseconds, sizes bytes; int64_t so that CONF_OFF fits everywhere. */
struct conf_app {
    const char *name;
    struct conf_list domain; /* lower case host names, "*.example.com"; empty: any */
    struct conf_list path;   /* each begins with '/', none but "/" ends with it */
    bool strip_path;
    const char *root_path;
    int kind;           /* enum conf_kind; AUTO only with a module */
    const char *module; /* AUTO, WSGI, ASGI */
    bool factory;
    const char *script;             /* CGI, and AUTO with a file.py: absolute */
    const char *root;               /* FILES: absolute */
    struct conf_list index;         /* plain file names */
    struct conf_list extensions;    /* each with its dot */
    const char *address;            /* FASTCGI: "unix:/path" or "host:port"; "": there is a command */
    const char *command;            /* FASTCGI: words with blanks between; "": there is an address */
    struct conf_list command_words; /* the same, taken apart */
    const char *script_filename;    /* FASTCGI: with at most one "$path" in it; "": none is sent */
    const char *document_root;      /* what DOCUMENT_ROOT says; "" is "/", NULL: none */
    /* The next two are of the kinds that find scripts by path, FILES and FASTCGI with $path. */
    struct conf_static root_files; /* FILES: all of root */
    const char *script_tail;       /* what stands behind $path; NULL: scripts are not found by path */
    const char *directory;         /* absolute */
    const char *python;            /* as written; conf_python() finds the interpreter */
    int mode;                      /* enum conf_mode */
    struct conf_list preload;      /* names of modules */
    int64_t workers;
    int64_t concurrency; /* CONF_AUTO: the worker's choice; FASTCGI: conf_fastcgi_concurrency() */
    int64_t idle_timeout;
    int start; /* enum conf_start */
    int64_t start_timeout;
    int64_t request_timeout;
    int64_t stream_timeout;
    int64_t slow;
    int64_t stop_timeout;
    int64_t queue;
    int64_t queue_timeout;
    int64_t body_size;
    int64_t max_requests;
    int64_t max_rss;
    int64_t max_age;
    bool reload;
    bool debug;
    int lifespan;              /* enum conf_lifespan */
    struct conf_list env;      /* NAME=value */
    struct conf_list env_file; /* absolute paths; conf_env_file() reads one */
    int bytecode;              /* enum conf_cache */
    int prefetch;              /* enum conf_cache */
    bool import_cache;
    bool clear_env;
    struct conf_list ignore_idle;      /* as path */
    struct conf_list static_files;     /* "/prefix /absolute/directory" */
    const struct conf_static *statics; /* the same, taken apart */
    uint32_t static_count;
    int64_t umask; /* CONF_OFF: inherited */
    int64_t limit_address_space;
    int64_t limit_files;
    int64_t limit_processes;
};

/* Connections at once to a FastCGI program of others, which cannot tell how many it serves. */
static inline uint32_t conf_fastcgi_concurrency(const struct conf_app *app)
{
    return app->concurrency != CONF_AUTO ? (uint32_t)app->concurrency : 16;
}

struct conf {
    /* [gateway] */
    struct conf_list listen;
    int64_t listen_mode;
    int64_t backlog;
    const char *user;                 /* "" : stay */
    const char *group;                /* "" : the user's */
    struct conf_list trusted_proxies; /* addresses, networks, "private", "unix", "*" */
    struct conf_list forwarded;       /* header names, lower case */
    bool proxy_protocol;
    bool server_header;
    const char *cache_dir; /* absolute; "": the usual place of the user that serves; "off" */
    /* [limits] */
    int64_t connections;
    int64_t request_line;
    int64_t headers;
    int64_t header_count;
    int64_t body_memory;
    int64_t response_headers;
    int64_t response_memory;
    int64_t response_spool;
    int64_t buffers;
    int64_t spool;
    int64_t workers; /* of all apps together */
    /* [timeouts] */
    int64_t header;
    int64_t body;
    int64_t send;
    int64_t keepalive;
    int64_t drain;
    int64_t drain_delay;
    int64_t idle_exit;
    /* [log] */
    int log_level;
    const char *access; /* "stdout", "stderr", "off" or an absolute path */
    const char *error;
    int log_format;
    int worker_output;
    const char *request_id; /* header name, or "" when off */
    bool server_timing;

    /* [status] */
    const char *status_listen; /* as an item of `listen`; "": off */
    const char *health_path;   /* "": off */
    const char *ready_path;

    /* How an error about the key begins, if it shows only at start: "gateway.ini:12: [gateway] user: "; ""
     * for a default. */
    const char *listen_place;
    const char *user_place;
    const char *group_place;
    const char *access_place;
    const char *error_place;
    const char *status_listen_place;

    struct conf_list profiled; /* the paths behind `profile APP` */
    const char *profiled_app;  /* `profile -c FILE NAME`: the name, as in its conf_app; NULL: not meant */

    struct conf_app *apps;
    uint32_t app_count;
    const char *file; /* the file it was read from, or "" */

    /* private */
    uint32_t refs;
    void *arena;
    const char *typed_app;   /* name of the app of the command line, as in its conf_app; NULL: none */
    const char *virtual_env; /* $VIRTUAL_ENV and $PATH at load, for conf_python; NULL: not set */
    const char *search_path;
};

/* What conf_load starts from: main's arguments without the program's name; environ; the working directory. */
struct conf_input {
    int argc;
    char *const *argv;
    char *const *environ;
    const char *cwd;
};

/* What the command line asks for besides the configuration. */
enum conf_action {
    CONF_RUN,
    CONF_CHECK,   /* -t */
    CONF_WARM,    /* the word warm */
    CONF_PROFILE, /* the word profile */
    CONF_DUMP,    /* -T */
    CONF_VERSION, /* --version */
    CONF_HELP     /* --help */
};

struct conf_error {
    char text[1024]; /* one line, ready to print: "gateway.ini:12: [app:hello] ..." */
};

/* Reads options, environment and file. *action says what was asked for; for VERSION and HELP *conf stays
 * NULL. Warnings (an unknown LEANGATE_ variable) go to `warn`, one line each. With CONF_DUMP the effective
 * configuration with the source of each value is written to `dump`. Returns 0 with *conf (one reference, the
 * caller's), or -1 with *error; never ends the process. */
int conf_load(const struct conf_input *input, enum conf_action *action, struct conf **conf, FILE *warn,
              FILE *dump, struct conf_error *error);

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf); /* frees at the last; NULL is ignored */

/* From SIGTERM on, how long what is under way may take, drain_delay included: the rest of `drain` is for
 * killing what does not end. */
int64_t conf_drain_time(const struct conf *conf);

/* --help, from the table of directives. */
void conf_help(FILE *out);

/* The interpreter for an app (python = auto: .venv, venv in directory, $VIRTUAL_ENV, python3 on PATH;
 * $VIRTUAL_ENV first for an app of the command line): its absolute path in path[], and words for the banner,
 * like ".venv python 3.11", in label[]. Looks at files only, starts nothing. 0, or -1 with *error. */
int conf_python(const struct conf *conf, const struct conf_app *app, char path[4096], char label[128],
                struct conf_error *error);

/* Reads an env_file: calls add(name=value, arg) for each entry; the text is valid during the call. 0, or -1
 * with *error ("FILE:LINE: ..."). */
int conf_env_file(const char *file, int (*add)(const char *entry, void *arg), void *arg,
                  struct conf_error *error);

#endif
