/* worker.c - see worker.h. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "memory.h"

enum {
    MESSAGE_MAX = 16 * 1024,    /* bytes of one control message */
    MESSAGES = 16,              /* control messages of one turn */
    MESSAGES_DRAIN = 256,       /* the same when the process has ended */
    NOTES_MAX = 100,            /* NOTEs of one worker that are logged */
    OUTPUT_READ = 16 * 1024,    /* bytes of one read of a worker's output */
    OUTPUT_READS = 4,           /* reads of one output in one turn */
    OUTPUT_DRAIN = 64,          /* the same when the process has ended; a grandchild may go on writing */
    LINE_MAX_BYTES = 64 * 1024, /* a longer line of output is broken */
    BACKLOG_MIN = 128,
    ARGUMENTS_MAX = 16
};

static struct list all = {&all, &all};
static ev_child strangers; /* sees every child's exit */
static bool sweeping;      /* strangers were killed and may have left children of their own */

/* ---- actions of the state machine ---- */

static void tell_owner(struct worker *w, unsigned news)
{
    w->news |= news;
    task_wake(w->owner.task);
}

static void ask_stop(struct worker *w)
{
    /* Full (a worker that does not read) or closed: the stop timeout follows. */
    if (w->control.fd != -1)
        (void)!send(w->control.fd, "STOP", 4, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void start_timer(struct worker *w, int64_t ms)
{
    timeq_start(timeq_get(ms), &w->deadline, &w->task);
}

void worker_event(struct worker *w, enum worker_event event)
{
    struct worker_step step = worker_fsm(w->state, event);
    if (event != WORKER_ON_EMPTY)
        log_debug("%s: worker %d %s: %s -> %s", w->owner.app->name, (int)w->pid, worker_event_name(event),
                  worker_state_name(w->state), worker_state_name((enum worker_state)step.next));
    w->state = (enum worker_state)step.next;
    if (step.actions & WORKER_DO_TELL_READY)
        tell_owner(w, WORKER_NEWS_READY);
    if (step.actions & WORKER_DO_TELL_FAILED)
        tell_owner(w, WORKER_NEWS_FAILED);
    if (step.actions & WORKER_DO_ASK_STOP)
        ask_stop(w);
    if ((step.actions & WORKER_DO_SIGKILL) && !w->exited) {
        kill(-w->pid, SIGKILL);
        kill(w->pid, SIGKILL); /* it may have left its group */
    }
    if (step.actions & WORKER_DO_CLEAR_TIMER)
        timeq_stop(&w->deadline);
    if (step.actions & WORKER_DO_START_TIMER)
        start_timer(w, w->owner.app->stop_timeout);
    if (step.actions & WORKER_DO_FORGET)
        tell_owner(w, WORKER_NEWS_GONE);
}

/* ---- the control channel ---- */

static void on_start(struct worker *w, const char *rest)
{
    (void)rest;
    w->up = timeq_clock();
}

/* "READY kind mode concurrency import_us" */
static void on_ready(struct worker *w, const char *rest)
{
    char kind[16], mode[16];
    unsigned concurrency;
    long long import_us;
    struct list *node, *after;
    if (sscanf(rest, "%15s %15s %u %lld", kind, mode, &concurrency, &import_us) != 4 || concurrency == 0 ||
        concurrency > 65535 || w->ready != 0) {
        log_error("%s: worker %d told a READY that makes no sense", w->owner.app->name, (int)w->pid);
        worker_event(w, WORKER_ON_BROKEN);
        return;
    }
    w->ready = timeq_clock();
    w->concurrency = concurrency;
    w->import_us = import_us;
    LIST_EACH (node, after, &w->slots)
        upstream_set_ready(LIST_OBJECT(node, struct upstream, node));
    worker_event(w, WORKER_ON_READY);
}

static void on_failed(struct worker *w, const char *rest)
{
    if (w->failure == NULL)
        w->failure = strdup(rest); /* NULL: the failure is told without its text */
    worker_event(w, WORKER_ON_FAILED);
}

static void on_note(struct worker *w, const char *rest)
{
    char line[512];
    if (++w->notes > NOTES_MAX)
        return;
    size_t n = log_escape(line, sizeof(line), rest, strlen(rest));
    log_warning("%s: %.*s", w->owner.app->name, (int)n, line);
}

static void take_message(struct worker *w, char *text)
{
    static const struct {
        const char *word;
        void (*run)(struct worker *w, const char *rest);
    } messages[] = {
        {"START",    on_start },
        {"READY ",   on_ready },
        {"FAILED\n", on_failed},
        {"NOTE ",    on_note  }
    };
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        size_t n = strlen(messages[i].word);
        if (strncmp(text, messages[i].word, n) == 0) {
            messages[i].run(w, text + n);
            return;
        }
    }
    log_error("%s: worker %d told nonsense on its control channel", w->owner.app->name, (int)w->pid);
    worker_event(w, WORKER_ON_BROKEN);
}

/* At most `messages` of them: what more there is keeps the task awake. */
static void read_control(struct worker *w, int messages)
{
    char *text = memory_scratch;
    while (w->control.fd != -1) {
        if (messages-- == 0) {
            task_wake(&w->task);
            return;
        }
        ssize_t n = recv(w->control.fd, text, MESSAGE_MAX, MSG_DONTWAIT);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno == EAGAIN)
            return;
        if (n <= 0) { /* it closed its end, or is gone: which the exit tells */
            ev_io_stop(w->owner.loop, &w->control);
            close(w->control.fd);
            ev_io_set(&w->control, -1, EV_READ);
            return;
        }
        text[n] = '\0';
        take_message(w, text);
    }
}

