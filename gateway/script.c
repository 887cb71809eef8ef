/* script.c - see script.h.
 *
 *   /shop/cart/7 in kind files: "shop" is a directory, so go on; "shop/cart" is nothing, and "shop/cart.py" a
 * script: SCRIPT_NAME is /shop/cart, PATH_INFO /7. A directory answers with its index: SCRIPT_NAME is its
 * name without the slash, which is PATH_INFO. So SCRIPT_NAME + PATH_INFO is the path, always.
 *
 * Each name is looked for from the root on, so that a link is followed as far as it stays below the root. */
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file_open.h"
#include "file_type.h"
#include "log.h"

enum {
    DEPTH_MAX = 64, /* directories passed through; each costs a system call */
    SHOWN_MAX = 256 /* bytes of a name in the log */
};

/* A walk down the path: `name` is what it has come to, below the root and without a slash before it. */
struct walk {
    const struct conf_app *app;
    int root;
    char name[PATH_MAX];
    size_t len;
    int error; /* of the last look that failed */
};

/* ---- names ---- */

static bool ends_with(const char *name, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len > n && memcmp(name + len - n, end, n) == 0 && name[len - n - 1] != '/';
}

static bool may_run(const struct conf_app *app, const char *name, size_t len)
{
    for (uint32_t i = 0; i < app->extensions.count; i++)
        if (ends_with(name, len, app->extensions.items[i]))
            return true;
    return false;
}

/* Names that nobody gets to see: hidden ones, and where Python keeps compiled sources. */
static bool is_private(const char *segment, size_t len)
{
    static const char cache[] = "__pycache__";
    return segment[0] == '.' || (len == sizeof(cache) - 1 && memcmp(segment, cache, len) == 0);
}

/* "%2F" in what was sent: as a part of a name it would be none, and as a slash it was not meant. */
static bool has_encoded_slash(const struct request *r)
{
    const char *raw = r->in.data + r->head.path.off;
    for (size_t i = 0; i + 2 < r->head.path.len; i++)
        if (raw[i] == '%' && raw[i + 1] == '2' && (raw[i + 2] | 0x20) == 'f')
            return true;
    return false;
}

static bool push(struct walk *w, const char *text, size_t len)
{
    if (len >= PATH_MAX - w->len)
        return false;
    memcpy(w->name + w->len, text, len);
    w->len += len;
    w->name[w->len] = '\0';
    return true;
}

static void cut(struct walk *w, size_t len)
{
    w->len = len;
    w->name[len] = '\0';
}

/* ---- what there is ---- */

/* The file type bits of what `name` is; 0: nothing, or it cannot be reached. */
static mode_t look(struct walk *w)
{
    struct stat st;
    if (file_look(w->root, w->name, &st) == 0)
        return st.st_mode & S_IFMT;
    if (w->error == 0 || w->error == ENOENT)
        w->error = errno;
    return 0;
}

/* Whether there is a script of this name plus an extension; then that is the name. */
static bool find_extension(struct walk *w)
{
    size_t len = w->len;
    for (uint32_t i = 0; i < w->app->extensions.count; i++) {
        const char *extension = w->app->extensions.items[i];
        if (push(w, extension, strlen(extension)) && look(w) == S_IFREG)
            return true;
        cut(w, len);
    }
    return false;
}

static enum script_verdict judge_file(struct walk *w, bool last)
{
    mode_t type = look(w);
    if (type == S_IFREG && may_run(w->app, w->name, w->len))
        return SCRIPT_RUN;
    if (type == S_IFREG && last && file_type_is_web(w->name, w->len))
        return SCRIPT_SEND;
    if (type == S_IFDIR && !last)
        return SCRIPT_DIRECTORY;
    if (find_extension(w))
        return SCRIPT_RUN;
    return type == S_IFDIR ? SCRIPT_DIRECTORY : SCRIPT_MISSING;
}

static enum script_verdict judge_index(struct walk *w)
{
    size_t len = w->len;
    for (uint32_t i = 0; i < w->app->index.count; i++) {
        const char *index = w->app->index.items[i];
        bool fits = (len == 0 || push(w, "/", 1)) && push(w, index, strlen(index));
        if (fits && look(w) == S_IFREG) {
            if (may_run(w->app, w->name, w->len))
                return SCRIPT_RUN;
            if (file_type_is_web(w->name, w->len))
                return SCRIPT_SEND;
        }
        cut(w, len);
    }
    return SCRIPT_MISSING;
}

/* Goes down rest[0..len), which begins with a slash. *used: how much of it names what was found. */
static enum script_verdict descend(struct walk *w, const char *rest, size_t len, size_t *used)
{
    size_t at = 0;
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        const char *segment = rest + at + 1;
        const char *slash = memchr(segment, '/', len - at - 1);
        size_t n = slash != NULL ? (size_t)(slash - segment) : len - at - 1;
        *used = at;
        if (n == 0)
            return slash == NULL ? judge_index(w) : SCRIPT_MISSING;
        if (is_private(segment, n) || !((at == 0 || push(w, "/", 1)) && push(w, segment, n)))
            return SCRIPT_MISSING;
        at += n + 1;
        *used = at;
        enum script_verdict verdict = judge_file(w, slash == NULL);
        if (verdict != SCRIPT_DIRECTORY || slash == NULL)
            return verdict;
    }
    return SCRIPT_MISSING;
}

