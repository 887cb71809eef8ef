/* log.h - all that the gateway writes for people: its own messages, access lines, and what workers print.
 *
 * Nothing here ever blocks: what a full pipe does not take waits in a bounded buffer, what does not fit there
 * is dropped and counted. Messages go out at once, access and worker lines once per turn of the loop
 * (log_flush). */
#ifndef LEANGATE_LOG_H
#define LEANGATE_LOG_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* Where the lines go: "stdout", "stderr", "off" or an absolute path. */
struct log_targets {
    const char *access;
    const char *error;
    enum log_level level;
    bool guarded; /* opened with more rights than their directories' owner may have: not through links */
};

/* Opens the targets. Before it, messages go to stderr at once. 0, or -1 with errno and *path, the one that
 * failed. */
int log_open(struct ev_loop *loop, const struct log_targets *targets, const char **path);

/* The log files that log_open() has made are this user's from now on, who can open them again after a
 * rotation. Those that were there keep their owner. A failure is a warning. */
void log_hand_over(uid_t user, gid_t group);

/* Opens the log files among the targets again under their names, after a rotation. One that cannot be opened
 * stays as it is, with a message. */
void log_reopen(const char *access, const char *error);

/* After log_open: other targets. One that cannot be opened stays what it was, with a message. */
void log_change(const struct log_targets *targets);

/* Writes what waits, as far as it goes without blocking, and closes what log_open opened. */
void log_close(void);

/* One message at its level, without its newline; of a very long one the first 2 KB. errno stays as it is. */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A text of several lines (a traceback), at level error; control bytes but newline and tab are escaped. It
 * goes out with the next message or flush. */
void log_text(const char *text, size_t len);

/* One finished access line, with its newline. */
void log_access(const char *line, size_t len);

/* One line that a worker printed, without its newline, to our stdout or stderr: raw, or behind a tag with its
 * control bytes escaped. */
void log_worker(bool to_stdout, const char *tag, const char *text, size_t len);

/* Writes what has gathered. */
void log_flush(void);

/* Copies text to out with control characters but tabs, and what is no UTF-8, as \xNN. Returns the length, at
 * most size; text that does not fit is cut. */
size_t log_clean(char *out, size_t size, const char *text, size_t len);

/* Copies at most `size` bytes of text to out with control characters and what is no UTF-8 as \xNN, quotes and
 * backslashes as \" and \\. Returns the length of the result, which is no longer than size; text that does
 * not fit is cut. */
size_t log_escape(char *out, size_t size, const char *text, size_t len);

#endif
