/* sections.c - what stands in a file: sections, keys, and the files that it includes. */
#include "load.h"

#include <errno.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include "reader.h"
#include "suggest.h"

#define INCLUDE_DEPTH 8
#define FILES_MAX     10000 /* all files together: globs that include each other */

/* One file while it is read. */
struct source {
    struct loader *loader;
    struct place place;          /* base: the file's directory */
    const struct source *parent; /* the file that includes it; NULL: none */
    dev_t dev;
    ino_t ino;
    unsigned depth;
    enum table_section section;
    struct draft *draft;         /* the app of an [app:NAME] section */
    const struct table_row *row; /* of the key that an indented line continues */
};

static bool include(struct source *parent, struct loader *l, const struct place *place, const char *pattern);

/* ---- sections ---- */

static bool is_app_name(const char *name, size_t len)
{
    return len > 0 && len <= APP_NAME_MAX && strspn(name, CHECK_LETTERS CHECK_DIGITS "-.") >= len;
}

struct draft *sections_draft(struct loader *l, const struct place *place, const char *name, size_t len)
{
    struct draft *draft = arena_alloc(l->scratch, sizeof(*draft));
    const char *copy = draft != NULL ? arena_copy(l->arena, name, len) : NULL;
    if (copy == NULL) {
        (void)load_no_memory(l);
        return NULL;
    }
    draft->app.name = copy;
    draft->place = *place;
    draft->index = l->draft_count++;
    *l->drafts_end = draft;
    l->drafts_end = &draft->next;
    return draft;
}

/* The app that [hello] or [app hello] was to be. */
static const char *meant(const char *name)
{
    const char *part = strncmp(name, "app ", 4) == 0 ? name + 4 : name;
    return is_app_name(part, strlen(part)) ? part : "NAME";
}

static bool unknown_section(struct source *s, const char *name)
{
    struct loader *l = s->loader;
    size_t head = strcspn(name, ":");
    const char *word = arena_copy(l->scratch, name, head);
    if (word == NULL)
        return load_no_memory(l);
    struct suggest suggest;
    suggest_init(&suggest, word);
    if (name[head] == ':')
        (void)suggest_offer(&suggest, table_section_name(TABLE_APP));
    else
        for (int i = 0; i < TABLE_SECTIONS; i++)
            (void)suggest_offer(&suggest, table_section_name((enum table_section)i));
    if (suggest.best == NULL)
        return load_fail_at(l, &s->place, NULL, NULL, "[%s] unknown section (an app's is [app:%s])", name,
                            meant(name));
    return load_fail_at(l, &s->place, NULL, NULL, "[%s] unknown section, did you mean [%s%s]?", name,
                        suggest.best, name + head);
}

static bool on_section(void *arg, uint32_t line, const char *name)
{
    struct source *s = arg;
    s->place.line = line;
    s->draft = NULL;
    s->row = NULL;
    if (strncmp(name, "app:", 4) != 0)
        return table_section_find(name, &s->section) || unknown_section(s, name);
    if (!is_app_name(name + 4, strlen(name + 4))) {
        return load_fail_at(s->loader, &s->place, NULL, NULL,
                            "[%s] an app's name has 1 to %d letters, digits, \"-\", \"_\" and \".\"", name,
                            APP_NAME_MAX);
    }
    s->section = TABLE_APP;
    s->draft = sections_draft(s->loader, &s->place, name + 4, strlen(name + 4));
    return s->draft != NULL;
}

/* ---- keys ---- */

/* "[app:hello] "; "" before the first section. */
static const char *label(const struct source *s, char room[APP_NAME_MAX + 8])
{
    room[0] = '\0';
    if (s->section != TABLE_SECTIONS)
        (void)snprintf(room, APP_NAME_MAX + 8, "[%s%s%s] ", table_section_name(s->section),
                       s->draft != NULL ? ":" : "", s->draft != NULL ? s->draft->app.name : "");
    return room;
}

