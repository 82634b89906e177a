/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asked whether he is well, and for how long he has not said so.
 * Commands end here: no rank has to be there. */
#include "worker/lead_impl.h"

#include <string.h>

#include "tests/expect.h"

enum { SIZE = 3, REPLICAS = 2, EACH = 2, RANKS = SIZE * REPLICAS };

/* Two replicas of three ranks, the last one of which holds nothing. */
typedef struct rig {
    lead w;
    lead_replica replica[REPLICAS];
    lead_stream stream[REPLICAS * EACH];
    world_health h;
} rig;

static uint32_t asked[RANKS];

status
order_send(order_out *o, uint32_t rank, const command *cmd, const void *data)
{
    (void)o;
    assert_null(data);
    assert_true(rank < RANKS);
    assert_int_equal(cmd->kind, COMMAND_ASK);
    assert_int_equal(cmd->stream, rank == 5 ? EACH : 0);
    asked[rank]++;
    return ST_OK;
}

static void
init(rig *r)
{
    static const uint32_t ends[SIZE] = {2, 3, 3};
    static int channel;

    *r = (rig){0};
    r->w = (lead){.place = {.kind = PLACE_LAYERS,
                            .n_layer = 3,
                            .size = SIZE,
                            .n_replica = REPLICAS,
                            .ends = ends},
                  .n_active = 2,
                  .n_each = EACH,
                  .n_stream = REPLICAS * EACH,
                  .order = (void *)&channel,
                  .stream = r->stream,
                  .replica = r->replica};
    memset(asked, 0, sizeof(asked));
}

/* After a pause: far longer than is counted at a look. */
static void
look(rig *r, uint64_t every_ns)
{
    r->w.look_ns = 0;
    EXPECT_OK(lead_watch(&r->w, every_ns, &r->h));
}

static void
expect_asked(uint32_t first, uint32_t end, uint32_t times)
{
    for (uint32_t rank = first; rank < end; rank++)
        assert_int_equal(asked[rank], times);
}

static void
answer(rig *r, uint32_t replica, uint32_t rank)
{
    const report here = {
        .kind = REPORT_HERE, .stream = replica * EACH, .rank = rank};

    EXPECT_OK(lead_watch_answered(&r->w, &here));
}

/* Everybody but the lead itself, once until he has answered. */
static void
all_that_rest_are_asked(void **state)
{
    const report more = {.kind = REPORT_HERE, .rank = 1};
    rig r;

    (void)state;
    init(&r);
    look(&r, UINT64_MAX);
    expect_asked(0, RANKS, 0);
    assert_false(lead_watch_owed(&r.w));
    look(&r, 0);
    look(&r, 0);
    expect_asked(0, 1, 0);
    expect_asked(1, RANKS, 1);
    assert_false(r.h.due);
    assert_int_equal(r.h.stall.ns, 0);
    for (uint32_t rank = 1; rank < SIZE; rank++)
        answer(&r, 0, rank);
    EXPECT_ST(lead_watch_answered(&r.w, &more), ST_WIRE);
    assert_true(lead_watch_owed(&r.w));
    for (uint32_t rank = 0; rank < SIZE; rank++)
        answer(&r, 1, rank);
    assert_false(lead_watch_owed(&r.w));
    assert_int_equal(r.w.n_here, 5);
    look(&r, 0);
    expect_asked(1, RANKS, 2);
}

/* One that does not answer is silent, however well the others are. */
static void
silence_is_counted(void **state)
{
    rig r;

    (void)state;
    init(&r);
    look(&r, 0);
    assert_int_equal(r.h.silent_ns, 0);
    for (uint32_t rank = 0; rank < SIZE; rank++)
        answer(&r, 1, rank);
    answer(&r, 0, 1); /* and not the one that holds nothing */
    look(&r, UINT64_MAX);
    assert_int_equal(r.h.silent_ns, UINT64_C(100000000));
    look(&r, UINT64_MAX);
    assert_int_equal(r.h.silent_ns, UINT64_C(200000000));
    answer(&r, 0, 2);
    look(&r, UINT64_MAX);
    assert_int_equal(r.h.silent_ns, 0);
}

static void
who_works_is_not_asked(void **state)
{
    rig r;

    (void)state;
    init(&r);
    r.stream[1].open = true;
    look(&r, 0);
    expect_asked(0, SIZE, 0);
    expect_asked(SIZE, RANKS, 1);
    assert_false(r.h.due); /* it has no segment yet */
    r.stream[1].n_fed = 1;
    look(&r, 0);
    assert_true(r.h.due);
    /* What was owed when work began is no silence while it lasts. */
    r.stream[2].open = true;
    look(&r, 0);
    assert_int_equal(r.h.silent_ns, 0);
    expect_asked(0, SIZE, 0);
    expect_asked(SIZE, RANKS, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_rest_are_asked),
        cmocka_unit_test(silence_is_counted),
        cmocka_unit_test(who_works_is_not_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
