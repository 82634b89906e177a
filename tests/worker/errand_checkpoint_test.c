/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a job on a world of one rank: what they hold, when they are
 * taken, and what goes on from them. */
#include <string.h>

#include "base/mem.h"
#include "proto/snapshot.h"
#include "tests/expect.h"
#include "tests/worker/errand_rig.h"

/* The states after the first `n` segments of the job, as a job of its own that
 * ends there gives them. */
static void
expect_states_after(errand_rig *r, uint64_t n, const uint8_t *states)
{
    world_message m = errand_rig_begin(r, false);
    m.u.begin.n_segment = n;
    r->checkpoint = 0;
    errand_rig_start(r, &m);
    errand_rig_send_some(r, 0, n);
    errand_rig_finish(r);
    assert_memory_equal(r->snapshot + SNAPSHOT_HEADER, states,
                        r->snapshot_bytes - SNAPSHOT_HEADER);
}

/* What is captured as the wavefront passes is what a reading that stops there
 * leaves, to the bit (T09), and capturing changes nothing. */
static void
checkpoints_are_exact(void **state)
{
    errand_rig r;
    uint8_t *saved[32];
    uint64_t at[32];
    uint32_t n = 0;
    (void)state;
    errand_rig_open(&r);
    size_t len = r.snapshot_bytes - SNAPSHOT_HEADER;
    EXPECT_OK(mem_new(&r.states, len, 1));
    world_message m = errand_rig_begin(&r, false);
    m.u.begin.checkpoint_segments = 2;
    errand_rig_start(&r, &m);
    uint64_t i = 0;
    while (!r.over) {
        for (; i < r.j->n_write && i < ERRAND_RIG_CREDIT + r.credit; i++)
            errand_rig_send_segment(&r, i);
        errand_rig_turn(&r);
        if (r.checkpoint == 0)
            continue;
        assert_true(n < 32);
        at[n] = r.checkpoint - r.j->first_seg;
        EXPECT_OK(mem_new(&saved[n], len, 1));
        memcpy(saved[n++], r.states, len);
        errand_kept(r.e, r.checkpoint);
        r.checkpoint = 0;
    }
    errand_rig_finish(&r);
    assert_memory_equal(r.snapshot + SNAPSHOT_HEADER, r.j->after, len);
    assert_true(n >= 2);
    for (uint32_t k = 0; k < n; k++) {
        assert_true(k == 0 || at[k] >= at[k - 1] + 2);
        expect_states_after(&r, at[k], saved[k]);
        mem_free(saved[k]);
    }
    errand_rig_close(&r);
}

/* What comes after the first n segments, from the states that they left. */
static void
go_on(errand_rig *r, uint64_t n, bool answer)
{
    uint8_t *data = errand_rig_sealed(r, r->states, r->j->first_seg + n);
    world_message m = errand_rig_begin(r, answer);
    m.u.begin.first_segment += n;
    m.u.begin.n_segment -= n;
    errand_rig_forget(r);
    errand_begin(r->e, &m, NULL, 0);
    errand_rig_send_snapshot(r, data);
    mem_free(data);
    errand_rig_send_some(r, n, r->j->n_write + answer);
    errand_rig_finish(r);
    assert_string_equal(r->code, "");
}

/* T09: a reading that ends after any of its segments and goes on from what was
 * captured there leaves the same states, and its answer is the same, to the
 * bit.  Growing states (ERRAND_RIG_CACHE) are not captured. */
