/* test_network.c - addresses and networks. */
#include "network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"

/* What a text means, written as it is usually written; "bad", or with a '~' in front when bits were cleared.
 */
static const char *read_as(const char *text)
{
    static char out[NETWORK_TEXT + 1];
    struct network n;
    bool loose;
    if (!network_parse(text, &n, &loose))
        return "bad";
    out[0] = '~';
    network_text(&n, out + 1);
    return loose ? out : out + 1;
}

static void test_parse(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"127.0.0.1",                                    "127.0.0.1"       },
        {"10.0.0.0/8",                                   "10.0.0.0/8"      },
        {"10.1.2.3/8",                                   "~10.0.0.0/8"     },
        {"10.1.2.3/32",                                  "10.1.2.3"        },
        {"0.0.0.0/0",                                    "0.0.0.0/0"       },
        {"172.31.255.255/12",                            "~172.16.0.0/12"  },
        {"192.168.1.128/25",                             "192.168.1.128/25"},
        {"::1",                                          "::1"             },
        {"fc00::/7",                                     "fc00::/7"        },
        {"fdff::/7",                                     "~fc00::/7"       },
        {"2001:db8::/32",                                "2001:db8::/32"   },
        {"::/0",                                         "::/0"            },
        {"::ffff:10.0.0.1",                              "10.0.0.1"        },
        {"::ffff:10.0.0.0/104",                          "10.0.0.0/8"      },
        {"::ffff:10.0.0.0/95",                           "bad"             },
        {"10.0.0.0/33",                                  "bad"             },
        {"::/129",                                       "bad"             },
        {"10.0.0.0/",                                    "bad"             },
        {"10.0.0.0/-1",                                  "bad"             },
        {"10.0.0.0/8x",                                  "bad"             },
        {"10.0.0/8",                                     "bad"             },
        {"10.0.0.256",                                   "bad"             },
        {"010.0.0.1",                                    "bad"             },
        {"[::1]",                                        "bad"             },
        {"fe80::1%eth0",                                 "bad"             },
        {"localhost",                                    "bad"             },
        {"",                                             "bad"             },
        {"/8",                                           "bad"             },
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999", "bad"             },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(read_as(rows[i][0]), rows[i][1]) != 0)
            fail_msg("%s: %s, not %s", rows[i][0], read_as(rows[i][0]), rows[i][1]);
}

static bool has(const char *network, const char *address)
{
    struct network n, a;
    bool loose;
    assert_true(network_parse(network, &n, &loose));
    assert_true(network_address(address, strlen(address), &a));
    return network_has(&n, &a);
}

static void test_has(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.255.255"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("192.168.1.128/25", "192.168.1.128"));
    assert_false(has("192.168.1.128/25", "192.168.1.127"));
    assert_true(has("127.0.0.1", "::ffff:127.0.0.1"));
    assert_false(has("127.0.0.1", "127.0.0.2"));
    assert_true(has("fe80::/10", "febf::1"));
    assert_false(has("fe80::/10", "fec0::1"));
    assert_true(has("0.0.0.0/0", "203.0.113.7"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_false(has("::/0", "203.0.113.7"));
    assert_true(has("::/0", "2001:db8::1"));
    struct network none = {.width = 0}, all = {.width = 32};
    assert_false(network_has(&all, &none));
    assert_false(network_has(&none, &none));
}

/* No terminator is looked for behind the bytes. */
static void test_address_bytes(void **state)
{
    (void)state;
    struct network a;
    char *copy = guard_copy("192.0.2.1", 9);
    assert_true(network_address(copy, 9, &a));
    assert_true(network_address(copy, 8, &a) == false);
    guard_free(copy, 9);
    assert_false(network_address("1.2.3.4\0", 8, &a));
    assert_int_equal(a.width, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_address_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
