/* check.c - the shapes of values, see check.h. */
#include "check.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "network.h"
#include "units.h"

#define HOST_MAX 253 /* RFC 1035 2.3.4: as text the 255 octets on the wire are 253, without the final dot */
#define USER_MAX 32
#define UNIX_MAX 107 /* sun_path without its NUL */

const char *check_wrong(struct check *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(c->wrong, sizeof(c->wrong), format, args);
    va_end(args);
    return NULL;
}

const char *check_kept(struct check *c, const char *copy)
{
    return copy != NULL ? copy : check_wrong(c, "out of memory");
}

const char *check_keep(struct check *c, const char *text)
{
    return check_kept(c, arena_copy(c->arena, text, strlen(text)));
}

const char *check_keep_absolute(struct check *c, const char *path)
{
    return check_kept(c, check_absolute(c->arena, c->base, path));
}

static bool only(const char *text, const char *set)
{
    return *text != '\0' && text[strspn(text, set)] == '\0';
}

bool check_has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if (check_is_control(*text))
            return true;
    return false;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
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

bool check_is_host(const char *host, size_t len)
{
    return len > 0 && len <= HOST_MAX && strspn(host, CHECK_LETTERS CHECK_DIGITS ".-") >= len;
}

bool check_is_v6(const char *host, size_t len)
{
    return len >= 4 && host[0] == '[' && host[len - 1] == ']' &&
           strspn(host + 1, CHECK_DIGITS "abcdefABCDEF:.") == len - 2 && memchr(host, ':', len) != NULL;
}

static bool is_localhost(const char *host, size_t len)
{
    return len == strlen("localhost") && memcmp(host, "localhost", len) == 0;
}

/* False: it is a name. */
static bool parse_host(const char *host, size_t len, struct network *address)
{
    bool v6 = check_is_v6(host, len);
    return network_address(host + (v6 ? 1 : 0), len - (v6 ? 2 : 0), address);
}

/* No resolver: it would cost more memory than the gateway. */
bool check_is_numeric(const char *host, size_t len)
{
    struct network address;
    return is_localhost(host, len) || parse_host(host, len, &address);
}

const char *check_unix(struct check *c, const char *text)
{
    const char *path = text + strlen("unix:");
    if (*path == '\0' || (*path != '/' && !c->typed))
        return check_wrong(c, "\"%s\" needs an absolute path (unix:/path)", text);
    const char *absolute = check_keep_absolute(c, path);
    if (absolute == NULL)
        return NULL;
    if (strlen(absolute) > UNIX_MAX)
        return check_wrong(c, "\"%s\" is longer than the %d bytes of a socket's path", text, UNIX_MAX);
    return check_kept(c, arena_join(c->arena, "unix:", absolute, ""));
}

/* 0 to 2 are the gateway's own. */
static const char *listen_fd(struct check *c, const char *text)
{
    int64_t fd;
    if (strlen(text) > strlen("fd:12345") || !units_number(text + strlen("fd:"), &fd) || fd < 3)
        return check_wrong(c, "\"%s\" is not an inherited descriptor (fd:3 and above)", text);
    return check_keep(c, text);
}

/* sd_listen_fds_with_names(3): names have up to 255 visible bytes and no colon. */
static const char *listen_systemd(struct check *c, const char *text)
{
    const char *colon = strchr(text, ':');
    const char *name = colon != NULL ? colon + 1 : "x";
    if (*name == '\0' || strlen(name) > 255 || strchr(name, ':') != NULL || check_has_control(name))
        return check_wrong(c, "\"%s\" names no socket (systemd:NAME, as FileDescriptorName= says)", text);
    return check_keep(c, text);
}