static bool unknown_key(struct source *s, const char *key)
{
    char section[APP_NAME_MAX + 8];
    (void)label(s, section);
    struct suggest suggest;
    suggest_init(&suggest, key);
    const struct table_row *elsewhere[2]; /* no key is in more sections */
    size_t n = 0;
    for (size_t i = 0; i < table_count; i++)
        if (table_rows[i].section == s->section)
            (void)suggest_offer(&suggest, table_rows[i].key);
        else if (n < 2 && strcmp(table_rows[i].key, key) == 0)
            elsewhere[n++] = &table_rows[i];
    if (n > 0) {
        return load_fail_at(s->loader, &s->place, NULL, NULL, "%sunknown key \"%s\", it belongs to [%s%s%s]",
                            section, key, table_section_name(elsewhere[0]->section), n > 1 ? "] or [" : "",
                            n > 1 ? table_section_name(elsewhere[1]->section) : "");
    }
    if (suggest.best == NULL)
        return load_fail_at(s->loader, &s->place, NULL, NULL, "%sunknown key \"%s\"", section, key);
    return load_fail_at(s->loader, &s->place, NULL, NULL, "%sunknown key \"%s\", did you mean \"%s\"?",
                        section, key, suggest.best);
}

/* Only ; begins a comment behind a value: a path with " # ..." in it would be kept, and miss its directory.
 * What a variable holds is the user's. */
bool sections_has_comment(const struct table_row *row, const char *value)
{
    const char *hash = strchr(value, '#');
    while (hash != NULL && hash != value && hash[-1] != ' ' && hash[-1] != '\t')
        hash = strchr(hash + 1, '#');
    return hash != NULL && strcmp(row->key, "env") != 0;
}

static bool on_key(void *arg, uint32_t line, const char *key, const char *value, bool more)
{
    struct source *s = arg;
    s->place.line = line;
    if (!more)
        s->row = table_find(s->section, key);
    if (s->row == NULL)
        return unknown_key(s, key);
    if (more && s->row->type != TABLE_LIST) {
        return load_fail_at(
            s->loader, &s->place, s->draft, s->row,
            "an indented line continues it, and it takes one value: begin a new key at the left margin");
    }
    if (sections_has_comment(s->row, value))
        return load_fail_at(s->loader, &s->place, s->draft, s->row,
                            "\"%s\" has a # in it: a comment behind a value begins with ;", value);
    if ((s->row->flags & TABLE_INCLUDE) != 0)
        return *value == '\0' || s->loader->includes_given || include(s, s->loader, &s->place, value);
    return value_take(s->loader, &s->place, s->draft, s->row, value);
}

static void on_wrong(void *arg, uint32_t line, const char *key, const char *what)
{
    struct source *s = arg;
    char section[APP_NAME_MAX + 8];
    s->place.line = line;
    (void)load_fail_at(s->loader, &s->place, NULL, NULL, "%s%s%s%s", label(s, section), key,
                       *key != '\0' ? ": " : "", what);
}

static bool read_source(struct source *s, FILE *file)
{
    static const struct reader_events events = {.section = on_section, .key = on_key, .wrong = on_wrong};
    s->section = TABLE_SECTIONS;
    return reader_run(file, &events, s);
}

bool sections_stream(struct loader *l, FILE *file, const char *shown, const char *base)
{
    struct source s = {
        .loader = l, .place = {.layer = LAYER_FILE, .name = shown, .base = base}
    };
    return read_source(&s, file);
}

/* ---- files ---- */

/* The part of a path before its last slash, "" where there is none; with the slash if `slash`. */
static const char *directory_of(struct loader *l, const char *path, bool slash)
{
    const char *last = strrchr(path, '/');
    size_t len = last == NULL ? 0 : (size_t)(last - path) + (slash || last == path ? 1 : 0);
    const char *copy = arena_copy(l->scratch, path, len);
    if (copy == NULL)
        (void)load_no_memory(l);
    return copy;
}

/* Why a file cannot be read; NULL: it can. Includes must be regular: a glob may hit a fifo, which blocks. */
static const char *unfit(struct source *s, FILE *file)
{
    struct stat st;
    if (fstat(fileno(file), &st) == -1)
        return strerror(errno);
    if (S_ISDIR(st.st_mode))
        return "is a directory";
    if (s->depth > 0 && !S_ISREG(st.st_mode))
        return "is not a regular file";
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    for (const struct source *up = s->parent; up != NULL; up = up->parent)
        if (up->dev == s->dev && up->ino == s->ino)
            return "includes itself";
    return NULL;
}

