/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on a world of one rank, the daemon played by the test: documents,
 * answers and their bits; and every kind of message that is wrong. */
#include <string.h>

#include "base/mem.h"
#include "proto/snapshot.h"
#include "tests/expect.h"
#include "tests/worker/errand_rig.h"

/* ---------------------------------------------------------------- jobs --- */

static void
test_document(void **ctx)
{
    errand_rig r;
    snapshot_info info;
    uint8_t sum[HASH_BYTES];
    hash h;
    (void)ctx;
    errand_rig_open(&r);
    for (int round = 0; round < 2; round++) {
        world_message m = errand_rig_begin(&r, false);
        errand_rig_start(&r, &m);
        errand_rig_send_all(&r, false);
        errand_rig_finish(&r);
        assert_string_equal(r.code, "");
        assert_int_equal(r.done, r.j->n_write);
        assert_int_equal(r.snapshot_len, r.snapshot_bytes);
        EXPECT_OK(snapshot_check(&info, r.snapshot, r.snapshot_len));
        assert_int_equal(info.n_segment, r.j->first_seg + r.j->n_write);
        assert_memory_equal(info.fingerprint, r.shape.fingerprint, 32);
        assert_memory_equal(r.snapshot + SNAPSHOT_HEADER, r.j->after,
                            r.snapshot_len - SNAPSHOT_HEADER);
        hash_init(&h);
        hash_add(&h, r.snapshot, r.snapshot_len);
        hash_end(&h, sum);
        assert_memory_equal(sum, r.snapshot_hash, HASH_BYTES);
    }
    errand_rig_close(&r);
}

static void
check_answer(errand_rig_kind k)
{
    errand_rig r;
    errand_rig_open_kind(&r, k);
    world_message m = errand_rig_begin(&r, true);
    errand_rig_start(&r, &m);
    errand_rig_send_all(&r, true);
    errand_rig_finish(&r);
    assert_string_equal(r.code, "");
    assert_string_equal(r.finish, "length");
    assert_int_equal(r.n_token, r.j->n_draw);
    assert_memory_equal(r.token, r.j->token, r.n_token * sizeof *r.token);
    assert_int_equal(r.snapshot_len, 0);

    /* An end token is told and ends the answer. */
    m.u.begin.generate.n_eos = 2;
    m.u.begin.generate.eos[0] = -1;
    m.u.begin.generate.eos[1] = r.j->token[0];
    errand_rig_start(&r, &m);
    errand_rig_send_all(&r, true);
    errand_rig_finish(&r);
    assert_string_equal(r.finish, "eos");
    assert_int_equal(r.n_token, 1);
    assert_int_equal(r.token[0], r.j->token[0]);
    errand_rig_close(&r);
}

static void
test_answer(void **ctx)
{
    (void)ctx;
    for (int k = 0; k < ERRAND_RIG_COUNT; k++)
        check_answer((errand_rig_kind)k);
}

/* At every turn from the first to the last. */
static void
test_cancel(void **ctx)
{
    errand_rig r;
    (void)ctx;
    errand_rig_open(&r);
    for (int at = 0; at < 40; at++) {
        world_message m = errand_rig_begin(&r, at % 2 == 0);
        errand_rig_start(&r, &m);
        for (uint64_t i = 0; i < ERRAND_RIG_CREDIT; i++)
            errand_rig_send_segment(&r, i);
        for (int i = 0; i < at; i++)
            errand_rig_turn(&r);
        errand_cancel(r.e);
        errand_rig_send_segment(
            &r, ERRAND_RIG_CREDIT); /* crosses the cancel: no harm */
        errand_rig_finish(&r);
        assert_string_equal(r.code, "canceled");
    }
    /* Dropped: nothing more is told. */
    world_message m = errand_rig_begin(&r, true);
    errand_rig_start(&r, &m);
    errand_rig_send_segment(&r, 0);
    errand_rig_turn(&r);
    errand_drop(r.e);
    assert_false(errand_is(r.e, ERRAND_RIG_JOB, ERRAND_RIG_ATTEMPT));
    while (!errand_is_idle(r.e))
        errand_rig_turn(&r);
    assert_false(r.over);
    errand_rig_close(&r);
}

/* ------------------------------------------------------ wrong messages --- */

static void
expect_failed(errand_rig *r, const char *code)
{
    errand_rig_finish(r);
    assert_string_equal(r->code, code);
    assert_true(r->text[0] != 0);
}

