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

static void
wrong_checkpoints_end_the_job(void **state)
{
    const struct {
        uint64_t segment, offset, total;
        uint32_t layer;
        size_t len;
    } row[] = {
        {0, 0, 32, 0, 32},  /* the start */
        {13, 0, 32, 0, 32}, /* beyond what is written */
        {4, 0, 31, 0, 31},  /* another size */
        {4, 0, 32, 2, 32},  /* another layer */
        {4, 4, 32, 0, 29},  /* beyond its end */
        {4, 0, 32, 0, 0},   /* nothing */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        harness box;
        harness *h = &box;
        const harness_action *begin;
        world_message m;

        harness_init(h, 8);
        begin = harness_running_add(h, 2);
        m = harness_reply(WORLD_CHECKPOINT, begin);
        m.u.checkpoint.segment = row[i].segment;
        m.u.checkpoint.offset = row[i].offset;
        m.u.checkpoint.total = row[i].total;
        m.u.checkpoint.layer = row[i].layer;
        harness_world_raw(h, 10, m, row[i].len);
        (void)EXPECT_WORLD(WORLD_CANCEL);
        (void)harness_end(h, 1, CLIENT_FAILED);
        EXPECT_REFUSED("wire");
        harness_fini(h);
    }
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
