/* log.c - see log.h.
 *
 * A pipe or terminal is opened a second time through /proc/self/fd, which gives a description of our own that
 * can be non-blocking without changing the one we share with others; where that fails, poll() is asked before
 * each write of at most PIPE_BUF bytes, which then cannot block. */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "json.h"
#include "safe_open.h"
#include "stats.h"

enum {
    PENDING_MAX = 512 * 1024, /* bytes that wait for a slow reader or for space, per target */
    MESSAGE_MAX = 2048        /* bytes of one message */
};

struct sink {
    int fd;         /* -1: off */
    bool opened;    /* fd is ours to close */
    bool may_block; /* ask poll() before each write */
    bool stamped;   /* a file: messages begin with the time */
    bool made;      /* a file, and it was not there before */
    bool full;      /* its disk took nothing at the last try: nobody tells when it does */
    struct buf pending;
    unsigned long dropped; /* lines */
    ev_io io;              /* waits for room while something is pending */
};

enum { SINK_OUT, SINK_ERR, SINK_ACCESS_FILE, SINK_ERROR_FILE, SINKS };

/* clang-format off */
static struct sink sinks[SINKS] = {
    [SINK_OUT]         = {.fd = -1, .pending = {.max = PENDING_MAX}},
    [SINK_ERR]         = {.fd = STDERR_FILENO, .may_block = true, .pending = {.max = PENDING_MAX}},
    [SINK_ACCESS_FILE] = {.fd = -1, .pending = {.max = PENDING_MAX}},
    [SINK_ERROR_FILE]  = {.fd = -1, .pending = {.max = PENDING_MAX}},
};
/* clang-format on */
static struct ev_loop *loop;
static struct sink *access_sink;
static struct sink *error_sink = &sinks[SINK_ERR];
static enum log_level threshold = LOG_INFO;
static bool guarded;

static bool takes_more(const struct sink *sink)
{
    struct pollfd p = {.fd = sink->fd, .events = POLLOUT};
    return !sink->may_block || poll(&p, 1, 0) == 1;
}

/* Whether a write that failed may work later: a disk has space again, or is there again. The reader of a
 * pipe, or a terminal, is gone for good. */
static bool comes_back(const struct sink *sink, int error)
{
    struct stat st;
    return error == ENOSPC || error == EDQUOT || (fstat(sink->fd, &st) == 0 && S_ISREG(st.st_mode));
}

/* Writes what is pending; true when all went out or can never go. */
static bool sink_drain(struct sink *sink)
{
    uint32_t done = 0;
    sink->full = false;
    while (done < sink->pending.len && takes_more(sink)) {
        size_t n = sink->pending.len - done;
        if (sink->may_block && n > PIPE_BUF)
            n = PIPE_BUF;
        ssize_t written = write(sink->fd, sink->pending.data + done, n);
        if (written >= 0)
            done += (uint32_t)written;
        else if (errno == EINTR)
            continue;
        else if (errno == EAGAIN)
            break;
        else if (comes_back(sink, errno)) {
            sink->full = true; /* tried again whenever the loop turns */
            break;
        } else
            done = sink->pending.len;
    }
    buf_consume(&sink->pending, done);
    return sink->pending.len == 0;
}

static void sink_flush(struct sink *sink)
{
    if (sink->pending.len == 0)
        return;
    bool drained = sink_drain(sink);
    if (drained)
        buf_free(&sink->pending);
    if (loop == NULL)
        return;
    if (drained || sink->full)
        ev_io_stop(loop, &sink->io);
    else if (!ev_is_active(&sink->io))
        ev_io_start(loop, &sink->io);
}

static void on_writable(EV_P_ ev_io *io, int events)
{
    (void)EV_A;
    if ((events & EV_ERROR) == 0) /* else it cannot be watched now: the next line tries again */
        sink_flush(io->data);
}

static void drop_line(struct sink *sink)
{
    sink->dropped++;
    stats_globals[STATS_LOG_DROPPED]++;
}

/* Room for a line of at most `len` bytes, behind what is to be said of lines that had none. False: there is
 * none for both, and the line is dropped; or nobody wants it. */
static bool reserve_line(struct sink *sink, size_t len)
{
    char note[96];
    int n = 0;
    if (sink == NULL || sink->fd == -1)
        return false;
    if (sink->dropped > 0)
        n = snprintf(note, sizeof(note),
                     "(%lu log lines dropped: the reader is too slow, or the disk takes nothing)\n",
                     sink->dropped);
    if (n < 0 || !buf_reserve(&sink->pending, (size_t)n + len)) {
        drop_line(sink);
        return false;
    }
    (void)buf_put(&sink->pending, note, (size_t)n);
    sink->dropped = 0;
    return true;
}

static void sink_put(struct sink *sink, const char *line, size_t len)
{
    if (reserve_line(sink, len))
        (void)buf_put(&sink->pending, line, len);
}

