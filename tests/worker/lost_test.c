/* SPDX-License-Identifier: Apache-2.0 */
/* A device that is lost in the middle of a job, as a GPU is: from some call on
 * everything fails.  The engine says so, hangs nowhere, and can be closed; the
 * rank that has it ends with that status (e2e.faults: world.group:eio). */
#include "base/mem.h"
#include "kernels/device.h"
#include "tests/expect.h"
#include "tests/worker/rig.h"

enum { N_SEGMENT = 3, SEGMENT = 8, N_ID = N_SEGMENT * SEGMENT };

static const device_table *whole;
static uint32_t n_call; /* until the device is gone */
static bool gone;

/* Once gone, a device does not come back. */
static status
come_by(void)
{
    if (n_call > 0)
        n_call--;
    gone = gone || n_call == 0;
    return gone ? status_fail(ST_DEVICE, "the device is gone") : ST_OK;
}

static status
end_group(kernel_queue *q)
{
    status st = whole->end(q); /* closes the group in any case */

    return st == ST_OK ? come_by() : st;
}

static status
copy(kernel_queue *q, const device_copy *c)
{
    status st = come_by();

    return st == ST_OK ? whole->copy(q, c) : st;
}

static status
begin(kernel_queue *q, const kernel_cell *cells, uint32_t n_cell)
{
    status st = come_by();

    return st == ST_OK ? whole->begin(q, cells, n_cell) : st;
}

static status
sync_queue(kernel_queue *q)
{
    status st = come_by();

    return st == ST_OK ? whole->sync(q) : st;
}

static status
wait_event(kernel_event *ev)
{
    status st = come_by();

    return st == ST_OK ? whole->event_wait(ev) : st;
}

static status
query_event(kernel_event *ev, bool *reached)
{
    status st = come_by();

    return st == ST_OK ? whole->event_query(ev, reached) : st;
}

/* A job until its end or the first failure. */
static status
run_job(engine *e, uint32_t *n_done)
{
    static const int32_t ids[N_ID] = {3, 1, 4, 1, 5, 9, 2, 6};
    const engine_done *done = NULL;
    uint32_t n_fed = 0, n = 1;
    status st = ST_OK;

    *n_done = 0;
    TRY(engine_open(e, 0, true, 0));
    while (n > 0) {
        bool reached = false;

        for (; n_fed < N_SEGMENT && engine_room(e, 0) > 0; n_fed++) {
            const engine_segment s = {
                .seg = n_fed,
                .past = {n_fed * SEGMENT, n_fed > 0 ? SEGMENT : 0},
                .n_token = SEGMENT,
                .want = ENGINE_LOGITS};
            TRY(engine_feed(e, 0, &s, ids + n_fed * SEGMENT));
        }
        TRY(engine_launch(e, &n));
        if (n == 0)
            break;
        TRY(engine_poll(e, &reached));
        TRY(engine_collect(e, &done, &n));
        *n_done += n;
    }
fail:
    return st;
}

static void
ignore_logits(void *ctx, uint32_t stream, const engine_segment *segment,
              uint32_t row0, uint32_t n_row, const float *logits)
{
    (void)ctx, (void)stream, (void)segment, (void)row0, (void)n_row;
    assert_true(logits[0] - logits[0] == 0.0F);
}

/* Gone at the `at`-th call; false: the job came to its end before. */
static bool
lose(const char *name, uint32_t at)
{
    const model_config shape = rig_shape();
    const engine_sink sink = {.logits = ignore_logits};
    uint32_t n_done = 0;
    device_table table;
    status st;
    rig r;

    rig_open(
        &r, &(rig_config){
                .shape = &shape, .device = name, .n_thread = 1, .n_stream = 1});
    engine_sink_set(r.e, &sink);
    whole = r.dev->table;
    table = *whole;
    table.begin = begin;
    table.end = end_group;
    table.copy = copy;
    table.sync = sync_queue;
    table.event_wait = wait_event;
    table.event_query = query_event;
    n_call = at;
    gone = false;
    r.dev->table = &table;
    st = run_job(r.e, &n_done);
    if (gone) {
        assert_int_equal(st, ST_DEVICE);
        assert_string_equal(status_text(), "the device is gone");
        /* Nor does it come back for what is asked afterwards. */
        engine_place at_state;
        float state[4];
        engine_state_place(r.e, 0, 0, &(memory_past){SEGMENT, SEGMENT},
                           &at_state);
        at_state.len = sizeof state;
        EXPECT_ST(engine_read(r.e, &at_state, state), ST_DEVICE);
    } else {
        EXPECT_OK(st);
        assert_int_equal(n_done, N_SEGMENT * shape.n_layer);
    }
    r.dev->table = whole;
    rig_close(&r);
    return gone;
}

static void
a_lost_device_ends_the_job_wherever_it_is(void **state)
{
    static const char *const names[] = {"cpu", "cpu-async"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint32_t at = 1;

        while (at < 1000 && lose(names[i], at))
            at++;
        assert_true(at > 20 && at < 1000); /* there were calls to lose it at */
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_device_ends_the_job_wherever_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
