/* check.c - the shapes of values, see check.h. */
#include "check.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "network.h"
#include "units.h"

#define HOST_MAX 253 /* RFC 1035 2.3.4, without the final dot */
#define USER_MAX 32
#define UNIX_MAX 107 /* sun_path without its NUL */
#define NAME_SET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define DIGITS   "0123456789"

__attribute__((format(printf, 2, 3))) static const char *wrong(struct check *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(c->wrong, sizeof(c->wrong), format, args);
    va_end(args);
    return NULL;
}

static const char *keep(struct check *c, const char *text)
{
    const char *copy = arena_copy(c->arena, text, strlen(text));
    return copy != NULL ? copy : wrong(c, "out of memory");
}

static const char *keep_absolute(struct check *c, const char *path)
{
    const char *absolute = check_absolute(c->arena, c->base, path);
    return absolute != NULL ? absolute : wrong(c, "out of memory");
}

static bool only(const char *text, const char *set)
{
    return *text != '\0' && text[strspn(text, set)] == '\0';
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Appends the segments of `path` to what `out` holds already, without "." and empty ones. */
static size_t add_segments(char *out, size_t len, const char *path)
{
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        if (n > 0 && !(n == 1 && path[0] == '.')) {
            out[len++] = '/';
            memcpy(out + len, path, n);
            len += n;
        }
        path += n + (path[n] == '/' ? 1 : 0);
    }
    return len;
}

const char *check_absolute(struct arena *arena, const char *base, const char *path)
{
    char *out = arena_alloc(arena, strlen(base) + strlen(path) + 3);
    if (out == NULL)
        return NULL;
    size_t len = path[0] == '/' ? 0 : add_segments(out, 0, base);
    len = add_segments(out, len, path);
    if (len == 0)
        out[0] = '/';
    return out;
}

/* ---- [gateway] ---- */

bool check_is_port(const char *text)
{
    int64_t port;
    return strlen(text) <= 5 && units_number(text, &port) && port <= 65535;
}

static bool is_host(const char *host, size_t len)
{
    return len > 0 && len <= HOST_MAX && strspn(host, NAME_SET DIGITS ".-") >= len;
}

static bool is_v6(const char *host, size_t len)
{
    return len >= 4 && host[0] == '[' && host[len - 1] == ']' &&
           strspn(host + 1, DIGITS "abcdefABCDEF:.") == len - 2 && memchr(host, ':', len) != NULL;
}

static const char *listen_unix(struct check *c, const char *text)
{
    const char *path = text + strlen("unix:");
    if (*path == '\0' || (*path != '/' && !c->typed))
        return wrong(c, "\"%s\" needs an absolute path (unix:/path)", text);
    const char *absolute = keep_absolute(c, path);
    if (absolute == NULL)
        return NULL;
    if (strlen(absolute) > UNIX_MAX)
        return wrong(c, "\"%s\" is longer than the %d bytes of a socket's path", text, UNIX_MAX);
    const char *whole = arena_join(c->arena, "unix:", absolute, "");
    return whole != NULL ? whole : wrong(c, "out of memory");
}

/* 0 to 2 are the gateway's own. */
static const char *listen_fd(struct check *c, const char *text)
{
    int64_t fd;
    if (strlen(text) > strlen("fd:12345") || !units_number(text + strlen("fd:"), &fd) || fd < 3)
        return wrong(c, "\"%s\" is not an inherited descriptor (fd:3 and above)", text);
    return keep(c, text);
}

/* sd_listen_fds_with_names(3): names have up to 255 visible bytes and no colon. */
static const char *listen_systemd(struct check *c, const char *text)
{
    const char *colon = strchr(text, ':');
    const char *name = colon != NULL ? colon + 1 : "x";
    if (*name == '\0' || strlen(name) > 255 || strchr(name, ':') != NULL || has_control(name))
        return wrong(c, "\"%s\" names no socket (systemd:NAME, as FileDescriptorName= says)", text);
    return keep(c, text);
}

const char *check_listen(struct check *c, const char *text)
{
    static const char forms[] = "host:port, :port, [v6]:port, unix:/path, fd:3, systemd or systemd:NAME";
    if (starts_with(text, "unix:"))
        return listen_unix(c, text);
    if (starts_with(text, "fd:"))
        return listen_fd(c, text);
    if (strcmp(text, "systemd") == 0 || starts_with(text, "systemd:"))
        return listen_systemd(c, text);
    if (check_is_port(text)) {
        return wrong(c, "\"%s\" is not an address (try 127.0.0.1:%s, or :%s for every interface)", text, text,
                     text);
    }
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (colon == NULL || !(len == 0 || is_host(text, len) || is_v6(text, len)))
        return wrong(c, "\"%s\" is not an address (%s)", text, forms);
    if (!check_is_port(colon + 1))
        return wrong(c, "\"%s\": \"%s\" is not a port (0 to 65535)", text, colon + 1);
    return keep(c, text);
}

bool check_is_loopback(const char *listen)
{
    return starts_with(listen, "127.") || starts_with(listen, "localhost:") || starts_with(listen, "[::1]:");
}

const char *check_user(struct check *c, const char *text)
{
    if (strlen(text) > USER_MAX || !only(text, NAME_SET DIGITS ".-") || text[0] == '-')
        return wrong(c, "\"%s\" is not a name or a number", text);
    return keep(c, text);
}

