/* SPDX-License-Identifier: Apache-2.0 */
/* Staged hops: when a stage, a place and MPI have a payload, and what becomes
 * of failures.  The device is as late as it likes. */
#include <string.h>

#include "tests/worker/hop_rig.h"

static const uint8_t others[HOP_RIG_BYTES] = {1, 2, 3};

static void
push(hop_rig *r)
{
    bool busy = false;
    EXPECT_OK(hop_push(r->h, &busy));
}

static const hop_header *
poll(hop_rig *r)
{
    const hop_header *head = NULL;
    bool busy = false;
    EXPECT_OK(hop_poll(r->h, &head, &busy));
    return head;
}

/* The hop that has come is of `stream`, and this is its payload. */
static void
use(hop_rig *r, uint32_t stream, uint8_t value)
{
    const hop_header *head = poll(r);
    assert_true(head != NULL && head->stream == stream);
    const uint8_t *data = hop_data(r->h);
    assert_true(data != NULL && data[0] == value &&
                data[HOP_RIG_BYTES - 1] == value);
    EXPECT_OK(hop_next(r->h));
}

/* ----------------------------------------------------------------- out --- */

static void
test_sent_once_in_its_stage(void **state)
{
    const hop_header fin = {.kind = HOP_FIN, .stream = 2};
    hop_rig r = {0};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 2));
    for (uint32_t i = 0; i < 3; i++)
        hop_rig_fill(&r, i, (uint8_t)(10 + i));
    hop_rig_send(&r, 0, 0);
    hop_rig_send(&r, 1, 1);
    hop_rig_send(&r, 0, 2);
    hop_send(r.h, &fin, NULL, 0);
    push(&r);
    push(&r);
    hop_touch(r.h);
    /* As many copies as stages; nothing lies there. */
    assert_int_equal(r.n_put, 2);
    assert_int_equal(r.mpi.n_sent, 0);
    /* The places are others' already: what they write comes behind. */
    assert_int_equal(r.n_back, 2);
    hop_rig_write(&r, 0, others);
    hop_rig_write(&r, 1, others);
    hop_rig_copy(&r, 1);
    hop_touch(r.h);
    assert_int_equal(r.mpi.n_sent, 2);
    hop_rig_copy(&r, 3);
    assert_memory_equal(r.place[1].bytes, others, sizeof others);
    hop_touch(r.h);
    assert_int_equal(r.mpi.n_sent, 4);
    /* Copied is not gone: MPI has both stages. */
    push(&r);
    assert_int_equal(r.n_put, 4);
    /* That nobody takes the first hop is no matter of the second's stage. */
    hop_rig_take(&r, 3, 11);
    push(&r);
    assert_int_equal(r.n_put, 5);
    assert_int_equal(r.n_back, 3);
    assert_int_equal(r.mpi.n_sent, 4);
    hop_rig_copy(&r, 1);
    hop_touch(r.h);
    /* The last hop and, behind it, the end. */
    assert_int_equal(r.mpi.n_sent, 7);
    assert_true(r.mpi.sent[6].tag == TAG_HOP);
    hop_rig_take(&r, 1, 10);
    hop_rig_take(&r, 5, 12);
    r.mpi.sent[6].done = true;
    push(&r);
    assert_int_equal(r.n_back, 4);
    hop_rig_close(&r);
}

static void
test_many_pass_few_stages(void **state)
{
    hop_rig r = {0};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 1));
    for (uint32_t i = 0; i < 12; i++) {
        uint32_t place = i % HOP_RIG_PLACE;
        hop_rig_fill(&r, place, (uint8_t)i);
        hop_rig_send(&r, i % HOP_RIG_STREAM, place);
        push(&r);
        hop_rig_copy(&r, 1);
        hop_touch(r.h);
        assert_int_equal(r.mpi.n_sent, 2 * (i + 1));
        hop_rig_take(&r, 2 * i + 1, (uint8_t)i);
    }
    push(&r);
    assert_int_equal(r.n_put, 12);
    assert_int_equal(r.n_back, 12);
    hop_rig_close(&r);
}

