/* check_app.c - the shapes of values of [app], see check.h. */
#include <string.h>
#include <sys/stat.h>

#include "check.h"

#define PREFIX_MAX    4096 /* the router counts in 16 bits */
#define FILE_NAME_MAX 255
#define WORDS_MAX     32 /* of a command */

const char *check_domain(struct check *c, const char *text)
{
    size_t len = strlen(text);
    if (len > 1 && text[len - 1] == '.')
        len--;
    const char *host = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
    size_t host_len = len - (size_t)(host - text);
    if (!(check_is_host(host, host_len) || check_is_v6(host, host_len)) || host[0] == '.' ||
        strstr(host, "..") != NULL)
        return check_wrong(c, "\"%s\" is not a host name (www.example.com, *.example.com)", text);
    char *copy = arena_copy(c->arena, text, len);
    if (copy == NULL)
        return check_wrong(c, "out of memory");
    for (char *at = copy; *at != '\0'; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
    return copy;
}

static bool has_dot_segment(const char *path)
{
    while (*path == '/') {
        path++;
        size_t n = strcspn(path, "/");
        if ((n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        path += n;
    }
    return false;
}

static const char *url_prefix(struct check *c, const char *text, const char *root)
{
    if (text[0] != '/')
        return check_wrong(c, "\"%s\" does not begin with / (try /%s)", text, text);
    if (strlen(text) > PREFIX_MAX)
        return check_wrong(c, "is longer than %d bytes", PREFIX_MAX);
    if (strstr(text, "//") != NULL || has_dot_segment(text))
        return check_wrong(c, "\"%s\" has an empty or a dot segment", text);
    if (text[strcspn(text, "?# \t")] != '\0' || check_has_control(text))
        return check_wrong(c, "\"%s\" is not a path: no ?, # or blank", text);
    if (strchr(text, '%') != NULL)
        return check_wrong(c, "\"%s\" has a %%: paths are decoded before they are compared", text);
    size_t len = strlen(text);
    if (len == 1)
        return root;
    return check_kept(c, arena_copy(c->arena, text, text[len - 1] == '/' ? len - 1 : len));
}

const char *check_path(struct check *c, const char *text)
{
    return url_prefix(c, text, "/");
}

const char *check_root_path(struct check *c, const char *text)
{
    return url_prefix(c, text, "");
}

const char *check_own_path(struct check *c, const char *text)
{
    return strcmp(text, "off") == 0 ? "" : url_prefix(c, text, "/");
}

/* Identifiers with dots between; letters beyond ASCII are left to Python. */
static bool is_dotted(const char *text, size_t len)
{
    bool start = true;
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)text[i];
        bool letter = ch >= 0x80 || strchr(CHECK_LETTERS, ch) != NULL;
        bool digit = ch >= '0' && ch <= '9';
        if (!(letter || (digit && !start) || (ch == '.' && !start)))
            return false;
        start = ch == '.';
    }
    return len > 0 && !start;
}

bool check_is_script(const char *module, size_t len)
{
    return len > 3 && memcmp(module + len - 3, ".py", 3) == 0 && module[len - 4] != '/';
}

const char *check_module(struct check *c, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    bool module_good = check_is_script(text, len) ? !check_has_control(text) : is_dotted(text, len);
    if (strlen(text) > 2 && strcmp(text + strlen(text) - 2, "()") == 0)
        return check_wrong(c, "\"%s\" is a call (try %.*s with factory = on)", text, (int)strlen(text) - 2,
                           text);
    if (!module_good || (colon != NULL && !is_dotted(colon + 1, strlen(colon + 1))))
        return check_wrong(c, "\"%s\" is not module:attribute, module or file.py:attribute", text);
    return check_keep(c, text);
}

const char *check_python(struct check *c, const char *text)
{
    if (check_has_control(text))
        return check_wrong(c, "is not a path");
    if (!c->typed || strcmp(text, "auto") == 0)
        return check_keep(c, text);
    const char *absolute = check_keep_absolute(c, text);
    struct stat st;
    if (absolute == NULL || strchr(text, '/') != NULL || (stat(absolute, &st) == 0 && S_ISDIR(st.st_mode)))
        return absolute;
    return check_keep(c, text);
}

bool check_variable_name(const char *name, size_t len)
{
    return len > 0 && strspn(name, CHECK_LETTERS CHECK_DIGITS) >= len && (name[0] < '0' || name[0] > '9');
}

const char *check_env(struct check *c, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return check_wrong(c, "\"%s\" is not NAME=value", text);
    if (!check_variable_name(text, (size_t)(equals - text)))
        return check_wrong(c, "\"%.*s\" is not a name for a variable", (int)(equals - text), text);
    return check_keep(c, text);
}

const char *check_in_directory(struct check *c, const char *text)
{
    if (check_has_control(text))
        return check_wrong(c, "is not a path");
    return c->typed ? check_keep_absolute(c, text) : check_keep(c, text);
}

const char *check_static(struct check *c, const char *text)
{
    size_t len = strcspn(text, " \t");
    const char *directory = text + len + strspn(text + len, " \t");
    const char *prefix = arena_copy(c->arena, text, len);
    prefix = prefix != NULL ? url_prefix(c, prefix, "/") : check_wrong(c, "out of memory");
    if (prefix == NULL)
        return NULL;
    if (*directory == '\0')
        return check_wrong(c, "\"%s\" has no directory behind it (try %s public)", prefix, prefix);
    if (check_has_control(directory))
        return check_wrong(c, "\"%s\": the directory is not a path", prefix);
    directory = c->typed ? check_keep_absolute(c, directory) : directory;
    return check_kept(c, directory != NULL ? arena_join(c->arena, prefix, " ", directory) : NULL);
}

/* ---- kinds ---- */

const char *check_index(struct check *c, const char *text)
{
    if (text[0] == '.' || strchr(text, '/') != NULL || strlen(text) > FILE_NAME_MAX ||
        check_has_control(text))
        return check_wrong(c, "\"%s\" is not a plain file name (index.py)", text);
    return check_keep(c, text);
}

const char *check_extension(struct check *c, const char *text)
{
    const char *name = text + (text[0] == '.' ? 1 : 0);
    if (*name == '\0' || strlen(name) > 16 || name[strspn(name, CHECK_LETTERS CHECK_DIGITS "-")] != '\0')
        return check_wrong(c, "\"%s\" is not an extension (.py)", text);
    return *text == '.' ? check_keep(c, text) : check_wrong(c, "\"%s\" has no dot (try .%s)", text, text);
}

const char *check_address(struct check *c, const char *text)
{
    if (strncmp(text, "unix:", strlen("unix:")) == 0)
        return check_unix(c, text);
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (len == 0 || !(check_is_host(text, len) || check_is_v6(text, len)))
        return check_wrong(c, "\"%s\" is not an address (unix:/path, 127.0.0.1:9000 or [::1]:9000)", text);
    if (!check_is_port(colon + 1) || colon[1 + strspn(colon + 1, "0")] == '\0')
        return check_wrong(c, "\"%s\": \"%s\" is not a port (1 to 65535)", text, colon + 1);
    if (!check_is_numeric(text, len)) {
        return check_wrong(c, "\"%s\": names are not looked up: give %.*s by its address, or unix:/path",
                           text, (int)len, text);
    }
    return check_keep(c, text);
}

const char *check_command(struct check *c, const char *text)
{
    size_t words = 0;
    for (const char *at = text + strspn(text, " \t"); *at != '\0'; words++) {
        at += strcspn(at, " \t");
        at += strspn(at, " \t");
    }
    if (text[strcspn(text, "\"'\\`$|<>&;*?")] != '\0' || check_has_control(text)) {
        return check_wrong(c, "no shell reads it: a program and its arguments with blanks between "
                              "(what needs more goes into a script)");
    }
    if (words == 0 || words > WORDS_MAX)
        return check_wrong(c, "is not 1 to %d words", WORDS_MAX);
    return check_keep(c, text);
}

const char *check_script_filename(struct check *c, const char *text)
{
    static const char variable[] = "$path";
    const char *dollar = strchr(text, '$');
    if (text[0] != '/')
        return check_wrong(c, "\"%s\" is not an absolute path (/srv/www$path)", text);
    if (check_has_control(text) || strstr(text, "/../") != NULL)
        return check_wrong(c, "is not a plain path (/srv/www$path)");
    if (dollar != NULL &&
        (strncmp(dollar, variable, strlen(variable)) != 0 || strchr(dollar + 1, '$') != NULL))
        return check_wrong(c, "\"%s\": there is $path, once, and no other variable", text);
    return check_keep(c, text);
}

const char *check_preload(struct check *c, const char *text)
{
    if (!is_dotted(text, strlen(text)))
        return check_wrong(c, "\"%s\" is not the name of a module", text);
    return check_keep(c, text);
}
