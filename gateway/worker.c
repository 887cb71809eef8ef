/* worker.c - see worker.h. */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "launch.h"
#include "log.h"
#include "proc.h"

enum {
    MESSAGES = 16,        /* control messages of one turn */
    MESSAGES_DRAIN = 256, /* the same when the process has ended */
    NOTES_MAX = 100       /* NOTEs of one worker that are logged */
};

static const double STACKS_PAUSE = 0.2; /* seconds between two requests for its stacks */

#define STACKS_SIGNAL (SIGRTMAX - 1) /* pyworker/README.md */

/* ---- actions of the state machine ---- */

static void tell_owner(struct worker *w, unsigned news)
{
    w->news |= news;
    task_wake(w->owner.task);
}

static void ask_stop(const struct worker *w)
{
    bool told = w->control.fd != -1 && control_send(w->control.fd, "STOP");
    if (!told && !w->child.exited)
        kill(w->child.pid, SIGTERM); /* it has closed its channel, or there is no memory for a message */
}

static void send_sigkill(const struct worker *w)
{
    if (w->child.exited)
        return;
    kill(-w->child.pid, SIGKILL);
    kill(w->child.pid, SIGKILL); /* it may have left its group */
}

static void start_timer(struct worker *w, int64_t ms)
{
    timeq_start(timeq_get(ms), &w->deadline, &w->task);
}

void worker_event(struct worker *w, enum worker_event event)
{
    struct worker_step step = worker_fsm(w->state, event);
    if (event != WORKER_ON_EMPTY)
        log_debug("%s: worker %d %s: %s -> %s", w->owner.app->name, (int)w->child.pid,
                  worker_event_name(event), worker_state_name(w->state),
                  worker_state_name((enum worker_state)step.next));
    w->state = (enum worker_state)step.next;
    if (step.actions & WORKER_DO_TELL_READY)
        tell_owner(w, WORKER_NEWS_READY);
    if (step.actions & WORKER_DO_TELL_FAILED)
        tell_owner(w, WORKER_NEWS_FAILED);
    if (step.actions & WORKER_DO_ASK_STOP)
        ask_stop(w);
    if (step.actions & WORKER_DO_SIGKILL)
        send_sigkill(w);
    if (step.actions & WORKER_DO_CLEAR_TIMER)
        timeq_stop(&w->deadline);
    if (step.actions & WORKER_DO_START_TIMER)
        start_timer(w, w->owner.app->stop_timeout);
    if (step.actions & WORKER_DO_FORGET)
        tell_owner(w, WORKER_NEWS_GONE);
}

void worker_end(struct worker *w, enum worker_event event, unsigned why)
{
    struct proc_memory memory;
    if (w->why == 0) {
        w->why = why;
        proc_rss(w->child.pid, &memory); /* nobody can ask for it later */
        w->memory_most = memory.rss_most;
    }
    worker_event(w, event);
}

/* ---- the control channel ---- */

static void on_ready(struct worker *w, const struct control_message *message)
{
    struct list *node, *after;
    w->ready = timeq_clock();
    w->start_expired = false; /* while its stacks were written it went on after all */
    w->concurrency = message->concurrency;
    w->import_us = message->import_us;
    w->link = message->kind == CONF_KIND_FASTCGI ? UPSTREAM_SINGLE
              : message->fork                    ? UPSTREAM_COPY
              : message->kind == CONF_KIND_ASGI  ? UPSTREAM_TASK
                                                 : UPSTREAM_KEPT;
    LIST_EACH (node, after, &w->slots)
        upstream_set_ready(LIST_OBJECT(node, struct upstream, node), w->link);
    worker_event(w, WORKER_ON_READY);
}

static void on_note(struct worker *w, const char *text)
{
    char line[512];
    if (++w->notes > NOTES_MAX)
        return;
    size_t n = log_escape(line, sizeof(line), text, strlen(text));
    log_warning("%s: %.*s", w->owner.app->name, (int)n, line);
}

/* What no worker of ours says. There may be a lot of it. */
static void on_nonsense(struct worker *w)
{
    if (w->state != WORKER_KILL)
        log_error("%s: worker %d told nonsense on its control channel", w->owner.app->name,
                  (int)w->child.pid);
    worker_event(w, WORKER_ON_BROKEN);
}

