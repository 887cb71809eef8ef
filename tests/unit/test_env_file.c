/* test_env_file.c - NAME=value files. */
#include "conf_fixture.h"

/* What add() has been given, each entry on a line of its own. */
static struct {
    char text[4096];
    size_t longest;
    unsigned count;
    unsigned refuse; /* the entry that is refused, from 1 */
} got;

static int add(const char *entry, void *arg)
{
    assert_ptr_equal(arg, &got);
    size_t len = strlen(entry);
    got.longest = len > got.longest ? len : got.longest;
    if (++got.count == got.refuse) {
        return -1;
    }
    if (strlen(got.text) + len + 2 < sizeof(got.text)) {
        memcpy(got.text + strlen(got.text), entry, len + 1);
        memcpy(got.text + strlen(got.text), "\n", 2);
    }
    return 0;
}

static int read_bytes(const char *bytes, size_t len)
{
    memset(&got, 0, sizeof(got));
    memset(&fx.error, 0, sizeof(fx.error));
    FILE *file = fopen(in_dir("env"), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return conf_env_file(in_dir("env"), add, &got, &fx.error);
}

static void assert_reads(const char *text, const char *entries)
{
    if (read_bytes(text, strlen(text)) != 0) {
        fail_msg("%s", fx.error.text);
    }
    assert_string_equal(got.text, entries);
}

static void assert_refuses(const char *text, const char *after_name)
{
    assert_int_equal(read_bytes(text, strlen(text)), -1);
    char expected[512];
    (void)snprintf(expected, sizeof(expected), "%s%s", in_dir("env"), after_name);
    assert_string_equal(fx.error.text, expected);
}

static void test_entries(void **state)
{
    (void)state;
    assert_reads("", "");
    assert_reads("A=1", "A=1\n");
    assert_reads("A=1\nB=2\n", "A=1\nB=2\n");
    assert_reads("\n# a comment\n  # one more\n\t\nA=1\n", "A=1\n");
    assert_reads("A=\n_b2=x\n", "A=\n_b2=x\n");
    assert_reads("  A = spaced out \t\r\n", "A=spaced out\n");
    assert_reads("A=b=c;d #e\n", "A=b=c;d #e\n");
    assert_reads("\xef\xbb\xbf"
                 "A=1\n",
                 "A=1\n");
    assert_reads("A=gr\xc3\xbc\xc3\x9f\xff\n", "A=gr\xc3\xbc\xc3\x9f\xff\n");
}

static void test_export(void **state)
{
    (void)state;
    assert_reads("export A=1\nexport\tB=2\nexport   C=3\n", "A=1\nB=2\nC=3\n");
    assert_reads("export=1\nexported=2\n", "export=1\nexported=2\n");
}

static void test_quotes(void **state)
{
    (void)state;
    assert_reads("A=\"one two\"\nB='x'\nC=\"\"\n", "A=one two\nB=x\nC=\n");
    assert_reads("A=\" kept \"\n", "A= kept \n");
    assert_reads("A=\"it's\"\nB='say \"x\"'\nC=in\"side\"\n", "A=it's\nB=say \"x\"\nC=in\"side\"\n");
    assert_refuses("A=1\nB=\"open\n", ":2: B: the value begins with a quote and does not end with it");
    assert_refuses("B=\"\n", ":1: B: the value begins with a quote and does not end with it");
    assert_refuses("B='x\"\n", ":1: B: the value begins with a quote and does not end with it");
}

static void test_errors(void **state)
{
    (void)state;
    assert_refuses("A=1\n\nfoo\n", ":3: \"foo\" is not NAME=value");
    assert_refuses("1A=x\n", ":1: \"1A\" is not a name for a variable");
    assert_refuses("=x\n", ":1: \"\" is not a name for a variable");
    assert_refuses("A-B=x\n", ":1: \"A-B\" is not a name for a variable");
    assert_refuses("export A B=x\n", ":1: \"A B\" is not a name for a variable");
    assert_int_equal(read_bytes("A=1\nB=\0\n", 8), -1);
    assert_non_null(strstr(fx.error.text, "env:2: a NUL byte"));
}

static void test_files(void **state)
{
    (void)state;
    char expected[256];
    assert_int_equal(conf_env_file(in_dir("nowhere"), add, &got, &fx.error), -1);
    (void)snprintf(expected, sizeof(expected), "%s: cannot read: No such file or directory",
                   in_dir("nowhere"));
    assert_string_equal(fx.error.text, expected);
    assert_int_equal(conf_env_file(fx.dir, add, &got, &fx.error), -1);
    (void)snprintf(expected, sizeof(expected), "%s: cannot read: is a directory", fx.dir);
    assert_string_equal(fx.error.text, expected);
}

static void test_add_refuses(void **state)
{
    (void)state;
    FILE *file = fopen(in_dir("env"), "w");
    assert_non_null(file);
    assert_true(fputs("A=1\nB=2\nC=3\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    memset(&got, 0, sizeof(got));
    got.refuse = 2;
    assert_int_equal(conf_env_file(in_dir("env"), add, &got, &fx.error), -1);
    assert_int_equal(got.count, 2);
    assert_non_null(strstr(fx.error.text, "env:2: no memory for it"));
}

/* Any length that a process can be given: 128 KiB with the NUL. */
static void test_length(void **state)
{
    (void)state;
    size_t most = 128 * 1024 - 1;
    char *line = malloc(most + 3);
    assert_non_null(line);
    memset(line, 'x', most + 1);
    memcpy(line, "A=", 2);
    line[most] = '\n';
    assert_int_equal(read_bytes(line, most + 1), 0);
    assert_int_equal(got.longest, most);
    assert_int_equal(read_bytes(line, most), 0);
    line[most] = 'x';
    line[most + 1] = '\n';
    assert_int_equal(read_bytes(line, most + 2), -1);
    assert_non_null(strstr(fx.error.text, "env:1: more than 131071 bytes: no process can be given that"));
    free(line);
}

/* Cut at every byte, a file gives a front part of its entries or an error, and nothing else. */
static void test_every_end(void **state)
{
    (void)state;
    static const char text[] = "A=1\n# c\nexport B=\"two\"\nC='3'\n";
    for (size_t len = 0; len < sizeof(text); len++) {
        int result = read_bytes(text, len < sizeof(text) - 1 ? len : sizeof(text) - 1);
        assert_true(result == 0 || strstr(fx.error.text, "env:") != NULL);
        assert_true(got.count <= 3);
    }
    assert_string_equal(got.text, "A=1\nB=two\nC=3\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries), cmocka_unit_test(test_export),    cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_errors),  cmocka_unit_test(test_files),     cmocka_unit_test(test_add_refuses),
        cmocka_unit_test(test_length),  cmocka_unit_test(test_every_end),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