/* ---- what the worker prints ---- */

static bool tagged(const struct worker *w)
{
    int mode = w->owner.conf->worker_output;
    return mode == CONF_WORKER_TAGGED || (mode == CONF_WORKER_AUTO && w->owner.conf->app_count > 1);
}

/* One line without its end. */
static void emit(const struct worker_output *o, const char *text, size_t len)
{
    const struct worker *w = o->worker;
    char tag[128];
    snprintf(tag, sizeof(tag), "%s[%d]: ", w->owner.app->name, (int)w->pid);
    log_worker(o->to_stdout, tagged(w) ? tag : NULL, text, len);
}

static void split_lines(struct worker_output *o, const char *data, size_t len)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end != NULL ? (size_t)(end - data) : len;
        size_t room = o->line.max - o->line.len;
        size_t taken = n < room ? n : room;
        bool whole = end != NULL && taken == n;
        if (whole && o->line.len == 0) {
            emit(o, data, n);
        } else if (!buf_put(&o->line, data, taken) || whole || o->line.len == o->line.max) {
            emit(o, o->line.data, o->line.len);
            buf_free(&o->line);
        }
        taken += whole;
        data += taken;
        len -= taken;
    }
}

static void close_output(struct worker_output *o)
{
    if (o->io.fd == -1)
        return;
    ev_io_stop(o->worker->owner.loop, &o->io);
    close(o->io.fd);
    ev_io_set(&o->io, -1, EV_READ);
    if (o->line.len > 0)
        emit(o, o->line.data, o->line.len);
    buf_free(&o->line);
}

static void read_output(struct worker_output *o, int reads)
{
    while (o->io.fd != -1 && reads-- > 0) {
        ssize_t n = read(o->io.fd, memory_scratch, OUTPUT_READ);
        if (n > 0)
            split_lines(o, memory_scratch, (size_t)n);
        else if (n == -1 && errno == EAGAIN)
            return;
        else if (n == 0 || errno != EINTR)
            close_output(o);
    }
}

/* ---- events: noted here, worked on in run() ---- */

static void on_io(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    (void)events;
    struct worker *w = io->data;
    task_wake(&w->task);
}

/* Kills every child that is not a worker: what workers have left behind was handed to us by the kernel.
 * Children of the kernel's list are unreaped, so no pid can be somebody else's. */
static void kill_strangers(void)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    sweeping = false;
    text[n > 0 ? n : 0] = '\0';
    char *last = strrchr(text, ' '); /* the last pid may be cut in its digits */
    if (last == NULL)
        return;
    *last = '\0';
    char *next = text;
    for (long pid = strtol(text, &next, 10); pid > 0; pid = strtol(next, &next, 10)) {
        struct list *node, *after;
        bool ours = false;
        LIST_EACH (node, after, &all)
            ours = ours || LIST_OBJECT(node, struct worker, all)->pid == pid;
        if (!ours) {
            kill((pid_t)pid, SIGKILL);
            sweeping = true;
        }
    }
}

static void on_child(EV_P_ ev_child *child, int events)
{
    (void)events;
    struct worker *w = child->data;
    ev_child_stop(EV_A_ child);
    w->exited = true;
    w->exit_status = child->rstatus;
    task_wake(&w->task);
}

static void on_stranger(EV_P_ ev_child *child, int events)
{
    (void)EV_A;
    (void)events;
    struct list *node, *after;
    bool worker = false;
    LIST_EACH (node, after, &all)
        worker = worker || LIST_OBJECT(node, struct worker, all)->pid == child->rpid;
    if (worker)
        return;
    log_debug("reaped process %d, which a worker had left behind", child->rpid);
    if (sweeping)
        kill_strangers();
}

