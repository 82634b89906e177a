/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a reading while something is short: what cannot be kept is
 * told to the world and leaves nothing, and the reading goes on. */
#include "tests/daemon/service_rig.h"

#include <dirent.h>

#include "base/crc.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/snapshot.h"

typedef struct reading {
    service_rig s;
    int32_t ids[SERVICE_RIG_IDS];
    size_t n;
    world_message begin;
} reading;

/* A document of six segments, five of which are written, is begun. */
static void
begin(reading *r, const char *faults)
{
    EXPECT_OK(fault_set(faults));
    service_rig_init(&r->s);
    service_rig_join(&r->s);
    r->n = 6 * r->s.model.segment_size;
    service_rig_fill(r->ids, r->n, &r->s);
    service_rig_add(&r->s, "d", r->ids, r->n);
    r->begin = service_rig_take_begin(&r->s);
    assert_int_equal(r->begin.u.begin.first_segment, 0);
}

/* The states after `segment` segments, layer by layer, the last one first. */
static void
send_checkpoint(reading *r, uint64_t segment)
{
    uint8_t *whole = service_rig_snapshot(&r->s, segment, 0.5F);
    const size_t layer = SERVICE_RIG_FLOATS * sizeof(float);

    for (uint32_t l = r->s.model.n_layer; l-- > 0;) {
        const uint8_t *data = whole + SNAPSHOT_HEADER + l * layer;
        world_message m = {.kind = WORLD_CHECKPOINT,
                           .job = r->begin.job,
                           .attempt = r->begin.attempt};

        m.u.checkpoint.segment = segment;
        m.u.checkpoint.total = layer;
        m.u.checkpoint.layer = l;
        m.u.checkpoint.crc = crc_add(0, data, layer);
        service_rig_world_say(&r->s, m, data, layer);
    }
    mem_free(whole);
}

/* What the world hears next, past the segments that it gets. */
static world_message
hear_past_segments(reading *r, world_kind kind)
{
    world_message m = {0};

    do {
        zsocket_message_fini(&r->s.frame);
        EXPECT_OK(zsocket_recv(r->s.world, &r->s.frame, SERVICE_RIG_MS));
        EXPECT_OK(world_message_decode(&m, r->s.frame.control,
                                       r->s.frame.control_len));
    } while (m.kind == WORLD_SEGMENT_IDS);
    zsocket_message_fini(&r->s.frame);
    assert_int_equal(m.kind, kind);
    return m;
}

static void
hear_kept(reading *r, uint64_t segment)
{
    world_message m = hear_past_segments(r, WORLD_KEPT);

    assert_int_equal(m.u.kept.segment, segment);
}

/* Of which there is no file but `expected`. */
static void
expect_file(reading *r, const char *expected)
{
    DIR *list = opendir(scratch_path(&r->s.box, "data/checkpoints"));
    const struct dirent *entry;
    size_t n = 0;

    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        assert_string_equal(entry->d_name, expected);
        n++;
    }
    (void)closedir(list);
    assert_int_equal(n, 1);
}

/* All of it is read, and there. */
static void
finish(reading *r)
{
    uint8_t *snapshot = service_rig_snapshot(&r->s, 5, 0.5F);
    uint8_t sum[HASH_BYTES];

    service_rig_hash(snapshot, service_rig_snapshot_bytes(&r->s), sum);
    service_rig_send_snapshot(&r->s, &r->begin, snapshot, sum);
    service_rig_world_finish(&r->s, &r->begin);
    service_rig_hear_kind(&r->s, CLIENT_DONE);
    assert_int_equal(service_rig_documents(&r->s), 1);
    mem_free(snapshot);
    service_rig_fini(&r->s);
}

/* Of two checkpoints the first one fails, wherever it does: whole or not. */
static void
one_that_cannot_be_kept(const char *faults)
{
    reading r;

    begin(&r, faults);
    send_checkpoint(&r, 2);
    hear_kept(&r, 0);
    send_checkpoint(&r, 3);
    hear_kept(&r, 3);
    expect_file(&r, "1.3.snap");
    finish(&r);
}

static void
no_memory_for_a_part(void **state)
{
    (void)state;
    one_that_cannot_be_kept("shard.new:1:nomem");
    one_that_cannot_be_kept("shard.new:2:nomem");
}

static void
no_memory_for_its_row(void **state)
{
    (void)state;
    one_that_cannot_be_kept("checkpoint.note:1:nomem");
}

/* The reading goes on from the checkpoint after `segment` segments: that one
 * comes down. */
static void
go_on(reading *r, uint64_t segment)
{
    uint8_t *whole = service_rig_snapshot(&r->s, segment, 0.5F);

    r->begin = service_rig_take_begin(&r->s);
    assert_int_equal(r->begin.u.begin.first_segment, segment);
    (void)service_rig_world_hear(&r->s, WORLD_SNAPSHOT);
    assert_int_equal(r->s.frame.raw_len, service_rig_snapshot_bytes(&r->s));
    assert_memory_equal(r->s.frame.raw, whole, r->s.frame.raw_len);
    zsocket_message_fini(&r->s.frame);
    mem_free(whole);
}

/* The world goes on from the checkpoint after 3 segments, which is none: it
 * gives that up and goes on from the one before. */
static void
expect_damage(reading *r)
{
    service_rig_join(&r->s); /* it has started again */
    r->begin = service_rig_take_begin(&r->s);
    assert_int_equal(r->begin.u.begin.first_segment, 3);
    (void)hear_past_segments(r, WORLD_CANCEL);
    service_rig_world_finish(&r->s, &r->begin);
    go_on(r, 2);
    expect_file(r, "1.2.snap");
    finish(r);
}

static void
two_checkpoints(reading *r, const char *faults)
{
    begin(r, faults);
    send_checkpoint(r, 2);
    hear_kept(r, 2);
    send_checkpoint(r, 3);
    hear_kept(r, 3);
}

/* A shortage that passes costs nothing but time. */
static void
short_when_it_is_read(void **state)
{
    reading r;

    (void)state;
    two_checkpoints(&r, "feed.check:1:nomem,feed.check:2:nomem");
    service_rig_join(&r.s);
    go_on(&r, 3);
    assert_int_equal(fault_passed(FAULT_FEED_CHECK), 3);
    finish(&r);
}

static void
unreadable(void **state)
{
    reading r;

    (void)state;
    two_checkpoints(&r, "feed.check:1:eio");
    expect_damage(&r);
}

/* Whole in itself and of the right place, but not what was written. */
static void
another_one_in_its_place(void **state)
{
    reading r;
    uint8_t *other;
    FILE *file;

    (void)state;
    two_checkpoints(&r, "");
    other = service_rig_snapshot(&r.s, 3, 0.25F);
    file = fopen(scratch_path(&r.s.box, "data/checkpoints/1.3.snap"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(other, service_rig_snapshot_bytes(&r.s), 1, file),
                     1);
    assert_int_equal(fclose(file), 0);
    mem_free(other);
    expect_damage(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_for_a_part),
        cmocka_unit_test(no_memory_for_its_row),
        cmocka_unit_test(short_when_it_is_read),
        cmocka_unit_test(unreadable),
        cmocka_unit_test(another_one_in_its_place),
    };

    log_init("service_checkpoint_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
