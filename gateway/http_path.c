/* http_path.c - see http_path.h. */
#include "http_path.h"

#include <stdbool.h>
#include <string.h>

#include "ascii.h"

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Percent-decodes raw[0..len) to out; the length, or -1. */
static long decode(const char *raw, size_t len, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = raw[i];
        if (c == '%') {
            if (len - i < 3)
                return -1;
            int high = hex_digit(raw[i + 1]), low = hex_digit(raw[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return -1;
        out[n++] = c;
    }
    return (long)n;
}

/* Resolves the dot segments of path[0..len), which begins with '/', in place (RFC 3986 5.2.4, but climbing
 * above the root is an error); the length, or -1. path[0..done) is the result so far, each segment with its
 * '/' in front. */
static long resolve(char *path, size_t len)
{
    size_t done = 0, end;
    for (size_t start = 0; start < len; start = end) {
        const char *slash = memchr(path + start + 1, '/', len - start - 1);
        end = slash ? (size_t)(slash - path) : len;
        size_t n = end - start;
        bool up = n == 3 && path[start + 1] == '.' && path[start + 2] == '.';
        if (up && done == 0)
            return -1;
        if (up)
            while (path[--done] != '/')
                ;
        if (up || (n == 2 && path[start + 1] == '.')) {
            if (end == len)
                path[done++] = '/';
            continue;
        }
        memmove(path + done, path + start, n);
        done += n;
    }
    return (long)done;
}

long http_path_normalise(const char *raw, size_t len, char *out)
{
    if (len == 1 && raw[0] == '*') {
        out[0] = '*';
        return 1;
    }
    long n = decode(raw, len, out);
    if (n <= 0 || out[0] != '/')
        return -1;
    return resolve(out, (size_t)n);
}
