/* env_file.c - NAME=value lines for a worker's environment. */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

/* Linux refuses a longer string in an environment (MAX_ARG_STRLEN, 32 pages, its NUL counted). */
#define ENTRY_MAX (128 * 1024 - 1)

/* A file while it is read. */
struct env_file {
    const char *name;
    FILE *file;
    unsigned line;
    char *text; /* the line, room for ENTRY_MAX + 1 bytes */
    struct conf_error *error;
};

enum got { GOT_LINE, GOT_END, GOT_ERROR };

__attribute__((format(printf, 2, 3))) static int fail(struct env_file *f, const char *format, ...)
{
    int len = snprintf(f->error->text, sizeof(f->error->text), "%.500s:%u: ", f->name, f->line);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->error->text + len, sizeof(f->error->text) - (size_t)len, format, args);
    va_end(args);
    return -1;
}

static int fail_file(struct env_file *f, const char *reason)
{
    (void)snprintf(f->error->text, sizeof(f->error->text), "%.800s: cannot read: %s", f->name, reason);
    return -1;
}

static enum got get_line(struct env_file *f)
{
    size_t len = 0;
    int c;
    f->line++;
    while ((c = getc_unlocked(f->file)) != EOF && c != '\n') {
        if (c == '\0' || len == ENTRY_MAX) {
            (void)fail(f, c == '\0' ? "a NUL byte" : "more than %d bytes: no process can be given that",
                       ENTRY_MAX);
            return GOT_ERROR;
        }
        f->text[len++] = (char)c;
    }
    if (c == EOF && ferror(f->file)) {
        (void)fail_file(f, strerror(errno));
        return GOT_ERROR;
    }
    f->text[len] = '\0';
    return c == EOF && len == 0 ? GOT_END : GOT_LINE;
}

static char *trim(char *text)
{
    static const char blanks[] = " \t\r\v\f";
    text += strspn(text, blanks);
    size_t len = strlen(text);
    while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return text;
}

/* Takes matching quotes off; NULL when the first has no other. */
static char *unquote(char *value)
{
    size_t len = strlen(value);
    if (value[0] != '"' && value[0] != '\'')
        return value;
    if (len < 2 || value[len - 1] != value[0])
        return NULL;
    value[len - 1] = '\0';
    return value + 1;
}

/* One line: 1 with *entry ready, 0 when there is nothing on it, -1. */
static int parse(struct env_file *f, char **entry)
{
    char *text = trim(f->line == 1 && strncmp(f->text, "\xef\xbb\xbf", 3) == 0 ? f->text + 3 : f->text);
    if (*text == '\0' || *text == '#')
        return 0;
    if (strncmp(text, "export", 6) == 0 && (text[6] == ' ' || text[6] == '\t'))
        text = trim(text + 6);
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return fail(f, "\"%.80s\" is not NAME=value", text);
    *equals = '\0';
    char *name = trim(text);
    size_t name_len = strlen(name);
    if (!check_variable_name(name, name_len))
        return fail(f, "\"%.80s\" is not a name for a variable", name);
    char *value = unquote(trim(equals + 1));
    if (value == NULL)
        return fail(f, "%.80s: the value begins with a quote and does not end with it", name);
    name[name_len] = '=';
    memmove(name + name_len + 1, value, strlen(value) + 1);
    *entry = name;
    return 1;
}

static int read_all(struct env_file *f, int (*add)(const char *entry, void *arg), void *arg)
{
    for (;;) {
        enum got got = get_line(f);
        if (got != GOT_LINE)
            return got == GOT_END ? 0 : -1;
        char *entry = NULL;
        int parsed = parse(f, &entry);
        if (parsed == -1)
            return -1;
        if (parsed == 1 && add(entry, arg) != 0)
            return fail(f, "no memory for it");
    }
}

int conf_env_file(const char *file, int (*add)(const char *entry, void *arg), void *arg,
                  struct conf_error *error)
{
    struct env_file f = {.name = file, .error = error};
    struct stat st;
    int result;
    f.file = fopen(file, "re");
    if (f.file == NULL)
        return fail_file(&f, strerror(errno));
    f.text = malloc(ENTRY_MAX + 1);
    if (f.text == NULL)
        result = fail_file(&f, "out of memory");
    else if (fstat(fileno(f.file), &st) == 0 && S_ISDIR(st.st_mode))
        result = fail_file(&f, "is a directory");
    else
        result = read_all(&f, add, arg);
    free(f.text);
    (void)fclose(f.file);
    return result;
}