static void sink_open(struct sink *sink, int fd)
{
    struct stat st;
    sink->fd = fd;
    sink->may_block = false;
    if (fstat(fd, &st) == -1) {
        sink->fd = -1; /* the descriptor is closed */
    } else if (S_ISFIFO(st.st_mode) || isatty(fd)) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        sink->may_block = own == -1;
        if (own != -1) {
            sink->fd = own;
            sink->opened = true;
        }
    } else if (S_ISSOCK(st.st_mode)) {
        sink->may_block = true;
    }
    ev_io_init(&sink->io, on_writable, sink->fd, EV_WRITE);
    sink->io.data = sink;
}

static int open_once(const char *path, int more)
{
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | more;
    return guarded ? safe_open(path, flags, 0640) : open(path, flags, 0640);
}

/* `made`: whether it is a new file. */
static int open_file(const char *path, bool *made)
{
    int fd = open_once(path, O_EXCL);
    *made = fd != -1;
    return *made || errno != EEXIST ? fd : open_once(path, 0);
}

static struct sink *sink_for(const char *target, struct sink *file)
{
    if (strcmp(target, "off") == 0)
        return NULL;
    if (strcmp(target, "stdout") == 0)
        return &sinks[SINK_OUT];
    if (strcmp(target, "stderr") == 0)
        return &sinks[SINK_ERR];
    int fd = open_file(target, &file->made);
    if (fd == -1)
        return file;
    file->opened = file->stamped = true;
    file->fd = fd;
    ev_io_init(&file->io, on_writable, fd, EV_WRITE);
    file->io.data = file;
    return file;
}

static void reopen(struct sink *file, const char *path)
{
    if (!file->opened)
        return;
    int fd = open_file(path, &file->made);
    if (fd == -1) {
        int code = errno;
        log_error("cannot open the log %s again: %s", path, strerror(code));
        if (file == error_sink) { /* which may have no name any more, and no reader */
            error_sink = &sinks[SINK_ERR];
            log_error("cannot open the log %s again: %s", path, strerror(code));
            error_sink = file;
        }
        return;
    }
    if (loop != NULL)
        ev_io_stop(loop, &file->io);
    close(file->fd);
    file->fd = fd;
    ev_io_set(&file->io, fd, EV_WRITE);
    sink_flush(file);
}

void log_hand_over(uid_t user, gid_t group)
{
    for (int i = 0; i < SINKS; i++)
        if (sinks[i].made && sinks[i].fd != -1 && fchown(sinks[i].fd, user, group) == -1)
            log_warning("cannot give a new log file to user %u, who will not be able to open it again: %s",
                        (unsigned)user, strerror(errno));
}

void log_reopen(const char *access, const char *error)
{
    reopen(&sinks[SINK_ACCESS_FILE], access);
    reopen(&sinks[SINK_ERROR_FILE], error);
}

static void close_file(struct sink *file)
{
    if (!file->opened)
        return;
    sink_flush(file);
    ev_io_stop(loop, &file->io);
    close(file->fd);
    file->opened = false;
    file->fd = -1;
    buf_free(&file->pending);
}

/* What `target` goes to from now on; `before` when it cannot be opened. */
static struct sink *change(struct sink *before, struct sink *file, const char *target)
{
    if (target[0] == '/' && file->opened) {
        reopen(file, target);
        return file;
    }
    struct sink *after = sink_for(target, file);
    if (after == file && file->fd == -1) {
        log_error("cannot open the log %s: %s", target, strerror(errno));
        return before;
    }
    if (after != file)
        close_file(file);
    return after;
}

void log_change(const struct log_targets *targets)
{
    threshold = targets->level;
    access_sink = change(access_sink, &sinks[SINK_ACCESS_FILE], targets->access);
    error_sink = change(error_sink, &sinks[SINK_ERROR_FILE], targets->error);
}

int log_open(struct ev_loop *ev, const struct log_targets *targets, const char **path)
{
    threshold = targets->level;
    guarded = targets->guarded;
    sink_open(&sinks[SINK_OUT], STDOUT_FILENO);
    sink_open(&sinks[SINK_ERR], STDERR_FILENO);
    access_sink = sink_for(targets->access, &sinks[SINK_ACCESS_FILE]);
    *path = targets->access;
    if (access_sink != NULL && access_sink->fd == -1)
        return -1;
    struct sink *error = sink_for(targets->error, &sinks[SINK_ERROR_FILE]);
    *path = targets->error;
    if (error != NULL && error->fd == -1)
        return -1;
    if (error != NULL)
        error_sink = error;
    loop = ev;
    return 0;
}

void log_close(void)
{
    for (int i = 0; i < SINKS; i++) {
        struct sink *sink = &sinks[i];
        sink_flush(sink);
        if (loop != NULL)
            ev_io_stop(loop, &sink->io);
        if (sink->opened)
            close(sink->fd);
        sink->opened = false;
        sink->fd = -1;
        buf_free(&sink->pending);
    }
    sinks[SINK_ERR].fd = STDERR_FILENO;
    sinks[SINK_ERR].may_block = true;
    error_sink = &sinks[SINK_ERR];
    access_sink = NULL;
    loop = NULL;
}

