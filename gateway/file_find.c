/* file_find.c - see file_find.h.
 *
 * The directory is opened anew each time: where it is a symbolic link that a deployment moves, the next
 * request sees it. Small files that were found stay open for the rest of one turn of the loop, for the other
 * requests of this turn: under load that is most of the work, and with nothing to do nothing is held. */
#include "file_find.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "file_open.h"
#include "log.h"
#include "task.h"

enum {
    KEPT = 4,        /* files that stay open for a turn */
    KEPT_PATH = 128, /* bytes of a name that may be kept */
    SUFFIX_MAX = 4
};

/* What a request asks for, as far as it decides which file that is. */
struct wish {
    const struct conf_static *files;
    const char *name; /* below the directory, with a slash before it */
    size_t len;
    uint8_t order[FILE_RULES_CODINGS];
    unsigned codings;
};

static struct kept {
    const struct conf_static *files;
    char name[KEPT_PATH];
    size_t len;
    uint8_t order[FILE_RULES_CODINGS];
    unsigned codings;
    struct file_found found;
} kept[KEPT];
static unsigned kept_count;

/* ---- one turn of the loop ---- */

static void close_kept(struct task *task)
{
    (void)task;
    while (kept_count > 0)
        close(kept[--kept_count].found.fd);
}

static const struct file_found *find_kept(const struct wish *w)
{
    for (unsigned i = 0; i < kept_count; i++) {
        const struct kept *k = &kept[i];
        if (k->files == w->files && k->len == w->len && k->codings == w->codings &&
            memcmp(k->order, w->order, w->codings) == 0 && memcmp(k->name, w->name, w->len) == 0)
            return &k->found;
    }
    return NULL;
}

/* The task's turn comes when all who were ready before it had theirs. */
static const struct file_found *keep(const struct wish *w, const struct file_found *found)
{
    static struct task task = {.run = close_kept};
    if (kept_count == KEPT)
        close_kept(&task);
    struct kept *k = &kept[kept_count++];
    k->files = w->files;
    k->len = w->len <= KEPT_PATH ? w->len : SIZE_MAX; /* a longer one is only kept open until then */
    memcpy(k->name, w->name, w->len <= KEPT_PATH ? w->len : 0);
    memcpy(k->order, w->order, sizeof(k->order));
    k->codings = w->codings;
    k->found = *found;
    task_wake(&task);
    return &k->found;
}

/* ---- the file ---- */

/* 0, or what was wrong: ENOENT also for what is no regular file. */
static int open_regular(int dir, const char *name, struct file_found *f)
{
    struct stat st;
    f->fd = file_open(dir, name);
    if (f->fd == -1)
        return errno;
    int error = fstat(f->fd, &st) == -1 ? errno : S_ISREG(st.st_mode) ? 0 : ENOENT;
    if (error != 0) {
        close(f->fd);
        f->fd = -1;
        return error;
    }
    f->facts = (struct file_rules_facts){
        .size = (uint64_t)st.st_size,
        .modified = st.st_mtim.tv_sec,
        .modified_ns = (uint32_t)st.st_mtim.tv_nsec,
        .inode = st.st_ino,
    };
    return 0;
}

static bool older(const struct file_rules_facts *a, const struct file_rules_facts *b)
{
    return a->modified < b->modified || (a->modified == b->modified && a->modified_ns < b->modified_ns);
}

/* Puts a compressed sibling in the place of the plain file, if there is one that is up to date and that the
 * client takes. `name` has room for a suffix behind its len bytes. */
static void prefer_sibling(const struct wish *w, int dir, char *name, size_t len, struct file_found *f)
{
    for (unsigned i = 0; i < w->codings; i++) {
        const struct file_rules_coding *coding = &file_rules_codings[w->order[i]];
        struct file_found sibling = {.fd = -1, .coding = coding->name};
        memcpy(name + len, coding->suffix, strlen(coding->suffix) + 1);
        if (open_regular(dir, name, &sibling) != 0)
            continue;
        bool stale = older(&sibling.facts, &f->facts);
        close(stale ? sibling.fd : f->fd);
        if (!stale) {
            *f = sibling;
            return;
        }
    }
}

static int open_file(const struct wish *w, int dir, struct file_found *f)
{
    char name[PATH_MAX + SUFFIX_MAX];
    size_t len = w->len;
    if (!file_rules_name(w->name, len))
        return ENOENT;
    if (len > PATH_MAX)
        return ENAMETOOLONG;
    len--; /* its slash */
    memcpy(name, w->name + 1, len);
    name[len] = '\0';
    int error = open_regular(dir, name, f);
    if (error == 0)
        prefer_sibling(w, dir, name, len, f);
    return error;
}

int file_find(const struct request *r, const struct file_found **found)
{
    static struct file_found single; /* a large one, until the caller's task returns */
    struct wish w = {.files = r->files};
    w.name = request_file_name(r, &w.len);
    w.codings = file_rules_accepted(&r->head, r->in.data, w.order);
    *found = find_kept(&w);
    if (*found != NULL)
        return 0;
    int dir = file_open_place(r->files->directory, O_DIRECTORY);
    if (dir == -1) {
        int error = errno;
        log_warning("%s: static %.*s: cannot open %s: %s", r->app_conf->name, (int)r->files->prefix_len,
                    r->files->prefix, r->files->directory, strerror(error));
        return error;
    }
    struct file_found f = {.fd = -1};
    int error = open_file(&w, dir, &f);
    close(dir);
    if (error != 0)
        return error;
    file_rules_etag(&f.facts, f.etag);
    single = f;
    *found = f.facts.size > FILE_FIND_SMALL ? &single : keep(&w, &f);
    return 0;
}
