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
    job_checkpoint k = {
        .segment = segment, .bytes = HARNESS_SNAPSHOT, .attempt = attempt};

    core_checkpointed(h->c, 1, &k, ST_OK, "");
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

/* Two attempts get to one segment, and the first one's checkpoint is durable
 * late: that goes, and not the other's. */
static void
an_earlier_attempt_is_late(void **state)
{
    harness *h = *state;
    const harness_action *begin;
    const harness_action *drop;
    zsocket_peer peer = harness_peer(10);
    const job *j;

    begin = harness_running_add(h, 2);
    shard(h, 10, begin, 4);
    core_world_gone(h->c, &peer, "killed");
    (void)EXPECT_WORLD(WORLD_ABORT);
    (void)EXPECT_ACTION(CORE_ATTEMPT_DROP);
    (void)harness_join(h, 11, 2);
    begin = EXPECT_WORLD(WORLD_BEGIN);
    assert_int_equal(begin->first_segment, 0);
    (void)EXPECT_ACTION(CORE_FEED_OPEN);
    shard(h, 11, begin, 4);
    checkpoint(h, 4, 1);
    drop = EXPECT_ACTION(CORE_CHECKPOINT_DROP);
    assert_int_equal(drop->number, 4);
    assert_int_equal(drop->attempt, 1);
    checkpoint(h, 4, 2);
    assert_int_equal(EXPECT_WORLD(WORLD_KEPT)->n_segment, 4);
    j = job_table_find(core_jobs(h->c), 1);
    assert_int_equal(j->n_checkpoint, 1);
    assert_int_equal(j->checkpoint[0].attempt, 2);
    EXPECT_NOTHING();
}

/* Where the job's own row did not get to the journal its checkpoint's did. */
static void
no_number_is_given_to_two_attempts(void **state)
{
    harness *h = *state;
    const store_record r = {.row = {.id = 1,
                                    .kind = JOB_ADD,
                                    .state = CLIENT_RUNNING,
                                    .document = "d",
                                    .owner = "local",
                                    .input = CLIENT_IDS,
                                    .bytes = 400,
                                    .attempt = 1,
                                    .fingerprint = {1}}};
    const store_checkpoint k = {
        .job = 1, .segment = 4, .bytes = HARNESS_SNAPSHOT, .attempt = 2};
    bool known = false;

    EXPECT_OK(core_restore_unfinished(h->c, &r));
    core_restore_checkpoint(h->c, &k, &known);
    assert_true(known);
    (void)harness_join(h, 10, 2);
    harness_prepared(h, 1, 100);
    assert_int_equal(EXPECT_WORLD(WORLD_BEGIN)->first_segment, 4);
    assert_int_equal(job_table_find(core_jobs(h->c), 1)->attempt, 3);
    harness_skip(h);
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

/* One that was made again would get the files of the first, which go when the
 * third is kept. */
static void
no_checkpoint_is_made_twice(void **state)
{
    const harness_wrong row[] = {part(4, 0, 0, 32, 32), part(7, 1, 0, 32, 32)};

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        harness box;
        harness *h = &box;
        const harness_action *begin;
        world_message m;

        harness_init(h, 8);
        begin = harness_running_add(h, 2);
        shard(h, 10, begin, 4);
        checkpoint(h, 4, 1);
        (void)EXPECT_WORLD(WORLD_KEPT);
        shard(h, 10, begin, 8);
        m = harness_reply(WORLD_CHECKPOINT, begin);
        m.u = row[i].m.u;
        harness_world_raw(h, 10, m, row[i].len);
        (void)EXPECT_WORLD(WORLD_CANCEL);
        (void)EXPECT_ACTION(CORE_CHECKPOINT_DROP);
        (void)harness_end(h, 1, CLIENT_FAILED);
        EXPECT_REFUSED("wire");
        harness_fini(h);
    }
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
        HARNESS_TEST(an_earlier_attempt_is_late),
        HARNESS_TEST(no_number_is_given_to_two_attempts),
        cmocka_unit_test(no_checkpoint_is_made_twice),
        cmocka_unit_test(wrong_checkpoints_end_the_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