void log_flush(void)
{
    for (int i = 0; i < SINKS; i++)
        sink_flush(&sinks[i]);
}

/* What a message begins with in a file; nothing elsewhere. Returns its length. */
static size_t put_stamp(char *text, size_t size)
{
    const time_t now = time(NULL);
    struct tm tm;
    if (!error_sink->stamped || gmtime_r(&now, &tm) == NULL)
        return 0;
    return strftime(text, size, "%Y-%m-%dT%H:%M:%SZ ", &tm);
}

static void message(enum log_level level, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void message(enum log_level level, const char *format, va_list ap)
{
    static const char *const prefix[] = {"debug: ", "", "warning: ", "error: "};
    int saved = errno;
    if (level < threshold)
        return;
    char line[MESSAGE_MAX];
    size_t head = put_stamp(line, sizeof(line));
    head += (size_t)snprintf(line + head, sizeof(line) - head, "%s", prefix[level]);
    int n = vsnprintf(line + head, sizeof(line) - head - 1, format, ap);
    size_t len = n < 0 ? 0 : head + (size_t)n;
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    sink_put(error_sink, line, len);
    sink_flush(error_sink);
    errno = saved;
}

#define LOG_FUNCTION(name, level)                                                                            \
    void name(const char *format, ...)                                                                       \
    {                                                                                                        \
        va_list ap;                                                                                          \
        va_start(ap, format);                                                                                \
        message(level, format, ap);                                                                          \
        va_end(ap);                                                                                          \
    }

LOG_FUNCTION(log_debug, LOG_DEBUG)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_warning, LOG_WARNING)
LOG_FUNCTION(log_error, LOG_ERROR)

/* What stands at the front of somebody else's text, as it may stand in a log: a character of UTF-8 as it is,
 * control characters and all other bytes as \xNN. Those of U+0080 to U+009F are control characters, too: many
 * a terminal takes U+009B for ESC [. Returns the length, at most 4; *taken: how many bytes that was. */
static size_t put_visible(char *out, const char *text, size_t len, size_t *taken)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)text[0];
    size_t n = json_utf8(text, len);
    bool control = c < 0x20 || c == 0x7f || (n == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0);
    *taken = 1;
    if (n > 0 && !control) {
        memcpy(out, text, n);
        *taken = n;
        return n;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[c >> 4];
    out[3] = hex[c & 15];
    return 4;
}

size_t log_escape(char *out, size_t size, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0, taken; i < len && n + 4 <= size; i += taken) {
        if (text[i] == '"' || text[i] == '\\')
            out[n++] = '\\';
        n += put_visible(out + n, text + i, len - i, &taken);
    }
    return n;
}

/* The same, but a tab, which lines of programs are made of, is kept. */
static size_t put_printed(char *out, const char *text, size_t len, size_t *taken)
{
    if (*text != '\t')
        return put_visible(out, text, len, taken);
    *out = '\t';
    *taken = 1;
    return 1;
}

size_t log_clean(char *out, size_t size, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0, taken; i < len && n + 4 <= size; i += taken)
        n += put_printed(out + n, text + i, len - i, &taken);
    return n;
}

/* A line of somebody else's text behind a tag, cleaned; whole, or dropped and counted. */
static void put_foreign_line(struct sink *sink, const char *tag, const char *text, size_t len)
{
    size_t tag_len = strlen(tag);
    if (!reserve_line(sink, tag_len + 4 * len + 1))
        return;
    char *out = sink->pending.data + sink->pending.len;
    memcpy(out, tag, tag_len);
    size_t n = tag_len;
    for (size_t i = 0, taken; i < len; i += taken)
        n += put_printed(out + n, text + i, len - i, &taken);
    out[n++] = '\n';
    sink->pending.len += (uint32_t)n;
}

void log_text(const char *text, size_t len)
{
    for (size_t start = 0, n; start < len; start += n + 1) {
        const char *end = memchr(text + start, '\n', len - start);
        n = end != NULL ? (size_t)(end - (text + start)) : len - start;
        put_foreign_line(error_sink, "", text + start, n);
    }
}

void log_access(const char *line, size_t len)
{
    sink_put(access_sink, line, len);
}

void log_worker(bool to_stdout, const char *tag, const char *text, size_t len)
{
    struct sink *sink = &sinks[to_stdout ? SINK_OUT : SINK_ERR];
    if (tag != NULL)
        put_foreign_line(sink, tag, text, len);
    else if (reserve_line(sink, len + 1)) {
        (void)buf_put(&sink->pending, text, len);
        (void)buf_putc(&sink->pending, '\n');
    }
}
