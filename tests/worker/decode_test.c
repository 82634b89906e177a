/* SPDX-License-Identifier: Apache-2.0 */
/* What is fed of an answer, token by token: one run that grows, or segments
 * that are written as they fill. */
#include "worker/decode.h"

#include "tests/expect.h"

enum { SEGMENT = 4, SEG = 9 };

static const int32_t prompt[] = {1, 2, 3};

static decode
opened(config_generation how)
{
    const model_config cfg = {.segment_size = SEGMENT, .generation = how};
    const int32_t *ids;
    engine_segment s;
    decode d;

    EXPECT_OK(decode_init(&d, &cfg));
    assert_false(decode_next(&d, &s, &ids));
    decode_prompt(&d, SEG, prompt, 3);
    return d;
}

/* What is to be fed now: of segment `seg`, frozen from `pos` on or, with
 * pos < 0, written; these n ids. */
static void
expect_fed(decode *d, uint64_t seg, int pos, const int32_t *want, uint32_t n)
{
    const int32_t *ids = NULL;
    engine_segment s = {0};

    assert_true(decode_next(d, &s, &ids));
    assert_int_equal(s.seg, seg);
    assert_int_equal(s.frozen, pos >= 0);
    assert_int_equal(s.pos, pos >= 0 ? pos : 0);
    assert_int_equal(s.n_token, n);
    assert_memory_equal(ids, want, n * sizeof *want);
    decode_fed(d, &s);
}

static void
expect_nothing(const decode *d)
{
    const int32_t *ids;
    engine_segment s;

    assert_false(decode_next(d, &s, &ids));
}

static void
a_frozen_run_grows(void **state)
{
    decode d = opened(CONFIG_FROZEN);

    (void)state;
    expect_fed(&d, SEG, 0, prompt, 3);
    expect_nothing(&d);
    for (int32_t id = 7; id < 12; id++) {
        decode_add(&d, id);
        expect_fed(&d, SEG, id - 4, &id, 1);
        expect_nothing(&d);
    }
    decode_fini(&d);
}

static void
a_full_run_is_written_once_more_comes(void **state)
{
    static const int32_t full[] = {1, 2, 3, 5}, next[] = {6, 7, 8, 9};
    decode d = opened(CONFIG_ROLLOVER);

    (void)state;
    expect_fed(&d, SEG, 0, prompt, 3);
    decode_add(&d, 5);
    expect_fed(&d, SEG, 3, &full[3], 1);
    expect_nothing(&d); /* full, and nothing behind it yet */
    decode_add(&d, 6);
    expect_fed(&d, SEG, -1, full, SEGMENT);
    for (int i = 0; i < SEGMENT; i++) {
        if (i > 0)
            decode_add(&d, next[i]);
        expect_fed(&d, SEG + 1, i, &next[i], 1);
        expect_nothing(&d);
    }
    decode_add(&d, 10);
    expect_fed(&d, SEG + 1, -1, next, SEGMENT);
    decode_fini(&d);
}

/* Whoever goes away may leave a token that the world had no room for. */
static void
the_next_answer_finds_nothing(void **state)
{
    const int32_t id = 4;

    (void)state;
    for (int how = 0; how < 2; how++) {
        decode d = opened(how ? CONFIG_ROLLOVER : CONFIG_FROZEN);
        expect_fed(&d, SEG, 0, prompt, 3);
        decode_add(&d, id);
        decode_clear(&d);
        expect_nothing(&d);
        decode_prompt(&d, 2, prompt, 2);
        expect_fed(&d, 2, 0, prompt, 2);
        decode_add(&d, id);
        expect_fed(&d, 2, 2, &id, 1);
        decode_fini(&d);
    }
}

static void
the_longest_run(void **state)
{
    model_config cfg = {.segment_size = SEGMENT, .generation = CONFIG_FROZEN};

    (void)state;
    assert_int_equal(decode_longest(&cfg, 5), SEGMENT + 5);
    cfg.generation = CONFIG_ROLLOVER;
    assert_int_equal(decode_longest(&cfg, 5), SEGMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frozen_run_grows),
        cmocka_unit_test(a_full_run_is_written_once_more_comes),
        cmocka_unit_test(the_next_answer_finds_nothing),
        cmocka_unit_test(the_longest_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