void worker_reap_strangers(struct ev_loop *loop)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1)
        log_debug("not a subreaper: %s", strerror(errno));
    ev_child_init(&strangers, on_stranger, 0, 0);
    ev_child_start(loop, &strangers);
}

/* The process is reaped: everything it still said comes first, then the exit itself. */
static void finish(struct worker *w)
{
    struct list *node, *after;
    w->exited = false;
    list_remove(&w->all);
    kill_strangers();
    read_control(w, MESSAGES_DRAIN);
    for (int i = 0; i < 2; i++) {
        read_output(&w->output[i], OUTPUT_DRAIN);
        close_output(&w->output[i]);
    }
    LIST_EACH (node, after, &w->slots)
        upstream_drain(LIST_OBJECT(node, struct upstream, node));
    worker_event(w, WORKER_ON_EXIT);
}

static void run(struct task *task)
{
    struct worker *w = LIST_OBJECT(task, struct worker, task);
    if (w->exited) {
        finish(w);
        return;
    }
    read_control(w, MESSAGES);
    for (int i = 0; i < 2; i++)
        read_output(&w->output[i], OUTPUT_READS);
    if (!w->deadline.expired)
        return;
    w->deadline.expired = false;
    bool starting = w->state == WORKER_STARTING;
    w->start_expired = w->start_expired || starting;
    w->stop_expired = w->stop_expired || !starting;
    worker_event(w, starting ? WORKER_ON_START_TIMEOUT : WORKER_ON_STOP_TIMEOUT);
}

/* ---- birth ---- */

/* A Python string literal of the directory, for the -c text. False: too long. */
static bool quote(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        if (n + 3 > size)
            return false;
        if (*text == '\'' || *text == '\\')
            out[n++] = '\\';
        out[n++] = *text;
    }
    out[n] = '\0';
    return true;
}

static const char *kind_name(int kind)
{
    return kind == CONF_KIND_WSGI ? "wsgi" : "auto";
}

/* Why no process was started; code: an errno, or 0. */
static void explain(const struct worker *w, struct conf_error *error, const char *what, int code)
{
    snprintf(error->text, sizeof(error->text), "app %s: %s%s%s", w->owner.app->name, what,
             code != 0 ? ": " : "", code != 0 ? strerror(code) : "");
}

/* The descriptors of both ends; -1 where there is none. */
struct ends {
    int control[2]; /* ours, the child's */
    int out[2];     /* read end, write end */
    int err[2];
};

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] != -1)
            close(pair[i]);
}

static int open_ends(struct ends *e)
{
    *e = (struct ends){
        {-1, -1},
        {-1, -1},
        {-1, -1}
    };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->control) == -1)
        return -1;
    if (pipe2(e->out, O_CLOEXEC) == -1 || pipe2(e->err, O_CLOEXEC) == -1)
        return -1;
    if (fcntl(e->out[0], F_SETFL, O_NONBLOCK) == -1 || fcntl(e->err[0], F_SETFL, O_NONBLOCK) == -1)
        return -1;
    return 0;
}

static int start_process(struct worker *w, struct ends *e, struct conf_error *error)
{
    char python[4096], label[128], library[4096], code[4096 + 128];
    const struct conf_app *app = w->owner.app;
    if (conf_python(w->owner.conf, app, python, label, error) == -1)
        return -1;
    if (!quote(library, sizeof(library), w->owner.library)) {
        explain(w, error, "the path of pyworker is too long", 0);
        return -1;
    }
    snprintf(code, sizeof(code), "import sys; sys.path.insert(0, '%s'); import pyworker.__main__", library);
    const char *argv[ARGUMENTS_MAX] = {python, "-c", code, "--kind", kind_name(app->kind)};
    size_t n = 5;
    if (app->factory)
        argv[n++] = "--factory";
    if (app->debug)
        argv[n++] = "--debug";
    argv[n++] = app->module;
    struct spawn spawn = {
        .app = app,
        .program = python,
        .argv = argv,
        .listen_fd = w->socket.listen_fd,
        .out_fd = e->out[1],
        .err_fd = e->err[1],
        .control_fd = e->control[1],
    };
    w->pid = spawn_process(&spawn);
    if (w->pid == -1) {
        explain(w, error, "cannot start a process", errno);
        return -1;
    }
    return 0;
}

static void watch(struct worker *w, struct ends *e)
{
    struct ev_loop *loop = w->owner.loop;
    ev_child_init(&w->child, on_child, w->pid, 0);
    w->child.data = w;
    ev_child_start(loop, &w->child);
    ev_io_init(&w->control, on_io, e->control[0], EV_READ);
    w->control.data = w;
    ev_io_start(loop, &w->control);
    for (int i = 0; i < 2; i++) {
        struct worker_output *o = &w->output[i];
        o->worker = w;
        o->to_stdout = i == 0;
        buf_init(&o->line, LINE_MAX_BYTES);
        ev_io_init(&o->io, on_io, i == 0 ? e->out[0] : e->err[0], EV_READ);
        o->io.data = w;
        ev_io_start(loop, &o->io);
    }
    e->control[0] = e->out[0] = e->err[0] = -1;
}