/* ---- kind files ---- */

/* "/" and the name; NULL: no memory. */
static char *keep_name(const char *name, size_t len)
{
    char *copy = malloc(len + 2);
    if (copy == NULL)
        return NULL;
    copy[0] = '/';
    memcpy(copy + 1, name, len);
    copy[len + 1] = '\0';
    return copy;
}

/* A miss is a miss; what only the operator can mend is logged. */
static enum script_verdict judge_miss(const struct request *r, int error)
{
    char shown[SHOWN_MAX];
    if (error == 0 || error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG)
        return SCRIPT_MISSING;
    size_t n = log_escape(shown, sizeof(shown), request_path(r), r->path_len);
    log_info("%s: %.*s is not served: %s", r->app_conf->name, (int)n, shown, strerror(error));
    return file_open_is_shortage(error) ? SCRIPT_SHORTAGE : SCRIPT_MISSING;
}

static enum script_verdict find_file(struct request *r, const char *rest, size_t len)
{
    struct walk w = {.app = r->app_conf};
    size_t used;
    w.root = file_open_place(w.app->root, O_DIRECTORY);
    if (w.root == -1) {
        int error = errno;
        log_warning("%s: cannot open root %s: %s", w.app->name, w.app->root, strerror(error));
        return judge_miss(r, error);
    }
    enum script_verdict verdict = descend(&w, rest, len, &used);
    close(w.root);
    if (verdict == SCRIPT_MISSING)
        return judge_miss(r, w.error);
    if (verdict == SCRIPT_DIRECTORY)
        return verdict;
    r->script_file = keep_name(w.name, w.len);
    if (r->script_file == NULL)
        return SCRIPT_SHORTAGE;
    if (verdict == SCRIPT_SEND)
        r->files = &w.app->root_files;
    r->script_len += (uint32_t)used;
    return verdict;
}

/* ---- kind fastcgi: where the files are, only the server knows ---- */

/* How much of rest[0..len) names the script: up to the first segment with an extension that may be run; 0:
 * none has. False: it has a segment before that which names nothing. */
static bool split(const struct conf_app *app, const char *rest, size_t len, size_t *used)
{
    *used = 0;
    for (size_t at = 0, end; at + 1 < len; at = end) {
        const char *slash = memchr(rest + at + 1, '/', len - at - 1);
        end = slash != NULL ? (size_t)(slash - rest) : len;
        if (end == at + 1 || is_private(rest + at + 1, end - at - 1))
            return false;
        if (may_run(app, rest, end)) {
            *used = end;
            return true;
        }
    }
    return true;
}

static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return true;
    return false;
}

/* Whether a part of the script's name is a file, as in "/picture.jpg/x.php": PHP then runs that file, and
 * php-cgi whatever its extension is. Where the files are not ours to see this finds nothing. */
static bool is_below_file(const struct conf_app *app, const char *script_file)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s%s%s", app->document_root, script_file, app->script_tail);
    if (n < 0 || (size_t)n >= sizeof(path)) /* no file has it, and PHP would try the front of it */
        return true;
    return access(path, F_OK) == -1 && errno == ENOTDIR;
}

static enum script_verdict name_script(struct request *r, const char *rest, size_t len)
{
    const struct conf_app *app = r->app_conf;
    char name[PATH_MAX];
    size_t used;
    if (has_control(rest, len) || !split(app, rest, len, &used))
        return SCRIPT_MISSING;
    if (used == 0 && rest[len - 1] == '/' && app->index.count > 0)
        r->script_index = app->index.items[0];
    if (r->script_index != NULL || app->extensions.count == 0)
        used = len;
    size_t index_len = r->script_index != NULL ? strlen(r->script_index) : 0;
    if (used == 0 || used + index_len >= sizeof(name))
        return SCRIPT_MISSING;
    memcpy(name, rest + 1, used - 1);
    if (index_len > 0)
        memcpy(name + used - 1, r->script_index, index_len);
    r->script_file = keep_name(name, used - 1 + index_len);
    if (r->script_file == NULL)
        return SCRIPT_SHORTAGE;
    if (is_below_file(app, r->script_file))
        return SCRIPT_MISSING;
    r->script_len += (uint32_t)used;
    return SCRIPT_RUN;
}

enum script_verdict script_find(struct request *r)
{
    const char *rest = request_path(r) + r->script_len;
    size_t len = r->path_len - r->script_len;
    if (len == 0)
        return SCRIPT_DIRECTORY;
    if (rest[0] != '/' || has_encoded_slash(r))
        return SCRIPT_MISSING;
    return r->app_conf->kind == CONF_KIND_FILES ? find_file(r, rest, len) : name_script(r, rest, len);
}