/* The first hop is taken last of all.  Its places free, the engine sends on. */
static void
test_behind_one_that_nobody_takes(void **state)
{
    enum { PASS = HOP_RIG_QUEUE - 1, MOST = PASS + 1 + HOP_RIG_QUEUE };
    hop_rig r = {0};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 2));
    for (uint32_t i = 0; i < MOST; i++) {
        hop_rig_fill(&r, 0, (uint8_t)i);
        hop_rig_send(&r, i > 0, 0);
        push(&r);
        hop_rig_copy(&r, 1);
        hop_touch(r.h);
        if (i > 0 && i <= PASS)
            hop_rig_take(&r, 2 * i + 1, (uint8_t)i);
    }
    push(&r);
    /* Some pass, then the others keep their places. */
    assert_int_equal(r.n_back, PASS + 1);
    assert_int_equal(r.mpi.n_sent, 2 * (PASS + 1));
    hop_rig_take(&r, 1, 0);
    for (uint32_t i = PASS + 1; i < MOST; i++) {
        push(&r);
        hop_rig_copy(&r, 1);
        hop_touch(r.h);
        assert_int_equal(r.mpi.n_sent, 2 * (i + 1));
        r.mpi.sent[2 * i].done = r.mpi.sent[2 * i + 1].done = true;
    }
    push(&r);
    assert_int_equal(r.n_back, MOST);
    hop_rig_close(&r);
}

/* ------------------------------------------------------------------ in --- */

static void
test_received_once_a_stage_is_empty(void **state)
{
    hop_rig r = {.verdict = {HOP_TAKE, HOP_TAKE, HOP_LATER}};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 2));
    hop_rig_head(&r, 2); /* has no place and so no stage */
    hop_rig_head(&r, 0);
    hop_rig_head(&r, 1);
    hop_rig_head(&r, 0);
    assert_null(poll(&r));
    hop_touch(r.h);
    assert_int_equal(hop_rig_posted(&r), 2);
    const uint8_t *first = hop_rig_data(&r, 0, 20);
    assert_non_null(hop_rig_data(&r, 1, 21));
    use(&r, 0, 20);
    use(&r, 1, 21);
    assert_null(poll(&r));
    /* Given out is not copied: both stages are in use. */
    hop_touch(r.h);
    assert_int_equal(r.n_put, 2);
    assert_int_equal(hop_rig_posted(&r), 2);
    assert_false(hop_rig_holds(&r, 0, 20));
    hop_rig_copy(&r, 1);
    assert_true(hop_rig_holds(&r, 0, 20));
    hop_touch(r.h);
    assert_int_equal(hop_rig_posted(&r), 3);
    assert_ptr_equal(hop_rig_data(&r, 0, 22), first);
    use(&r, 0, 22);
    hop_rig_copy(&r, 2);
    assert_true(hop_rig_holds(&r, 0, 20) && hop_rig_holds(&r, 1, 21) &&
                hop_rig_holds(&r, 2, 22));
    r.verdict[2] = HOP_TAKE;
    assert_null(poll(&r));
    assert_non_null(hop_rig_data(&r, 2, 23));
    use(&r, 2, 23);
    hop_rig_close(&r);
}

/* What a caller changes in a stage is what the place gets. */
static void
test_changed_on_its_way(void **state)
{
    hop_rig r = {.verdict = {HOP_TAKE}};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 1));
    hop_rig_head(&r, 0);
    assert_null(poll(&r));
    assert_non_null(hop_rig_data(&r, 0, 40));
    assert_non_null(poll(&r));
    memset(hop_data(r.h), 41, HOP_RIG_BYTES);
    EXPECT_OK(hop_next(r.h));
    hop_rig_copy(&r, 1);
    assert_true(hop_rig_holds(&r, 0, 41));
    hop_rig_close(&r);
}

