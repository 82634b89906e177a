/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon asks of worlds: its model, no more than they gave credit for,
 * and snapshots that are whole. */
#include "tests/daemon/service_rig.h"

#include "base/log.h"
#include "base/mem.h"
#include "proto/snapshot.h"

/* The first one, too: nothing is dispatched to a world with other weights. */
static void
worlds_must_have_the_model(void **state)
{
    service_rig s;
    world_message m;

    (void)state;
    service_rig_init(&s);
    m = service_rig_hello(&s);
    m.u.hello.fingerprint[31] ^= 1;
    service_rig_world_say(&s, m, NULL, 0);
    m = service_rig_world_hear(&s, WORLD_REFUSE);
    assert_non_null(strstr(m.u.failed.text, "another checkpoint"));
    world_message_fini(&m);
    service_rig_join(&s);
    service_rig_fini(&s);
}

static void
credit_is_kept_to(void **state)
{
    service_rig s;
    int32_t ids[SERVICE_RIG_IDS];
    world_message begin;
    world_message m;
    size_t n;

    (void)state;
    service_rig_init(&s);
    service_rig_join(&s);
    n = 10 * s.model.segment_size;
    service_rig_fill(ids, n, &s);
    service_rig_add(&s, "d", ids, n);
    begin = service_rig_take_begin(&s);
    for (int i = 0; i < SERVICE_RIG_CREDIT; i++) {
        m = service_rig_world_hear(&s, WORLD_SEGMENT_IDS);
        zsocket_message_fini(&s.frame);
    }
    EXPECT_ST(zsocket_recv(s.world, &s.frame, 100), ST_TIMEOUT);
    m = (world_message){.kind = WORLD_CREDIT};
    m.u.credit.segments = 1;
    service_rig_world_reply(&s, m, &begin);
    m = service_rig_world_hear(&s, WORLD_SEGMENT_IDS);
    assert_int_equal(m.u.segment_ids.segment, SERVICE_RIG_CREDIT);
    zsocket_message_fini(&s.frame);
    service_rig_fini(&s);
}

static void
damaged_snapshots_are_never_kept(void **state)
{
    service_rig s;
    int32_t ids[SERVICE_RIG_IDS];
    uint8_t *snapshot;
    uint8_t sum[HASH_BYTES];
    size_t n;

    (void)state;
    service_rig_init(&s);
    service_rig_join(&s);
    n = 2 * s.model.segment_size;
    service_rig_fill(ids, n, &s);
    for (int damage = 0; damage < 3; damage++) {
        world_message begin;

        service_rig_add(&s, "d", ids, n);
        begin = service_rig_take_begin(&s);
        service_rig_take_segments(&s, &begin, ids, s.model.segment_size, false);
        /* A number of another place, a flipped bit, a wrong hash. */
        snapshot = service_rig_snapshot(&s, damage == 0 ? 2 : 1, 1.0F);
        if (damage == 1)
            snapshot[SNAPSHOT_HEADER + 2] ^= 1;
        service_rig_hash(snapshot, service_rig_snapshot_bytes(&s), sum);
        sum[3] ^= damage == 2;
        service_rig_send_snapshot(&s, &begin, snapshot, sum);
        service_rig_world_finish(&s, &begin);
        service_rig_hear_refused(&s, "wire");
        mem_free(snapshot);
    }
    assert_int_equal(service_rig_documents(&s), 0);
    service_rig_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worlds_must_have_the_model),
        cmocka_unit_test(credit_is_kept_to),
        cmocka_unit_test(damaged_snapshots_are_never_kept),
    };

    log_init("service_world_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