struct worker *worker_new(const struct worker_owner *owner, struct conf_error *error)
{
    struct ends ends = {
        {-1, -1},
        {-1, -1},
        {-1, -1}
    };
    struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        snprintf(error->text, sizeof(error->text), "app %s: no memory for a worker", owner->app->name);
        return NULL;
    }
    w->owner = *owner;
    w->state = WORKER_STARTING;
    w->concurrency = 1;
    w->import_us = -1;
    list_init(&w->slots);
    list_init(&w->done);
    task_init(&w->task, run);
    w->spawned = timeq_clock();
    if (spawn_socket(&w->socket, BACKLOG_MIN) == -1 || open_ends(&ends) == -1) {
        explain(w, error, "cannot make the worker's sockets", errno);
        goto fail;
    }
    if (start_process(w, &ends, error) == -1)
        goto fail;
    watch(w, &ends);
    close_pair(ends.control);
    close_pair(ends.out);
    close_pair(ends.err);
    close(w->socket.listen_fd);
    w->socket.listen_fd = -1;
    list_append(&all, &w->all);
    start_timer(w, owner->app->start_timeout);
    return w;
fail:
    close_pair(ends.control);
    close_pair(ends.out);
    close_pair(ends.err);
    spawn_socket_close(&w->socket);
    free(w);
    return NULL;
}

void worker_free(struct worker *w)
{
    struct list *node, *after;
    LIST_EACH (node, after, &w->slots)
        upstream_free(LIST_OBJECT(node, struct upstream, node));
    for (int i = 0; i < 2; i++)
        close_output(&w->output[i]);
    if (w->control.fd != -1) {
        ev_io_stop(w->owner.loop, &w->control);
        close(w->control.fd);
    }
    ev_child_stop(w->owner.loop, &w->child);
    timeq_stop(&w->deadline);
    timeq_stop(&w->idle);
    task_cancel(&w->task);
    list_remove(&w->all);
    list_remove(&w->node);
    spawn_socket_close(&w->socket);
    free(w->failure);
    free(w);
}

/* ---- slots ---- */

void worker_lost(struct worker *w)
{
    w->lost = true;
    worker_event(w, w->state == WORKER_STARTING ? WORKER_ON_BROKEN : WORKER_ON_RETIRE);
}

struct upstream *worker_slot(struct worker *w)
{
    struct list *node, *after;
    if (w->lost || (w->state != WORKER_STARTING && w->state != WORKER_READY))
        return NULL;
    LIST_EACH (node, after, &w->slots) {
        struct upstream *up = LIST_OBJECT(node, struct upstream, node);
        if (up->state == UPSTREAM_FREE || (up->state == UPSTREAM_CLOSED && up->result == UPSTREAM_NOTHING))
            return up;
    }
    if (w->slot_count >= w->concurrency)
        return NULL;
    struct upstream_owner owner = {
        .loop = w->owner.loop,
        .conf = w->owner.conf,
        .app = w->owner.app,
        .path = w->socket.path,
        .done = &w->done,
        .task = w->owner.task,
    };
    struct upstream *up = upstream_new(&owner, (uint16_t)(w->slot_count + 1));
    if (up == NULL)
        return NULL;
    w->slot_count++;
    list_append(&w->slots, &up->node);
    return up;
}

uint32_t worker_busy(const struct worker *w)
{
    uint32_t busy = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &w->slots) {
        enum upstream_state state = LIST_OBJECT(node, struct upstream, node)->state;
        busy += state != UPSTREAM_FREE && state != UPSTREAM_CLOSED;
    }
    return busy;
}

uint32_t worker_serving(const struct worker *w)
{
    uint32_t serving = 0;
    struct list *node, *after;
    LIST_EACH (node, after, &w->slots) {
        enum upstream_state state = LIST_OBJECT(node, struct upstream, node)->state;
        serving += state == UPSTREAM_BUSY || state == UPSTREAM_TAIL;
    }
    return serving;
}

uint64_t worker_memory(pid_t pid)
{
    char path[64], line[256];
    uint64_t total = 0;
    if (pid == 0)
        snprintf(path, sizeof(path), "/proc/self/smaps_rollup");
    else
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long long kb;
        if (sscanf(line, "Private_Clean: %llu", &kb) == 1 || sscanf(line, "Private_Dirty: %llu", &kb) == 1)
            total += kb * 1024;
    }
    fclose(file);
    return total;
}
