/* test_file_open.c - what can be opened below a directory, with openat2 and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_open.h"

static char top[64];
static int dir = -1; /* TOP/root */

typedef int open_function(int dir, const char *name);

static void put(const char *name)
{
    int fd = openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, name, strlen(name)), strlen(name));
    assert_int_equal(close(fd), 0);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/leangate-open-XXXXXX");
    assert_non_null(mkdtemp(top));
    char root[80];
    (void)snprintf(root, sizeof(root), "%s/root", top);
    assert_int_equal(mkdir(root, 0700), 0);
    dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_not_equal(dir, -1);
    assert_int_equal(mkdirat(dir, "sub", 0700), 0);
    put("a");
    put("sub/b");
    put("../secret");
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    char absolute[96];
    (void)snprintf(absolute, sizeof(absolute), "%s/a", root);
    assert_int_equal(symlinkat("../a", dir, "sub/in"), 0);
    assert_int_equal(symlinkat("sub", dir, "dirlink"), 0);
    assert_int_equal(symlinkat("../secret", dir, "out"), 0);
    assert_int_equal(symlinkat("..", dir, "up"), 0);
    assert_int_equal(symlinkat(absolute, dir, "absolute"), 0);
    assert_int_equal(symlinkat("loop", dir, "loop"), 0);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    close(dir);
    return nftw(top, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* The lowest free descriptor: it rises when one is leaked. */
static int next_descriptor(void)
{
    int fd = dup(STDIN_FILENO);
    assert_int_not_equal(fd, -1);
    assert_int_equal(close(fd), 0);
    return fd;
}

static void assert_opens(open_function *opens, const char *name, const char *content)
{
    char data[64] = "";
    int fd = opens(dir, name);
    assert_int_not_equal(fd, -1);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(read(fd, data, sizeof(data) - 1), strlen(content));
    assert_string_equal(data, content);
    assert_int_equal(close(fd), 0);
}

static void assert_refused(open_function *opens, const char *name)
{
    int before = next_descriptor();
    assert_int_equal(opens(dir, name), -1);
    assert_int_equal(next_descriptor(), before);
}

static void check_both(open_function *opens)
{
    char longest[PATH_MAX + 10];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_opens(opens, "a", "a");
    assert_opens(opens, "sub/b", "sub/b");
    static const char *const refused[] = {
        "",          "none",     "sub/none",         "a/b",         "..",  "../secret", "out",
        "up/secret", "absolute", "sub/../../secret", "/etc/passwd", "loop"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_refused(opens, refused[i]);
    assert_refused(opens, longest);
    assert_int_equal(errno, ENAMETOOLONG);
    int fifo = opens(dir, "fifo"); /* would block for ever, or until the alarm */
    assert_int_not_equal(fifo, -1);
    assert_int_equal(close(fifo), 0);
}

static void test_beneath(void **unused)
{
    (void)unused;
    check_both(file_open);
    assert_opens(file_open, "sub/in", "a");
    assert_opens(file_open, "dirlink/b", "sub/b");
    assert_int_equal(file_open(dir, "out"), -1);
    assert_int_equal(errno, EXDEV);
}

/* Without openat2 no link at all is followed. */
static void test_walk(void **unused)
{
    (void)unused;
    check_both(file_open_walk);
    assert_refused(file_open_walk, "sub/in");
    assert_refused(file_open_walk, "dirlink/b");
    assert_refused(file_open_walk, "sub//b");
    assert_refused(file_open_walk, "sub/../a");
    assert_int_equal(file_open_walk(dir, ".."), -1);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(file_open_walk(dir, "out"), -1);
    assert_int_equal(errno, ELOOP);
}

/* Looking needs no permission to read, waits for nothing, and leaves no descriptor behind. */
static void test_look(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        mode_t type;
    } rows[] = {
        {"a",         S_IFREG},
        {"sub",       S_IFDIR},
        {"dirlink",   S_IFDIR},
        {"dirlink/b", S_IFREG},
        {"sub/in",    S_IFREG},
        {"fifo",      S_IFIFO},
    };
    int before = next_descriptor();
    struct stat st;
    assert_int_equal(fchmodat(dir, "a", 0, 0), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(file_look(dir, rows[i].name, &st), 0);
        assert_int_equal(st.st_mode & S_IFMT, rows[i].type);
    }
    static const char *const refused[] = {"",     "none",      "..",       "../secret",        "out",
                                          "up",   "up/secret", "absolute", "sub/../../secret", "/etc/passwd",
                                          "loop", "a/b"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(file_look(dir, refused[i], &st), -1);
    assert_int_equal(fchmodat(dir, "a", 0600, 0), 0);
    assert_int_equal(next_descriptor(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beneath),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_look),
    };
    alarm(20);
    return cmocka_run_group_tests(tests, begin, end);
}