const char *check_trusted(struct check *c, const char *text)
{
    struct network network;
    char masked[NETWORK_TEXT];
    bool loose;
    if (strcmp(text, "private") == 0 || strcmp(text, "unix") == 0 || strcmp(text, "*") == 0)
        return keep(c, text);
    if (!network_parse(text, &network, &loose))
        return wrong(c, "\"%s\" is not an address, a network (10.0.0.0/8), private, unix or *", text);
    if (loose) {
        network_text(&network, masked);
        return wrong(c, "\"%s\" has bits behind its prefix (try %s)", text, masked);
    }
    return keep(c, text);
}

const char *check_forwarded(struct check *c, const char *text)
{
    static const char *const headers[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                                          "x-forwarded-prefix", "forwarded"};
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        if (strcasecmp(text, headers[i]) == 0)
            return headers[i];
    return wrong(c,
                 "\"%s\" is not one of x-forwarded-for, x-forwarded-proto, x-forwarded-host, "
                 "x-forwarded-prefix, forwarded",
                 text);
}

/* ---- [log] ---- */

static const char *log_target(struct check *c, const char *text, const char *words)
{
    if (strcmp(text, "stdout") == 0 || strcmp(text, "stderr") == 0 || strcmp(text, "off") == 0)
        return strstr(words, text) != NULL ? keep(c, text) : wrong(c, "\"%s\" is not %s", text, words);
    return keep_absolute(c, text);
}

const char *check_access(struct check *c, const char *text)
{
    return log_target(c, text, "stdout, stderr, off or a path");
}

const char *check_error(struct check *c, const char *text)
{
    return log_target(c, text, "stderr or a path");
}

const char *check_request_id(struct check *c, const char *text)
{
    if (strcmp(text, "off") == 0)
        return "";
    /* No underscore, though a token may have one: a header with it is dropped on its way to the app. */
    if (strlen(text) > 64 || text[strcspn(text, "_")] != '\0' || !only(text, NAME_SET DIGITS "-"))
        return wrong(c, "\"%s\" is not a header name of letters, digits and \"-\", or off", text);
    return keep(c, text);
}

/* ---- [app] ---- */

const char *check_domain(struct check *c, const char *text)
{
    size_t len = strlen(text);
    if (len > 1 && text[len - 1] == '.')
        len--;
    const char *host = starts_with(text, "*.") ? text + 2 : text;
    size_t host_len = len - (size_t)(host - text);
    if (!(is_host(host, host_len) || is_v6(host, host_len)) || host[0] == '.' || strstr(host, "..") != NULL)
        return wrong(c, "\"%s\" is not a host name (www.example.com, *.example.com)", text);
    char *copy = arena_copy(c->arena, text, len);
    if (copy == NULL)
        return wrong(c, "out of memory");
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
        return wrong(c, "\"%s\" does not begin with / (try /%s)", text, text);
    if (strstr(text, "//") != NULL || has_dot_segment(text))
        return wrong(c, "\"%s\" has an empty or a dot segment", text);
    if (text[strcspn(text, "?# \t")] != '\0' || has_control(text))
        return wrong(c, "\"%s\" is not a path: no ?, # or blank", text);
    size_t len = strlen(text);
    if (len == 1)
        return root;
    const char *copy = arena_copy(c->arena, text, text[len - 1] == '/' ? len - 1 : len);
    return copy != NULL ? copy : wrong(c, "out of memory");
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
        bool letter = ch >= 0x80 || strchr(NAME_SET, ch) != NULL;
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
    bool module_good = check_is_script(text, len) ? !has_control(text) : is_dotted(text, len);
    if (ends_with(text, "()"))
        return wrong(c, "\"%s\" is a call (try %.*s with factory = on)", text, (int)strlen(text) - 2, text);
    if (!module_good || (colon != NULL && !is_dotted(colon + 1, strlen(colon + 1))))
        return wrong(c, "\"%s\" is not module:attribute, module or file.py:attribute", text);
    return keep(c, text);
}

const char *check_directory(struct check *c, const char *text)
{
    return keep_absolute(c, text);
}

const char *check_python(struct check *c, const char *text)
{
    if (has_control(text))
        return wrong(c, "is not a path");
    if (!c->typed || strcmp(text, "auto") == 0)
        return keep(c, text);
    const char *absolute = keep_absolute(c, text);
    struct stat st;
    if (absolute == NULL || strchr(text, '/') != NULL || (stat(absolute, &st) == 0 && S_ISDIR(st.st_mode)))
        return absolute;
    return keep(c, text);
}

bool check_variable_name(const char *name, size_t len)
{
    return len > 0 && strspn(name, NAME_SET DIGITS) >= len && (name[0] < '0' || name[0] > '9');
}

const char *check_env(struct check *c, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return wrong(c, "\"%s\" is not NAME=value", text);
    if (!check_variable_name(text, (size_t)(equals - text)))
        return wrong(c, "\"%.*s\" is not a name for a variable", (int)(equals - text), text);
    return keep(c, text);
}

const char *check_env_file(struct check *c, const char *text)
{
    return c->typed ? keep_absolute(c, text) : keep(c, text);
}

const char *check_static(struct check *c, const char *text)
{
    size_t len = strcspn(text, " \t");
    const char *directory = text + len + strspn(text + len, " \t");
    const char *prefix = arena_copy(c->arena, text, len);
    prefix = prefix != NULL ? url_prefix(c, prefix, "/") : wrong(c, "out of memory");
    if (prefix == NULL)
        return NULL;
    if (*directory == '\0')
        return wrong(c, "\"%s\" has no directory behind it (try %s public)", prefix, prefix);
    if (has_control(directory))
        return wrong(c, "\"%s\": the directory is not a path", prefix);
    directory = c->typed ? keep_absolute(c, directory) : directory;
    const char *both = directory != NULL ? arena_join(c->arena, prefix, " ", directory) : NULL;
    return both != NULL ? both : wrong(c, "out of memory");
}