static void close_control(struct worker *w)
{
    if (w->control.fd == -1)
        return;
    ev_io_stop(w->owner.loop, &w->control);
    close(w->control.fd);
    ev_io_set(&w->control, -1, EV_READ);
}

/* Our end is all there is of a channel of kind fastcgi: the other one was closed by the exec that went well.
 */
static void on_exec(struct worker *w)
{
    const struct conf_app *app = w->owner.app;
    const struct control_message ready = {
        .kind = CONF_KIND_FASTCGI,
        .concurrency = conf_fastcgi_concurrency(app),
    };
    if (app->kind == CONF_KIND_FASTCGI && w->state == WORKER_STARTING)
        on_ready(w, &ready);
}

static void take_message(struct worker *w, const struct control_message *message)
{
    switch (message->type) {
    case CONTROL_NOTHING:
        break;
    case CONTROL_END: /* what it means the exit tells */
        close_control(w);
        on_exec(w);
        break;
    case CONTROL_START:
        w->up = timeq_clock();
        break;
    case CONTROL_READY:
        if (w->ready == 0)
            on_ready(w, message);
        else
            on_nonsense(w);
        break;
    case CONTROL_FAILED:
        if (w->ready != 0) {
            on_nonsense(w);
            break;
        }
        if (w->failure == NULL)
            w->failure = strdup(message->text); /* NULL: the failure is told without its text */
        worker_event(w, WORKER_ON_FAILED);
        break;
    case CONTROL_LIVE:
        if (w->live == NULL)
            w->live = strdup(message->text); /* NULL: a warning less */
        break;
    case CONTROL_NOTE:
        on_note(w, message->text);
        break;
    case CONTROL_NONSENSE:
        on_nonsense(w);
        break;
    }
}

/* At most `messages` of them: what more there is keeps the task awake. */
static void read_control(struct worker *w, int messages)
{
    struct control_message message;
    while (w->control.fd != -1) {
        if (messages-- == 0) {
            task_wake(&w->task);
            return;
        }
        control_receive(w->control.fd, &message);
        take_message(w, &message);
        if (message.type == CONTROL_NOTHING)
            return;
    }
}

/* ---- events: noted here, worked on in run() ---- */

static void on_io(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    struct worker *w = io->data;
    if ((events & EV_ERROR) != 0) {
        log_error("%s: worker %d is killed: its control channel cannot be watched (no memory, or "
                  "fs.epoll.max_user_watches)",
                  w->owner.app->name, (int)w->child.pid);
        send_sigkill(w);
    }
    task_wake(&w->task);
}

/* The process is reaped: everything it still said comes first, then the exit itself. */
static void finish(struct worker *w)
{
    struct list *node, *after;
    reaper_forget(&w->child);
    reaper_sweep();
    read_control(w, MESSAGES_DRAIN);
    output_finish(&w->out);
    output_finish(&w->err);
    LIST_EACH (node, after, &w->slots)
        upstream_drain(LIST_OBJECT(node, struct upstream, node));
    worker_event(w, WORKER_ON_EXIT);
}

static void run(struct task *task)
{
    struct worker *w = LIST_OBJECT(task, struct worker, task);
    if (w->child.exited) {
        if (!w->finished)
            finish(w);
        w->finished = true;
        return;
    }
    read_control(w, MESSAGES);
    output_read(&w->out);
    output_read(&w->err);
    if (!w->deadline.expired)
        return;
    w->deadline.expired = false;
    bool starting = w->state == WORKER_STARTING;
    if (starting && w->up != 0 && !w->start_expired) { /* where it stands is worth the moment */
        w->start_expired = true;
        worker_ask_stacks(w, 0);
        start_timer(w, STACKS_MS);
        return;
    }
    if (starting)
        w->start_expired = true;
    else
        w->stop_expired = true;
    worker_event(w, starting ? WORKER_ON_START_TIMEOUT : WORKER_ON_STOP_TIMEOUT);
}

/* ---- birth and end ---- */

static bool tagged(const struct worker_owner *owner)
{
    int mode = owner->conf->worker_output;
    return mode == CONF_WORKER_TAGGED || (mode == CONF_WORKER_AUTO && owner->conf->app_count > 1);
}

