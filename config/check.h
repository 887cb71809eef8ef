/* check.h - values that have a shape: addresses, paths, host names, modules. Each check reads one value and
 * gives the form in which it is kept, or says what is wrong with it. Syntax only: no file, name or address is
 * looked up, but for the one case that check_python tells. */
#ifndef LEANGATE_CHECK_H
#define LEANGATE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

struct check {
    struct arena *arena; /* what is kept goes here */
    const char *base;    /* absolute directory that a relative path starts from */
    bool typed;          /* from the command line or the environment: all paths start from base */
    char wrong[512];     /* what is wrong, without file and key */
};

/* The value as it is kept (in the arena, or constant), or NULL with `wrong` filled. */
typedef const char *check_function(struct check *c, const char *text);

check_function check_listen;        /* host:port :port [v6]:port unix:/path fd:3 systemd systemd:NAME */
check_function check_trusted;       /* an address, a network, private, unix, * */
check_function check_forwarded;     /* the name of a forwarding header, lower case */
check_function check_status_listen; /* like check_listen; off becomes "" */
check_function check_own_path;      /* /path; off becomes "" */
check_function check_user;          /* a name or a number */
check_function check_cache_dir;     /* off, a path */
check_function check_access;        /* stdout, stderr, off, a path */
check_function check_error;         /* stderr, a path */
check_function check_request_id;    /* a header's name; off becomes "" */
check_function check_domain;        /* a host name, *.example.com; lower case */
check_function check_path;          /* /prefix, without a slash at its end */
check_function check_root_path;     /* the same, and "" */
check_function check_module;        /* module:attribute, module, file.py:attribute */
check_function check_python;       /* as written; typed: absolute where it is a path or a directory in base */
check_function check_env;          /* NAME=value */
check_function check_static;       /* "/prefix directory", the directory like check_in_directory's */
check_function check_in_directory; /* a path, as written; typed: absolute */
check_function check_index;        /* a plain file name */
check_function check_extension;    /* .py */
check_function check_address;      /* unix:/path, host:port with a numeric host or localhost */
check_function check_command;      /* a program and its arguments, with blanks between */
check_function check_script_filename; /* an absolute path, in which $path may stand once */
check_function check_preload;         /* a module */

/* What the checks are made of: fills `wrong` and returns NULL; a copy in the arena; the same, absolute; a
 * unix:/path. */
const char *check_wrong(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *check_keep(struct check *c, const char *text);
check_function check_keep_absolute;
check_function check_unix;
const char *check_kept(struct check *c, const char *copy); /* NULL: there was no memory for it */
bool check_has_control(const char *text);

static inline bool check_is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* What names are made of. */
#define CHECK_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
#define CHECK_DIGITS  "0123456789"

/* Whether the text may be a host's name or IPv4 address; an IPv6 address in its brackets. */
bool check_is_host(const char *host, size_t len);
bool check_is_v6(const char *host, size_t len);
bool check_is_numeric(const char *host, size_t len); /* or localhost */

/* Whether `name` of `len` bytes can be a variable of the environment. */
bool check_variable_name(const char *name, size_t len);

/* Whether the first `len` bytes of a module name a file.py. */
bool check_is_script(const char *module, size_t len);

/* Whether a listen value is TCP on a loopback address, so that only this machine reaches it; whether text is
 * a port. */
bool check_is_loopback(const char *listen);
bool check_is_port(const char *text);

/* base/path, or path where it is absolute, without "." segments and double slashes; NULL without memory. */
const char *check_absolute(struct arena *arena, const char *base, const char *path);

#endif