static void
test_dropped_goes_nowhere(void **state)
{
    hop_rig r = {.verdict = {HOP_DROP, HOP_TAKE}};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 1));
    hop_rig_head(&r, 0);
    hop_rig_head(&r, 1);
    assert_null(poll(&r));
    assert_int_equal(hop_rig_posted(&r), 1);
    const uint8_t *stage = hop_rig_data(&r, 0, 30);
    const hop_header *head = poll(&r);
    assert_true(head != NULL && head->stream == 0 && hop_data(r.h) == NULL);
    EXPECT_OK(hop_next(r.h));
    /* No copy has to be waited for. */
    assert_int_equal(r.n_put, 0);
    assert_null(poll(&r));
    assert_ptr_equal(hop_rig_data(&r, 1, 31), stage);
    use(&r, 1, 31);
    hop_rig_copy(&r, 1);
    assert_true(hop_rig_holds(&r, 0, 31));
    hop_rig_close(&r);
}

/* ------------------------------------------------------------- failures --- */

static void
test_copies_that_fail(void **state)
{
    const hop_header *head = NULL;
    bool busy = false;
    hop_rig r = {.verdict = {HOP_TAKE}};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 1));
    hop_rig_head(&r, 0);
    assert_null(poll(&r));
    assert_non_null(hop_rig_data(&r, 0, 50));
    assert_non_null(poll(&r));
    r.copy_fails = ST_DEVICE;
    EXPECT_ST(hop_next(r.h), ST_DEVICE);
    hop_rig_send(&r, 0, 1);
    EXPECT_ST(hop_push(r.h, &busy), ST_DEVICE);
    assert_int_equal(r.n_back, 0);
    assert_int_equal(r.mpi.n_sent, 0);
    hop_rig_close(&r);

    /* A device that is lost while a group runs. */
    r = (hop_rig){0};
    EXPECT_OK(hop_rig_open(&r, 1));
    hop_rig_send(&r, 0, 1);
    push(&r);
    r.query_fails = ST_DEVICE;
    hop_touch(r.h);
    r.query_fails = ST_OK;
    EXPECT_ST(hop_push(r.h, &busy), ST_DEVICE);
    EXPECT_ST(hop_poll(r.h, &head, &busy), ST_DEVICE);
    assert_string_equal(status_text(), "asked for");
    assert_int_equal(r.mpi.n_sent, 0);
    hop_rig_close(&r);
}

static void
test_no_memory_for_stages(void **state)
{
    hop_rig r = {.host_fails = ST_NOMEM};

    (void)state;
    EXPECT_ST(hop_rig_open(&r, 2), ST_NOMEM);
    assert_null(r.h);
}

/* The end waits for the device, not for the neighbours. */
static void
test_copies_end_before_stages(void **state)
{
    hop_rig r = {.verdict = {HOP_TAKE}};

    (void)state;
    EXPECT_OK(hop_rig_open(&r, 2));
    hop_rig_head(&r, 0);
    assert_null(poll(&r));
    assert_non_null(hop_rig_data(&r, 0, 60));
    use(&r, 0, 60);
    hop_rig_send(&r, 1, 1);
    push(&r);
    assert_int_equal(r.n_put, 2);
    assert_int_equal(r.n_done, 0);
    hop_rig_close(&r);
    assert_true(hop_rig_holds(&r, 0, 60));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sent_once_in_its_stage),
        cmocka_unit_test(test_many_pass_few_stages),
        cmocka_unit_test(test_behind_one_that_nobody_takes),
        cmocka_unit_test(test_received_once_a_stage_is_empty),
        cmocka_unit_test(test_changed_on_its_way),
        cmocka_unit_test(test_dropped_goes_nowhere),
        cmocka_unit_test(test_copies_that_fail),
        cmocka_unit_test(test_no_memory_for_stages),
        cmocka_unit_test(test_copies_end_before_stages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