static void open_output(struct worker *w, struct output *o, int fd)
{
    o->app = w->owner.app->name;
    o->tagged = tagged(&w->owner);
    o->pid = (int)w->child.pid;
    o->to_stdout = o == &w->out;
    o->tail = &w->tail;
    output_open(o, w->owner.loop, fd, &w->task);
}

static void watch(struct worker *w, const struct launch *launch)
{
    w->socket = launch->socket;
    (void)net_unix_address(w->socket.path, &w->address); /* whose path fits by its type */
    reaper_watch(&w->child, launch->pid, &w->task);
    ev_io_init(&w->control, on_io, launch->control_fd, EV_READ);
    w->control.data = w;
    ev_io_start(w->owner.loop, &w->control);
    open_output(w, &w->out, launch->out_fd);
    open_output(w, &w->err, launch->err_fd);
    start_timer(w, w->owner.app->start_timeout);
}

/* As far as the configuration tells; kind auto may turn out to fork. */
static enum upstream_link link_of(const struct conf_app *app)
{
    bool script = app->kind == CONF_KIND_CGI || app->kind == CONF_KIND_FILES;
    if (app->kind == CONF_KIND_FASTCGI)
        return UPSTREAM_SINGLE;
    return app->mode == CONF_MODE_FORK || (app->mode == CONF_MODE_AUTO && script) ? UPSTREAM_COPY
                                                                                  : UPSTREAM_KEPT;
}

struct worker *worker_new(const struct worker_owner *owner, struct conf_error *error)
{
    struct launch launch;
    struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        snprintf(error->text, sizeof(error->text), "%s: no memory for a worker", owner->app->name);
        errno = ENOMEM;
        return NULL;
    }
    w->owner = *owner;
    w->state = WORKER_STARTING;
    w->concurrency = 1;
    w->link = link_of(owner->app);
    w->import_us = -1;
    list_init(&w->slots);
    list_init(&w->done);
    tail_init(&w->tail);
    task_init(&w->task, run);
    w->spawned = timeq_clock();
    if (launch_worker(&launch, owner->conf, owner->app, owner->library, error) == -1) {
        int code = errno;
        free(w);
        errno = code;
        return NULL;
    }
    w->made = timeq_clock();
    (void)conf_ref(w->owner.conf);
    watch(w, &launch);
    return w;
}

void worker_free(struct worker *w)
{
    struct list *node, *after;
    LIST_EACH (node, after, &w->slots)
        upstream_free(LIST_OBJECT(node, struct upstream, node));
    output_close(&w->out);
    output_close(&w->err);
    close_control(w);
    reaper_forget(&w->child);
    timeq_stop(&w->deadline);
    timeq_stop(&w->idle);
    timeq_stop(&w->age);
    task_cancel(&w->task);
    list_remove(&w->node);
    spawn_socket_close(&w->socket);
    tail_free(&w->tail);
    conf_unref(w->owner.conf);
    free(w->failure);
    free(w->live);
    free(w);
}

/* ---- slots ---- */

void worker_look(struct worker *w)
{
    read_control(w, MESSAGES);
}

void worker_lost(struct worker *w)
{
    worker_look(w);              /* a start that failed may have said why */
    if (w->state == WORKER_KILL) /* by us, and with it what it had */
        return;
    w->lost = true;
    /* a process that ends has no memory left when its sockets are closed */
    w->hung_up = w->hung_up || proc_resident(w->child.pid) > 0;
    worker_event(w, w->state == WORKER_STARTING ? WORKER_ON_BROKEN : WORKER_ON_RETIRE);
}

void worker_tell_slot(const struct worker *w, const char *word, uint16_t id)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%s %u", word, id);
    if (w->control.fd != -1)
        (void)control_send(w->control.fd, text); /* a slot that stays taken ends its worker */
}

void worker_ask_stacks(struct worker *w, uint16_t id)
{
    double now = timeq_clock();
    bool all = w->link != UPSTREAM_COPY; /* are in the answer, not those of one request alone */
    if (w->child.exited || w->up == 0 || (all && now - w->asked < STACKS_PAUSE))
        return;
    w->asked = now;
    worker_tell_slot(w, "STACK", id);
    if (all)
        kill(w->child.pid, STACKS_SIGNAL);
}
