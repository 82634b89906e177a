/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a reading while something is short: what cannot be kept is
 * told to the world and leaves nothing, and the reading goes on. */
#include "tests/daemon/service_rig.h"

#include <dirent.h>
#include <stdatomic.h>
#include <time.h>

#include "base/crc.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/journal.h"
#include "proto/snapshot.h"

/* The daemon hears nothing of what its journal has done. */
static atomic_bool is_deaf;

void __real_journal_collect(journal *j);
void __wrap_journal_collect(journal *j);

void
__wrap_journal_collect(journal *j)
{
    if (!atomic_load(&is_deaf))
        __real_journal_collect(j);
}

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

static uint8_t *
states(const reading *r, uint64_t segment)
{
    return service_rig_snapshot(&r->s, segment, 0.5F * (float)segment);
}

/* The states after `segment` segments, layer by layer, the last one first. */
static void
send_checkpoint(reading *r, uint64_t segment)
{
    uint8_t *whole = states(r, segment);
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

/* All of it is read. */
static void
send_all(reading *r)
{
    uint8_t *snapshot = service_rig_snapshot(&r->s, 5, 0.5F);
    uint8_t sum[HASH_BYTES];

    service_rig_hash(snapshot, service_rig_snapshot_bytes(&r->s), sum);
    service_rig_send_snapshot(&r->s, &r->begin, snapshot, sum);
    service_rig_world_finish(&r->s, &r->begin);
    mem_free(snapshot);
}

/* And there. */
static void
finish(reading *r)
{
    send_all(r);
    service_rig_hear_kind(&r->s, CLIENT_DONE);
    assert_int_equal(service_rig_documents(&r->s), 1);
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
    expect_file(&r, "1.3.1.snap");
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
    uint8_t *whole = states(r, segment);

    r->begin = service_rig_take_begin(&r->s);
    assert_int_equal(r->begin.u.begin.first_segment, segment);
    (void)service_rig_world_hear(&r->s, WORLD_SNAPSHOT);
    assert_int_equal(r->s.frame.raw_len, service_rig_snapshot_bytes(&r->s));
    assert_memory_equal(r->s.frame.raw, whole, r->s.frame.raw_len);
    zsocket_message_fini(&r->s.frame);
    mem_free(whole);
}

/* The world has started again. */
static void
join_again(reading *r)
{
    world_message m = {0};

    r->s.incarnation = 0;
    service_rig_world_say(&r->s, service_rig_hello(&r->s), NULL, 0);
    m = hear_past_segments(r, WORLD_WELCOME);
    r->s.incarnation = m.u.welcome.incarnation;
    world_message_fini(&m);
}

/* The world is to go on from the checkpoint after 3 segments, which is none: it
 * gives that up and goes on from the one before. */
static void
expect_damage(reading *r)
{
    join_again(r);
    r->begin = service_rig_take_begin(&r->s);
    assert_int_equal(r->begin.u.begin.first_segment, 3);
    (void)hear_past_segments(r, WORLD_CANCEL);
    service_rig_world_finish(&r->s, &r->begin);
    go_on(r, 2);
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
    join_again(&r);
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
    finish(&r);
}

/* What a world sent at the end cannot be read back: that is the end of the
 * job, not of the daemon. */
static void
the_document_is_unreadable(void **state)
{
    reading r;

    (void)state;
    begin(&r, "intake.read:2:eio");
    send_all(&r);
    service_rig_hear_refused(&r.s, "io");
    assert_int_equal(service_rig_documents(&r.s), 0);
    join_again(&r);
    service_rig_add(&r.s, "d", r.ids, r.n);
    r.begin = service_rig_take_begin(&r.s);
    finish(&r);
}

/* ------------------------------------------------------ an attempt is late ---
 */

static void
pass_a_moment(int *n)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    assert_true(++*n < SERVICE_RIG_MS);
    (void)nanosleep(&moment, NULL);
}

/* The rows of `n` checkpoints have been asked for. */
static void
wait_for_rows(unsigned long n)
{
    for (int i = 0; fault_passed(FAULT_CHECKPOINT_NOTE) < n;)
        pass_a_moment(&i);
}

static void
wait_for_its_end(reading *r, const char *name)
{
    const char *path = scratch_path(&r->s.box, name);

    for (int i = 0; file_exists(path);)
        pass_a_moment(&i);
}

/* The first attempt's checkpoint after 3 segments is durable, of which the
 * daemon has not heard, and the second attempt goes on from 2. */
static void
begin_twice(reading *r)
{
    begin(r, "");
    send_checkpoint(r, 2);
    hear_kept(r, 2);
    atomic_store(&is_deaf, true);
    send_checkpoint(r, 3);
    wait_for_rows(2);
    join_again(r);
    go_on(r, 2);
}

/* Two attempts write the checkpoint after 3 segments, and only then does the
 * daemon hear that the first one's is durable.  That one goes; of the other
 * file and row stay, and the next start goes on from there. */
