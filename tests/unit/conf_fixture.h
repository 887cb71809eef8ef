/* conf_fixture.h - what the tests of config/ share: a private directory, files in it, one call that loads. */
#ifndef LEANGATE_TEST_CONF_FIXTURE_H
#define LEANGATE_TEST_CONF_FIXTURE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

#define APP_FILE "[app:hello]\nmodule = hello\n"

/* The last call of load(), and where files go. One test at a time. */
static struct {
    char dir[64];
    struct conf *conf; /* NULL after an error */
    struct conf_error error;
    enum conf_action action;
    char *warned; /* what went to warn and to dump */
    char *dumped;
} fx;

static inline void write_file(const char *name, const char *text)
{
    char path[256];
    assert_true(snprintf(path, sizeof(path), "%s/%s", fx.dir, name) < (int)sizeof(path));
    for (char *slash = strchr(path + strlen(fx.dir) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_not_equal(fputs(text, file), EOF);
    assert_int_equal(fclose(file), 0);
}

/* "NAME" as an absolute path in the private directory; the text is good until the eighth call after. */
static inline const char *in_dir(const char *name)
{
    static char paths[8][256];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    assert_true(snprintf(path, 256, "%s%s%s", fx.dir, *name != '\0' ? "/" : "", name) < 256);
    return path;
}

static inline void drop(void)
{
    conf_unref(fx.conf);
    fx.conf = NULL;
    free(fx.warned);
    free(fx.dumped);
    fx.warned = fx.dumped = NULL;
}

/* Loads with NULL-terminated arguments and environment, either of them NULL for none. */
static inline int load(const char *const *argv, const char *const *environment)
{
    static const char *const none[] = {NULL};
    size_t warned;
    size_t dumped;
    drop();
    FILE *warn = open_memstream(&fx.warned, &warned);
    FILE *out = open_memstream(&fx.dumped, &dumped);
    assert_non_null(warn);
    assert_non_null(out);
    argv = argv != NULL ? argv : none;
    struct conf_input input = {.argv = (char *const *)(uintptr_t)argv, .cwd = fx.dir};
    input.environ = (char *const *)(uintptr_t)(environment != NULL ? environment : none);
    while (argv[input.argc] != NULL)
        input.argc++;
    int result = conf_load(&input, &fx.action, &fx.conf, warn, out, &fx.error);
    assert_int_equal(fclose(warn), 0);
    assert_int_equal(fclose(out), 0);
    assert_null(strchr(fx.error.text, '\n'));
    assert_int_equal(result == 0, fx.error.text[0] == '\0');
    return result;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* gateway.ini with this text, no arguments, no environment. */
static inline int load_text(const char *text)
{
    write_file("gateway.ini", text);
    return load(NULL, NULL);
}

static inline void assert_loads(int result)
{
    if (result != 0)
        fail_msg("%s", fx.error.text);
    assert_non_null(fx.conf);
}

static inline void assert_fails(int result, const char *text)
{
    assert_int_equal(result, -1);
    assert_null(fx.conf);
    assert_string_equal(fx.error.text, text);
}

/* A list as one string with blanks between. */
static inline void assert_list(const struct conf_list *list, const char *expected)
{
    char text[1024] = "";
    for (uint32_t i = 0; i < list->count; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? " " : "", list->items[i]);
    }
    assert_string_equal(text, expected);
    assert_int_equal(list->count == 0, list->items == NULL);
}

static inline int fixture_begin(void **state)
{
    (void)state;
    (void)snprintf(fx.dir, sizeof(fx.dir), "/tmp/leangate-conf-XXXXXX");
    return mkdtemp(fx.dir) == NULL ? -1 : 0;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int fixture_end(void **state)
{
    (void)state;
    drop();
    return nftw(fx.dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
