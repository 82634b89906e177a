/* SPDX-License-Identifier: Apache-2.0 */
/* What a world declares of its states: what is believed, and what follows. */
#include <string.h>

#include "daemon/core_state.h"
#include "proto/snapshot.h"
#include "tests/expect.h"

enum { SEGMENT = 10 };

static uint64_t layer_bytes[] = {8, 0, 4};

static world_hello
unequal(void)
{
    return (world_hello){.n_layer = 3,
                         .snapshot_bytes = SNAPSHOT_HEADER + 12,
                         .layer_bytes = layer_bytes,
                         .n_layer_bytes = 3};
}

static world_hello
growing(void)
{
    return (world_hello){.n_layer = 3,
                         .snapshot_bytes = SNAPSHOT_HEADER,
                         .token_bytes = 6,
                         .max_context = 50};
}

static void
what_does_not_hold_together_is_refused(void **state)
{
    world_hello h = unequal();

    (void)state;
    EXPECT_OK(core_memory_check(&h));
    h.snapshot_bytes++;
    EXPECT_ST(core_memory_check(&h), ST_WIRE);
    h.snapshot_bytes = SNAPSHOT_HEADER - 1;
    EXPECT_ST(core_memory_check(&h), ST_WIRE);
    h = unequal();
    h.n_layer_bytes = 0; /* alike: 12 bytes are 4 for each of three */
    EXPECT_OK(core_memory_check(&h));
    h.snapshot_bytes++;
    EXPECT_ST(core_memory_check(&h), ST_WIRE);
    h = growing();
    EXPECT_OK(core_memory_check(&h));
    h.max_context = 0;
    EXPECT_ST(core_memory_check(&h), ST_WIRE);
    h.max_context = UINT64_C(1) << 40;
    h.token_bytes = UINT64_C(1) << 40;
    EXPECT_ST(core_memory_check(&h), ST_LIMIT);
}

/* Every byte of the states belongs to one layer. */
static void
layers_lie_behind_each_other(void **state)
{
    world_hello h = unequal();
    core_memory m;
    uint64_t at = 0;

    (void)state;
    EXPECT_OK(core_memory_init(&m, &h));
    for (uint32_t i = 0; i < 3; i++) {
        core_place p = core_memory_layer(&m, i);

        assert_int_equal(p.at, at);
        assert_int_equal(p.len, layer_bytes[i]);
        assert_int_equal(p.states, 12);
        at += p.len;
    }
    assert_int_equal(at, 12);
    core_memory_fini(&m);
    h.n_layer_bytes = 0;
    EXPECT_OK(core_memory_init(&m, &h));
    assert_int_equal(core_memory_layer(&m, 2).at, 8);
    assert_int_equal(core_memory_layer(&m, 2).len, 4);
    core_memory_fini(&m);
}

static void
a_job_fits_to_the_last_token(void **state)
{
    core c = {.cfg = {.segment_size = SEGMENT}};
    world_hello h = growing();
    core_memory m;
    job j = {.kind = JOB_ASK,
             .first_segment = 3,
             .snapshot_bytes = SNAPSHOT_HEADER + 30 * 6,
             .tokens = 12,
             .sampling = {.max_tokens = 8}};

    (void)state;
    EXPECT_OK(core_memory_init(&m, &h));
    assert_int_equal(core_memory_tokens(&c, &j), 50);
    EXPECT_OK(core_memory_suits(&c, &m, &j));
    j.tokens++;
    EXPECT_ST(core_memory_suits(&c, &m, &j), ST_LIMIT);
    j.tokens--;
    j.snapshot_bytes += 6;
    EXPECT_ST(core_memory_suits(&c, &m, &j), ST_STATE);
    j = (job){.kind = JOB_ADD, .tokens = 50};
    EXPECT_OK(core_memory_suits(&c, &m, &j));
    j.tokens = 51;
    EXPECT_ST(core_memory_suits(&c, &m, &j), ST_LIMIT);
    assert_int_equal(core_memory_snapshot(&m, 40), SNAPSHOT_HEADER + 240);
    /* Ids need not be counted, here behind two that are pending. */
    j = (job){.kind = JOB_ADD, .input = CLIENT_IDS, .pending = 2, .bytes = 192};
    EXPECT_OK(core_memory_suits(&c, &m, &j));
    j.bytes += 4;
    EXPECT_ST(core_memory_suits(&c, &m, &j), ST_LIMIT);
    core_memory_fini(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_hold_together_is_refused),
        cmocka_unit_test(layers_lie_behind_each_other),
        cmocka_unit_test(a_job_fits_to_the_last_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
