/* reader.c - inih in, sections and keys with their line numbers out.
 *
 *   FILE ──▶ fetch       one physical line, its comment stripped
 *        ──▶ next_line   sections end here
 *        ──▶ inih        key, value, continuation
 *        ──▶ on_pair     events
 *
 * inih keeps only 49 bytes of a section's name and tells nothing of a section without keys, so sections are
 * read here; inih is given "[-]" instead, and forgets the key that an indented line would continue. */
#include "reader.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>

struct reader {
    FILE *file;
    const struct reader_events *events;
    void *arg;
    size_t bytes;
    uint32_t line;
    bool stopped;
    bool in_section;
    bool key_open; /* an indented line continues a key */
    bool indented; /* the line that inih has now */
};

/* One line while it comes in. */
struct line {
    char text[READER_LINE + 1];
    size_t len; /* bytes seen, more than text holds where the line is too long */
    size_t end; /* behind the last one that is not blank */
    bool comment;
};

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

__attribute__((format(printf, 3, 4))) static bool fail(struct reader *r, const char *key, const char *format,
                                                       ...)
{
    char what[320];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (!r->stopped)
        r->events->wrong(r->arg, r->line, key, what);
    r->stopped = true;
    return false;
}

static void add(struct line *l, char c)
{
    bool after_blank = l->len == 0 || l->end < l->len;
    if (l->comment || (c == ';' && after_blank)) {
        l->comment = true;
        return;
    }
    if (l->len < READER_LINE)
        l->text[l->len] = c;
    l->len++;
    if (!is_blank(c))
        l->end = l->len;
}

/* The next line without comment and blanks at its end; false at the end of the file or when it is no text. */
static bool fetch(struct reader *r, struct line *l)
{
    int c;
    l->len = l->end = 0;
    l->comment = false;
    r->line++;
    while ((c = getc_unlocked(r->file)) != EOF) {
        if (++r->bytes > READER_BYTES)
            return fail(r, "", "larger than 64 MB: not a configuration");
        if (c == '\0')
            return fail(r, "", "a NUL byte: not a text file");
        if (c == '\n')
            break;
        add(l, (char)c);
        if (r->bytes == 3 && l->len == 3 && memcmp(l->text, "\xef\xbb\xbf", 3) == 0)
            l->len = l->end = 0; /* a byte order mark */
    }
    if (c == EOF && ferror(r->file))
        return fail(r, "", "cannot read: %s", strerror(errno));
    l->text[l->end < READER_LINE ? l->end : READER_LINE] = '\0';
    return c != EOF || l->len > 0 || l->comment;
}

static bool section(struct reader *r, char *text)
{
    char *close = strchr(text, ']');
    if (close == NULL || close[1] != '\0') {
        return fail(r, "",
                    close == NULL ? "\"%s\" has no closing ]"
                                  : "\"%s\" has more than a [section]: a comment begins with ;",
                    text);
    }
    *close = '\0';
    r->in_section = true;
    r->key_open = false;
    if (!r->events->section(r->arg, r->line, text + 1))
        r->stopped = true;
    return !r->stopped;
}

/* A key's line, or one that continues a key: all that inih would take wrongly or report without a reason. */
static bool check_line(struct reader *r, struct line *l)
{
    size_t name = strcspn(l->text, "=:");
    size_t key = name;
    while (key > 0 && is_blank(l->text[key - 1]))
        key--;
    if (l->end > READER_LINE) {
        l->text[r->indented || key > 64 ? 0 : key] = '\0';
        return fail(r, l->text, "the line has %zu bytes, %d is the most: put long values into an env_file",
                    l->end, READER_LINE);
    }
    if (r->indented)
        return true;
    if (l->text[name] == '\0')
        return fail(r, "", "\"%s\" is not a \"key = value\" line", l->text);
    if (!r->in_section) {
        l->text[key] = '\0';
        return fail(r, l->text, "stands before any section: begin with [gateway] or [app:NAME]");
    }
    r->key_open = true;
    return true;
}

/* What inih is to see of a line: nothing of a comment, its own kind of section, a key at the left margin.
 * NULL: stop. */
static const char *classify(struct reader *r, struct line *l)
{
    size_t indent = 0;
    while (is_blank(l->text[indent]))
        indent++;
    bool fits = l->end <= READER_LINE;
    r->indented = indent > 0 && r->key_open;
    if (l->text[indent] == '#' || l->end == 0)
        return "";
    if (l->text[indent] == '[' && !r->indented && fits)
        return section(r, l->text + indent) ? "[-]" : NULL;
    if (!r->indented)
        memmove(l->text, l->text + indent, strlen(l->text + indent) + 1);
    return check_line(r, l) ? l->text : NULL;
}

/* inih's way to ask for a line, as fgets. */
static char *next_line(char *out, int size, void *arg)
{
    struct reader *r = arg;
    struct line l = {.len = 0};
    if (r->stopped || !fetch(r, &l))
        return NULL;
    const char *text = classify(r, &l);
    if (text == NULL)
        return NULL;
    size_t len = strlen(text);
    if (len >= (size_t)size) {
        (void)fail(r, "", "the line does not fit inih's buffer of %d bytes", size);
        return NULL;
    }
    memcpy(out, text, len + 1);
    return out;
}

static int on_pair(void *arg, const char *ini_section, const char *key, const char *value)
{
    (void)ini_section;
    struct reader *r = arg;
    if (!r->stopped && !r->events->key(r->arg, r->line, key, value, r->indented))
        r->stopped = true;
    return r->stopped ? 0 : 1;
}

bool reader_run(FILE *file, const struct reader_events *events, void *arg)
{
    struct reader r = {.file = file, .events = events, .arg = arg};
    int result = ini_parse_stream(next_line, &r, on_pair, &r);
    if (result != 0 && !r.stopped) {
        r.line = result > 0 ? (uint32_t)result : r.line;
        return fail(&r, "", "not a line of an ini file");
    }
    return !r.stopped;
}