static void
test_bad_begin(void **ctx)
{
    errand_rig r;
    (void)ctx;
    errand_rig_open(&r);
    for (int i = 0; i < 7; i++) {
        world_message m = errand_rig_begin(&r, true);
        const char *code = "wire";
        if (i == 0)
            m.u.begin.snapshot_bytes = 0;
        if (i == 1)
            m.u.begin.first_segment = 0;
        if (i == 2) {
            m.u.begin.snapshot_bytes--;
            code = "arg";
        }
        if (i == 3) {
            m.u.begin.n_segment = UINT64_MAX;
            code = "limit";
        }
        if (i == 4) {
            m.u.begin.n_segment = 0;
            m.u.begin.generate.max_tokens = 0;
            code = "arg";
        }
        if (i == 5) {
            m.u.begin.generate.max_tokens = WORLD_CASE_MAX_DRAW + 1;
            code = "limit";
        }
        if (i == 6) {
            m.u.begin.n_segment = 0;
            m.u.begin.want_snapshot = true;
            code = "arg";
        }
        errand_rig_forget(&r);
        errand_begin(r.e, &m, NULL, 0);
        expect_failed(&r, code);
    }
    errand_rig_close(&r);
}

static void
test_bad_snapshot(void **ctx)
{
    errand_rig r;
    (void)ctx;
    errand_rig_open(&r);
    size_t len = r.snapshot_bytes;
    /* Another model, another number of segments, a flipped bit. */
    for (int i = 0; i < 3; i++) {
        uint8_t *data = errand_rig_snapshot(&r);
        snapshot_info info;
        world_message m = errand_rig_begin(&r, true);
        EXPECT_OK(snapshot_check(&info, data, len));
        info.fingerprint[3] ^= i == 0;
        info.n_segment += i == 1;
        if (i < 2)
            EXPECT_OK(snapshot_seal(data, len, &info));
        data[len - 3] ^= i == 2;
        errand_rig_forget(&r);
        errand_begin(r.e, &m, NULL, 0);
        errand_rig_send_snapshot(&r, data);
        errand_rig_finish(&r);
        assert_true(r.code[0] != 0);
        mem_free(data);
    }
    /* Parts that are out of order, too long, empty, or end too early; or
     * whose hash is another. */
    for (int i = 0; i < 6; i++) {
        uint8_t *data = errand_rig_snapshot(&r);
        world_message begin = errand_rig_begin(&r, true);
        world_message m = errand_rig_message(WORLD_SNAPSHOT);
        size_t n = i == 3 ? 0 : i == 2 ? len + 1 : i == 5 ? len : len / 2;
        m.u.snapshot.total = i == 1 ? len + 1 : len;
        m.u.snapshot.offset = i == 0 ? 1 : 0;
        m.u.snapshot.last = i >= 4;
        errand_rig_forget(&r);
        errand_begin(r.e, &begin, NULL, 0);
        EXPECT_OK(mem_resize(&data, len + 1, 1));
        errand_part(r.e, &m, data, n);
        expect_failed(&r, "wire");
        mem_free(data);
    }
    errand_rig_close(&r);
}

static void
test_bad_segment(void **ctx)
{
    errand_rig r;
    (void)ctx;
    errand_rig_open(&r);
    uint32_t s = r.t->model.segment_size;
    for (int i = 0; i < 8; i++) {
        int32_t ids[16] = {0};
        world_message begin = errand_rig_begin(&r, true);
        world_message m = errand_rig_message(WORLD_SEGMENT_IDS);
        size_t len = s * sizeof *ids;
        m.u.segment_ids.segment = r.j->first_seg;
        errand_rig_start(&r, &begin);
        if (i == 0)
            m.u.segment_ids.segment++;
        if (i == 1)
            m.u.segment_ids.prompt = true;
        if (i == 2)
            len -= 1;
        if (i == 3)
            len = 0;
        if (i == 4)
            len += 4;
        if (i == 5)
            ids[1] = -1;
        if (i == 6)
            ids[1] = (int32_t)r.t->model.n_vocab;
        if (i == 7) { /* more than there was credit for */
            for (uint64_t seg = 0; seg < ERRAND_RIG_CREDIT; seg++)
                errand_rig_send_segment(&r, seg);
            m.u.segment_ids.segment += ERRAND_RIG_CREDIT;
        }
        errand_segment(r.e, &m, (const uint8_t *)ids, len);
        expect_failed(&r, i == 5 || i == 6 ? "arg" : "wire");
    }
    /* Before the snapshot is complete. */
    world_message begin = errand_rig_begin(&r, true);
    errand_rig_forget(&r);
    errand_begin(r.e, &begin, NULL, 0);
    errand_rig_send_segment(&r, 0);
    expect_failed(&r, "wire");
    errand_rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),     cmocka_unit_test(test_answer),
        cmocka_unit_test(test_cancel),       cmocka_unit_test(test_bad_begin),
        cmocka_unit_test(test_bad_snapshot), cmocka_unit_test(test_bad_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