const char *check_listen(struct check *c, const char *text)
{
    static const char forms[] = "host:port, :port, [v6]:port, unix:/path, fd:3, systemd or systemd:NAME";
    if (starts_with(text, "unix:"))
        return check_unix(c, text);
    if (starts_with(text, "fd:"))
        return listen_fd(c, text);
    if (strcmp(text, "systemd") == 0 || starts_with(text, "systemd:"))
        return listen_systemd(c, text);
    if (check_is_port(text)) {
        return check_wrong(c, "\"%s\" is not an address (try 127.0.0.1:%s, or :%s for every interface)", text,
                           text, text);
    }
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (colon == NULL || !(len == 0 || check_is_host(text, len) || check_is_v6(text, len)))
        return check_wrong(c, "\"%s\" is not an address (%s)", text, forms);
    if (!check_is_port(colon + 1))
        return check_wrong(c, "\"%s\": \"%s\" is not a port (0 to 65535)", text, colon + 1);
    if (len > 0 && !check_is_numeric(text, len)) {
        return check_wrong(
            c, "\"%s\": names are not looked up: give %.*s by its address, or :%s for every interface", text,
            (int)len, text, colon + 1);
    }
    return check_keep(c, text);
}

const char *check_status_listen(struct check *c, const char *text)
{
    return strcmp(text, "off") == 0 ? "" : check_listen(c, text);
}

bool check_is_loopback(const char *listen)
{
    static const uint8_t v6[16] = {[15] = 1};
    struct network address;
    const char *colon = strrchr(listen, ':');
    size_t len = colon != NULL ? (size_t)(colon - listen) : 0;
    if (is_localhost(listen, len))
        return true;
    if (!parse_host(listen, len, &address))
        return false;
    return address.width == 32 ? address.bytes[0] == 127 : memcmp(address.bytes, v6, sizeof(v6)) == 0;
}

const char *check_user(struct check *c, const char *text)
{
    if (strlen(text) > USER_MAX || !only(text, CHECK_LETTERS CHECK_DIGITS ".-") || text[0] == '-')
        return check_wrong(c, "\"%s\" is not a name or a number", text);
    return check_keep(c, text);
}

const char *check_trusted(struct check *c, const char *text)
{
    struct network network;
    char masked[NETWORK_TEXT];
    bool loose;
    if (strcmp(text, "private") == 0 || strcmp(text, "unix") == 0 || strcmp(text, "*") == 0)
        return check_keep(c, text);
    if (!network_parse(text, &network, &loose))
        return check_wrong(c, "\"%s\" is not an address, a network (10.0.0.0/8), private, unix or *", text);
    if (loose) {
        network_text(&network, masked);
        return check_wrong(c, "\"%s\" has bits behind its prefix (try %s)", text, masked);
    }
    return check_keep(c, text);
}

const char *check_forwarded(struct check *c, const char *text)
{
    static const char *const headers[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                                          "x-forwarded-prefix", "forwarded"};
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        if (strcasecmp(text, headers[i]) == 0)
            return headers[i];
    return check_wrong(c,
                       "\"%s\" is not one of x-forwarded-for, x-forwarded-proto, x-forwarded-host, "
                       "x-forwarded-prefix, forwarded",
                       text);
}

const char *check_cache_dir(struct check *c, const char *text)
{
    return strcmp(text, "off") == 0 ? "off" : check_keep_absolute(c, text);
}

/* ---- [log] ---- */

static const char *log_target(struct check *c, const char *text, const char *words)
{
    if (strcmp(text, "stdout") == 0 || strcmp(text, "stderr") == 0 || strcmp(text, "off") == 0)
        return strstr(words, text) != NULL ? check_keep(c, text)
                                           : check_wrong(c, "\"%s\" is not %s", text, words);
    return check_keep_absolute(c, text);
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
    if (strlen(text) > 64 || text[strcspn(text, "_")] != '\0' || !only(text, CHECK_LETTERS CHECK_DIGITS "-"))
        return check_wrong(c, "\"%s\" is not a header name of letters, digits and \"-\", or off", text);
    return check_keep(c, text);
}
