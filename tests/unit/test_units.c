/* test_units.c - times, sizes, numbers and switches as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "units.h"

#define BAD (-99) /* the text is refused */

struct row {
    const char *text;
    int64_t value;
};

/* Runs a reader over a copy that ends at a guard page, so that reading on is a crash. */
static int64_t read_guarded(bool (*read)(const char *, int64_t *), const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = guard_copy(text, size);
    int64_t value = BAD;
    bool good = read(copy, &value);
    assert_int_equal(good, value != BAD);
    guard_free(copy, size);
    return value;
}

static void check_rows(bool (*read)(const char *, int64_t *), const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = read_guarded(read, rows[i].text);
        if (value != rows[i].value) {
            fail_msg("\"%s\" is %lld, not %lld", rows[i].text, (long long)value, (long long)rows[i].value);
        }
    }
}

#define CHECK(read, rows) check_rows(read, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_time(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"250ms",                    250            },
        {"0ms",                      0              },
        {"0s",                       0              },
        {"10s",                      10000          },
        {"5m",                       300000         },
        {"2h",                       7200000        },
        {"007s",                     7000           },
        {"999999999999999ms",        999999999999999},
        {"999999999999999h",         BAD            },
        {"1000000000000000ms",       BAD            },
        {"99999999999999999999999s", BAD            },
        {"",                         BAD            },
        {"s",                        BAD            },
        {"ms",                       BAD            },
        {"0",                        BAD            },
        {"60",                       BAD            },
        {"60x",                      BAD            },
        {"60 s",                     BAD            },
        {" 60s",                     BAD            },
        {"60s ",                     BAD            },
        {"60S",                      BAD            },
        {"-1s",                      BAD            },
        {"+1s",                      BAD            },
        {"1.5s",                     BAD            },
        {"1h30m",                    BAD            },
        {"10sec",                    BAD            },
        {"off",                      BAD            },
    };
    CHECK(units_time, rows);
}

static void test_size(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0",                0                 },
        {"512",              512               },
        {"64k",              65536             },
        {"10m",              10485760          },
        {"1g",               1073741824        },
        {"8589934591g",      8589934591LL << 30},
        {"8589934592g",      BAD               },
        {"999999999999999g", BAD               },
        {"64K",              BAD               },
        {"64kb",             BAD               },
        {"64 k",             BAD               },
        {"",                 BAD               },
        {"k",                BAD               },
        {"-1",               BAD               },
        {"0x10",             BAD               },
        {"10mg",             BAD               },
    };
    CHECK(units_size, rows);
}

static void test_number_and_octal(void **state)
{
    (void)state;
    static const struct row numbers[] = {
        {"0",   0  },
        {"42",  42 },
        {"010", 10 },
        {"4k",  BAD},
        {"",    BAD},
        {"-4",  BAD}
    };
    static const struct row octals[] = {
        {"0660", 0660},
        {"22",   022 },
        {"0",    0   },
        {"0988", BAD },
        {"",     BAD },
        {"rw",   BAD }
    };
    CHECK(units_number, numbers);
    CHECK(units_octal, octals);
}

static void test_bool(void **state)
{
    (void)state;
    static const char *const on[] = {"on", "true", "yes", "1"};
    static const char *const off[] = {"off", "false", "no", "0"};
    static const char *const neither[] = {"", "On", "2", "onn", "o", "enabled"};
    for (size_t i = 0; i < 4; i++) {
        bool value = false;
        assert_true(units_bool(on[i], &value) && value);
        assert_true(units_bool(off[i], &value) && !value);
    }
    for (size_t i = 0; i < 6; i++) {
        bool value = true;
        assert_false(units_bool(neither[i], &value));
        assert_true(value);
    }
}

static void test_guess(void **state)
{
    (void)state;
    static const char *const times[][2] = {
        {"60",     "60s"  },
        {"5min",   "5m"   },
        {"10 sec", "10s"  },
        {"2hours", "2h"   },
        {"100MS",  "100ms"},
        {"60S",    "60s"  }
    };
    static const char *const sizes[][2] = {
        {"10MB", "10m"},
        {"64K",  "64k"},
        {"10",   "10k"},
        {"1 gb", "1g" }
    };
    char guess[UNITS_TEXT];
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_true(units_time_guess(times[i][0], guess));
        assert_string_equal(guess, times[i][1]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(units_size_guess(sizes[i][0], guess));
        assert_string_equal(guess, sizes[i][1]);
    }
    assert_false(units_time_guess("soon", guess));
    assert_false(units_time_guess("", guess));
    assert_false(units_time_guess("1d", guess));
    assert_false(units_time_guess("1.5m", guess));
    assert_false(units_size_guess("1t", guess));
    assert_false(units_size_guess("m", guess));
}

static void test_text(void **state)
{
    (void)state;
    static const struct row times[] = {
        {"0s",        0      },
        {"1ms",       1      },
        {"1500ms",    1500   },
        {"60s",       60000  },
        {"75s",       75000  },
        {"5m",        300000 },
        {"90s",       90000  },
        {"1h",        3600000},
        {"90m",       5400000},
        {"3600001ms", 3600001}
    };
    static const struct row sizes[] = {
        {"0",     0          },
        {"512",   512        },
        {"64k",   65536      },
        {"1500",  1500       },
        {"10m",   10485760   },
        {"1g",    1LL << 30  },
        {"1025k", 1025 * 1024}
    };
    char text[UNITS_TEXT];
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        units_time_text(times[i].value, text);
        assert_string_equal(text, times[i].text);
        assert_int_equal(read_guarded(units_time, text), times[i].value);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        units_size_text(sizes[i].value, text);
        assert_string_equal(text, sizes[i].text);
        assert_int_equal(read_guarded(units_size, text), sizes[i].value);
    }
    units_octal_text(022, text);
    assert_string_equal(text, "0022");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time), cmocka_unit_test(test_size),  cmocka_unit_test(test_number_and_octal),
        cmocka_unit_test(test_bool), cmocka_unit_test(test_guess), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