/* `from`: the line that includes it; NULL: named by -c or found. */
static bool open_source(struct source *s, const char *path, const struct place *from)
{
    struct loader *l = s->loader;
    FILE *file = fopen(path, "re");
    const char *reason = file == NULL ? strerror(errno) : unfit(s, file);
    bool good = false;
    if (reason == NULL) {
        good = read_source(s, file);
    } else if (from == NULL) {
        (void)load_fail(l, "%s: cannot read: %s", s->place.name, reason);
    } else {
        (void)load_fail_at(l, from, NULL, table_find(TABLE_GATEWAY, "include"), "cannot read \"%s\": %s",
                           s->place.name, reason);
    }
    if (file != NULL)
        (void)fclose(file);
    return good;
}

bool sections_file(struct loader *l, const char *shown, const char *path)
{
    struct source s = {
        .loader = l, .place = {.layer = LAYER_FILE, .name = shown}
    };
    const char *directory = directory_of(l, path, false);
    s.place.base = directory != NULL ? check_absolute(l->arena, "/", directory) : NULL;
    return s.place.base != NULL ? open_source(&s, path, NULL) : load_no_memory(l);
}

/* One file that a pattern has named. */
static bool include_one(struct source *parent, struct loader *l, const struct place *from, const char *path)
{
    struct source s = {.loader = l, .place = {.layer = LAYER_FILE}, .parent = parent};
    s.depth = parent != NULL ? parent->depth + 1 : 1;
    const struct table_row *row = table_find(TABLE_GATEWAY, "include");
    if (s.depth > INCLUDE_DEPTH || ++l->file_count > FILES_MAX) {
        return load_fail_at(l, from, NULL, row,
                            s.depth > INCLUDE_DEPTH ? "more than %d levels" : "more than %d files",
                            s.depth > INCLUDE_DEPTH ? INCLUDE_DEPTH : FILES_MAX);
    }
    /* "/etc/lg/conf.d/a.ini", included by "lg/gateway.ini" of "/etc/lg", is shown as "lg/conf.d/a.ini". */
    size_t base_len = strlen(from->base);
    bool below = strncmp(path, from->base, base_len) == 0 && path[base_len] == '/';
    const char *up = parent != NULL ? directory_of(l, from->name, true) : "";
    const char *shown =
        up != NULL ? arena_join(l->scratch, below ? up : "", below ? path + base_len + 1 : path, "") : NULL;
    const char *directory = directory_of(l, path, false);
    s.place.name = shown;
    s.place.base = directory != NULL ? check_absolute(l->arena, "/", directory) : NULL;
    return shown != NULL && s.place.base != NULL ? open_source(&s, path, from) : load_no_memory(l);
}

/* A directory's name as a part of a glob pattern. */
static const char *literal(struct loader *l, const char *directory)
{
    char *out = arena_alloc(l->scratch, 2 * strlen(directory) + 1);
    for (size_t n = 0; out != NULL && *directory != '\0'; directory++) {
        if (strchr("*?[\\", *directory) != NULL)
            out[n++] = '\\';
        out[n++] = *directory;
    }
    return out;
}

static bool include(struct source *parent, struct loader *l, const struct place *place, const char *pattern)
{
    const struct place from = *place;
    const char *base = literal(l, from.base);
    const char *whole = base == NULL        ? NULL
                        : pattern[0] == '/' ? pattern
                                            : arena_join(l->scratch, base, "/", pattern);
    if (whole == NULL)
        return load_no_memory(l);
    glob_t found = {.gl_pathc = 0};
    int result = glob(whole, 0, NULL, &found);
    bool wildcard = pattern[strcspn(pattern, "*?[")] != '\0';
    bool good = result == 0 || (result == GLOB_NOMATCH && wildcard);
    if (!good) {
        (void)load_fail_at(l, &from, NULL, table_find(TABLE_GATEWAY, "include"), "cannot read \"%s\": %s",
                           pattern, result == GLOB_NOSPACE ? "out of memory" : strerror(ENOENT));
    }
    for (size_t i = 0; good && i < found.gl_pathc; i++)
        good = include_one(parent, l, &from, found.gl_pathv[i]);
    globfree(&found);
    return good;
}

bool sections_include(struct loader *l, const struct place *place, const char *pattern)
{
    return include(NULL, l, place, pattern);
}