static void
two_attempts_write_one_checkpoint(void **state)
{
    reading r;

    (void)state;
    begin_twice(&r);
    send_checkpoint(&r, 3);
    wait_for_rows(3);
    atomic_store(&is_deaf, false);
    hear_kept(&r, 3);
    wait_for_its_end(&r, "data/checkpoints/1.3.1.snap");
    service_rig_stop(&r.s);
    service_rig_start(&r.s);
    service_rig_join(&r.s);
    go_on(&r, 3);
    service_rig_fini(&r.s);
}

/* The daemon ends before it has heard of a checkpoint that nobody wants any
 * more. */
static void
the_end_comes_before_its_row(void **state)
{
    reading r;

    (void)state;
    begin_twice(&r);
    service_rig_fini(&r.s);
    atomic_store(&is_deaf, false);
}

/* ------------------------------------------------- forty damaged ones (T10)
 * ---
 */

typedef struct damage {
    uint8_t *data, *good, *older; /* `data` has a byte more */
    size_t len, n;
} damage;

static bool
flipped(damage *d, size_t i)
{
    const size_t at[] = {0, 8, 9, 16, 40, 95, 96, d->n - 1};

    if (i < 8)
        d->data[at[i]] ^= (uint8_t)(1 << at[i] % 8);
    else if (i < 15)
        d->data[96 + (i - 7) * (d->n - 97) / 8] ^= 1;
    return i < 15;
}

static bool
cut(damage *d, size_t i)
{
    const size_t at[] = {0, 1, 8, 95, 96, 97, d->n / 2, d->n - 4, d->n - 1};

    if (i < 9)
        d->len = at[i];
    return i < 9;
}

static bool
zeroed(damage *d, size_t i)
{
    const size_t layer = SERVICE_RIG_FLOATS * sizeof(float);
    const size_t at[][2] = {{0, d->n},         {0, 96},          {96, d->n},
                            {d->n - 32, d->n}, {96, 96 + layer}, {100, 104}};

    if (i < 6)
        memset(d->data + at[i][0], 0, at[i][1] - at[i][0]);
    return i < 6;
}

/* Layers in each other's place, or of an earlier one. */
static bool
mixed(damage *d, size_t i)
{
    const size_t layer = SERVICE_RIG_FLOATS * sizeof(float);
    const size_t a = i == 1 ? 1 : 0;
    const size_t b = i == 0 ? 1 : 2;

    if (i < 3) {
        memcpy(d->data + 96 + a * layer, d->good + 96 + b * layer, layer);
        memcpy(d->data + 96 + b * layer, d->good + 96 + a * layer, layer);
    } else if (i < 6) {
        memcpy(d->data + 96 + (i - 3) * layer, d->older + 96 + (i - 3) * layer,
               layer);
    }
    return i < 6;
}

/* The `i`-th of 40. */
static void
spoil(damage *d, const reading *r, size_t i)
{
    uint8_t *other;

    memcpy(d->data, d->good, d->n);
    d->len = d->n;
    if (flipped(d, i) || cut(d, i - 15) || zeroed(d, i - 24) ||
        mixed(d, i - 30))
        return;
    if (i == 36)
        memcpy(d->data, d->older, d->n);
    else if (i == 37)
        d->data[d->len++] = 0;
    else if (i == 38)
        d->data[8] = 9; /* another version */
    if (i != 39)
        return;
    /* Whole in itself and of the right place, but not what was written. */
    other = service_rig_snapshot(&r->s, 3, 0.25F);
    memcpy(d->data, other, d->n);
    mem_free(other);
}

static void
put(reading *r, const damage *d)
{
    char name[64];
    FILE *file;

    (void)snprintf(name, sizeof(name), "data/checkpoints/1.3.%u.snap",
                   r->begin.attempt);
    file = fopen(scratch_path(&r->s.box, name), "r+b");
    assert_non_null(file); /* it is there */
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    assert_int_equal(fwrite(d->data, 1, d->len, file), d->len);
    assert_int_equal(fclose(file), 0);
}

static void
damaged_ones_are_never_loaded(void **state)
{
    damage d = {.len = 0};
    reading r;

    (void)state;
    two_checkpoints(&r, "");
    d.n = service_rig_snapshot_bytes(&r.s);
    d.good = states(&r, 3);
    d.older = states(&r, 2);
    EXPECT_OK(mem_new(&d.data, d.n + 1, 1));
    for (size_t i = 0; i < 40; i++) {
        spoil(&d, &r, i);
        assert_true(d.len != d.n || memcmp(d.data, d.good, d.n) != 0);
        put(&r, &d);
        expect_damage(&r);
        send_checkpoint(&r, 3);
        hear_kept(&r, 3);
    }
    mem_free(d.data);
    mem_free(d.good);
    mem_free(d.older);
    finish(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_for_a_part),
        cmocka_unit_test(no_memory_for_its_row),
        cmocka_unit_test(short_when_it_is_read),
        cmocka_unit_test(unreadable),
        cmocka_unit_test(the_document_is_unreadable),
        cmocka_unit_test(two_attempts_write_one_checkpoint),
        cmocka_unit_test(the_end_comes_before_its_row),
        cmocka_unit_test(damaged_ones_are_never_loaded),
    };

    log_init("service_checkpoint_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