static void
every_cut_is_exact(void **state)
{
    (void)state;
    for (int k = 0; k < ERRAND_RIG_CACHE; k++) {
        errand_rig r;
        errand_rig_open_kind(&r, (errand_rig_kind)k);
        size_t len = r.snapshot_bytes - SNAPSHOT_HEADER;
        EXPECT_OK(mem_new(&r.states, len, 1));
        for (uint64_t n = 1; n < r.j->n_write; n++) {
            world_message m = errand_rig_begin(&r, false);
            m.u.begin.checkpoint_segments = (uint32_t)n;
            errand_rig_start(&r, &m);
            errand_rig_send_all(&r, false);
            for (int i = 0; r.checkpoint == 0 && i < ERRAND_RIG_MAX_TURN; i++)
                errand_rig_turn(&r);
            assert_int_equal(r.checkpoint, r.j->first_seg + n);
            errand_cancel(r.e);
            errand_rig_finish(&r);
            r.checkpoint = 0;
            go_on(&r, n, false);
            assert_memory_equal(r.snapshot + SNAPSHOT_HEADER, r.j->after, len);
            go_on(&r, n, true);
            assert_int_equal(r.n_token, r.j->n_draw);
            assert_memory_equal(r.token, r.j->token,
                                r.n_token * sizeof *r.token);
        }
        errand_rig_close(&r);
    }
}

/* A daemon that does not keep up: two intervals ahead of what is durable
 * nothing more is read, until it is. */
static void
reading_waits_for_durable_checkpoints(void **state)
{
    errand_rig r;
    (void)state;
    errand_rig_open(&r);
    EXPECT_OK(mem_new(&r.states, r.snapshot_bytes, 1));
    world_message m = errand_rig_begin(&r, false);
    m.u.begin.checkpoint_segments = 2;
    errand_rig_start(&r, &m);
    uint64_t i = 0;
    for (int k = 0; k < 500; k++) {
        for (; i < r.j->n_write && i < ERRAND_RIG_CREDIT + r.credit; i++)
            errand_rig_send_segment(&r, i);
        errand_rig_turn(&r);
    }
    assert_false(r.over);
    assert_int_equal(r.n_checkpoint, 1);
    assert_int_equal(r.done, 3); /* the fourth would be the second interval's */
    errand_kept(r.e, r.checkpoint + 1); /* of another one */
    for (int k = 0; k < 100; k++)
        errand_rig_turn(&r);
    assert_int_equal(r.done, 3);
    errand_kept(r.e, r.checkpoint);
    r.checkpoint = 0;
    for (int k = 0; k < 500; k++)
        errand_rig_turn(&r);
    assert_true(r.done > 3);
    errand_cancel(r.e);
    errand_rig_finish(&r);
    errand_rig_close(&r);
}

/* T17: what is read so far is put away, then the job ends. */
static void
a_drained_reading_is_put_away(void **state)
{
    errand_rig r;
    (void)state;
    errand_rig_open(&r);
    EXPECT_OK(mem_new(&r.states, r.snapshot_bytes, 1));
    world_message m = errand_rig_begin(&r, false);
    m.u.begin.checkpoint_segments = 1000;
    errand_rig_start(&r, &m);
    for (uint64_t i = 0; i < 5; i++)
        errand_rig_send_segment(&r, i);
    while (r.done < 3)
        errand_rig_turn(&r);
    errand_drain(r.e);
    for (int k = 0; r.checkpoint == 0; k++) {
        errand_rig_turn(&r);
        assert_true(k < ERRAND_RIG_MAX_TURN);
    }
    assert_false(r.over); /* not before it is durable */
    uint64_t n = r.checkpoint - r.j->first_seg;
    assert_true(n >= 3 && n <= 5);
    errand_kept(r.e, r.checkpoint);
    errand_rig_finish(&r);
    assert_string_equal(r.code, "canceled");
    expect_states_after(&r, n, r.states);
    /* An answer is dropped at once: its tokens are known. */
    m = errand_rig_begin(&r, true);
    errand_rig_start(&r, &m);
    errand_drain(r.e);
    errand_rig_finish(&r);
    assert_string_equal(r.code, "canceled");
    errand_rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_are_exact),
        cmocka_unit_test(every_cut_is_exact),
        cmocka_unit_test(reading_waits_for_durable_checkpoints),
        cmocka_unit_test(a_drained_reading_is_put_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
