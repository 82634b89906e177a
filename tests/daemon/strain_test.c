/* SPDX-License-Identifier: Apache-2.0 */
/* When a document's states are worth a word. */
#include "daemon/strain.h"

#include <string.h>

#include "tests/expect.h"

static void
within_the_factor_nothing_is_said(void **state)
{
    const float trained[] = {0, 10, 20};
    document doc = {.n_norm = 3, .norm = {0, 20, 40}};
    char out[CLIENT_MAX_WARNING + 1];

    (void)state;
    strain_sentence(out, &doc, trained, 3);
    assert_string_equal(out, "");
}

static void
the_layer_furthest_out_is_named(void **state)
{
    const float trained[] = {5, 10, 20};
    document doc = {.n_norm = 3, .norm = {20, 30, 50}};
    char out[CLIENT_MAX_WARNING + 1];

    (void)state;
    strain_sentence(out, &doc, trained, 3);
    assert_non_null(strstr(out, "layer 0 has a norm of 20, 4 times"));
}

static void
a_layer_that_never_held_anything_counts(void **state)
{
    const float trained[] = {0};
    document doc = {.n_norm = 1, .norm = {1}};
    char out[CLIENT_MAX_WARNING + 1];

    (void)state;
    strain_sentence(out, &doc, trained, 1);
    assert_non_null(strstr(out, "layer 0"));
}

static void
the_largest_numbers_fit(void **state)
{
    const float trained[] = {1e-30F};
    document doc = {.n_norm = 1, .norm = {3.4e38F}};
    char out[CLIENT_MAX_WARNING + 1];

    (void)state;
    strain_sentence(out, &doc, trained, 1);
    assert_true(strlen(out) > 0);
    assert_non_null(strstr(out, "answers may mean nothing"));
}

static void
what_nobody_knows_is_not_said(void **state)
{
    const float trained[] = {1, 1};
    document doc = {.norm = {9, 9}};
    char out[CLIENT_MAX_WARNING + 1];

    (void)state;
    strain_sentence(out, &doc, trained, 2); /* not measured */
    assert_string_equal(out, "");
    doc.n_norm = 2;
    strain_sentence(out, &doc, NULL, 0); /* no range */
    assert_string_equal(out, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_the_factor_nothing_is_said),
        cmocka_unit_test(the_layer_furthest_out_is_named),
        cmocka_unit_test(a_layer_that_never_held_anything_counts),
        cmocka_unit_test(the_largest_numbers_fit),
        cmocka_unit_test(what_nobody_knows_is_not_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
