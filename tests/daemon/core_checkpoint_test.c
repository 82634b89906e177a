/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of readings: kept, gone back to, refused. */
#include "tests/daemon/core_harness.h"

static void
shard(harness *h, uint8_t world, const harness_action *begin, uint64_t segment)
{
    world_message m = harness_reply(WORLD_CHECKPOINT, begin);

    m.u.checkpoint.segment = segment;
    m.u.checkpoint.total = 32; /* of each of two layers */
    harness_world_raw(h, world, m, 32);
    (void)EXPECT_ACTION(CORE_CHECKPOINT_PART);
}

static void
checkpoint(harness *h, uint64_t segment, uint32_t attempt)
{
    job_checkpoint k = {.segment = segment, .bytes = HARNESS_SNAPSHOT};

    core_checkpointed(h->c, 1, attempt, &k, ST_OK, "");
}

/* The last two are kept; the next attempt starts from the last, or from the
 * one before when that is damaged. */
static void
readings_go_on_from_their_last_checkpoint(void **state)
{
    harness box;
    harness *h = &box;
    const harness_action *begin;
    zsocket_peer peer = harness_peer(10);

    (void)state;
    harness_init(h, 8);
    begin = harness_running_add(h, 2); /* 12 segments to write */
    for (uint64_t at = 4; at <= 12; at += 4) {
        shard(h, 10, begin, at);
        checkpoint(h, at, 1);
        if (at == 12)
            assert_int_equal(EXPECT_ACTION(CORE_CHECKPOINT_DROP)->number, 4);
        assert_int_equal(EXPECT_WORLD(WORLD_KEPT)->n_segment, at);
    }
    core_world_gone(h->c, &peer, "killed");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)harness_join(h, 11, 2);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->first_segment, 12);
    assert_int_equal(begin->n_segment, 0);
    assert_int_equal(begin->snapshot_bytes, HARNESS_SNAPSHOT);
    assert_int_equal(EXPECT_ACTION(CORE_FEED_OPEN)->base, 12);
    core_checkpoint_damaged(h->c, 1, 2, "its hash differs");
    assert_int_equal(EXPECT_ACTION(CORE_CHECKPOINT_DROP)->number, 12);
    (void)EXPECT_WORLD(WORLD_CANCEL);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    harness_world_done(h, 11, begin, ""); /* its stream is free again */
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->first_segment, 8);
    assert_int_equal(begin->n_segment, 4);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    core_checkpoint_damaged(h->c, 1, 3, "its hash differs");
    harness_skip(h);
    assert_int_equal(job_table_find(core_jobs(h->c), 1)->segments_done, 0);
    /* What an earlier attempt still had on its way is thrown away. */
    checkpoint(h, 12, 1);
    assert_int_equal(EXPECT_ACTION(CORE_CHECKPOINT_DROP)->number, 12);
    harness_fini(h);
}

static harness_wrong
part(uint64_t segment, uint32_t layer, uint64_t offset, uint64_t total,
     size_t len)
{
    harness_wrong w = {.m = {.kind = WORLD_CHECKPOINT}, .len = len};

    w.m.u.checkpoint.segment = segment;
    w.m.u.checkpoint.layer = layer;
    w.m.u.checkpoint.offset = offset;
    w.m.u.checkpoint.total = total;
    return w;
}

static void
wrong_checkpoints_end_the_job(void **state)
{
    const harness_wrong row[] = {
        part(0, 0, 0, 32, 32),  /* the start */
        part(13, 0, 0, 32, 32), /* beyond what is written */
        part(4, 0, 0, 31, 31),  /* another size */
        part(4, 2, 0, 32, 32),  /* another layer */
        part(4, 0, 4, 32, 29),  /* beyond its end */
        part(4, 0, 0, 32, 0),   /* nothing */
    };

    (void)state;
    harness_wrong_each(harness_running_add, row, sizeof(row) / sizeof(*row));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readings_go_on_from_their_last_checkpoint),
        cmocka_unit_test(wrong_checkpoints_end_the_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
