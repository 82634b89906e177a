/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, events, the hook, and what the asynchronous device withholds. */
#include <string.h>

#include "tests/kernels/rig.h"

enum { N = 1000 };

static void
count_call(void *ctx)
{
    ++*(int *)ctx;
}

static void
order_on_a_device(rig *r)
{
    int32_t first[N], second[N], got[N];
    kernel_buf *a = NULL, *b = NULL;
    const size_t half = N / 2 * sizeof(int32_t);

    for (int32_t i = 0; i < N; i++) {
        first[i] = i;
        second[i] = -i;
    }
    EXPECT_OK(kernel_buf_new(&a, r->dev, KERNEL_KEEP, sizeof(int32_t), N));
    EXPECT_OK(kernel_buf_new(&b, r->dev, KERNEL_KEEP, sizeof(first), 1));
    assert_int_equal(kernel_buf_bytes(a), sizeof(first));
    EXPECT_OK(kernel_copy_out(r->q, got, a, 0, sizeof(got)));
    EXPECT_OK(kernel_sync(r->q));
    for (int32_t i = 0; i < N; i++)
        assert_int_equal(got[i], 0);
    EXPECT_OK(kernel_copy_in(r->q, a, 0, first, sizeof(first)));
    EXPECT_OK(kernel_copy(r->q, b, 0, a, 0, sizeof(first)));
    EXPECT_OK(kernel_copy_in(r->q, a, 0, second, sizeof(second)));
    EXPECT_OK(kernel_copy(r->q, b, half, a, 0, half));
    EXPECT_OK(kernel_zero(r->q, b, 0, sizeof(int32_t) * 10));
    EXPECT_OK(kernel_copy_out(r->q, got, b, 0, sizeof(got)));
    EXPECT_OK(kernel_sync(r->q));
    for (int32_t i = 0; i < N / 2; i++) {
        assert_int_equal(got[i], i < 10 ? 0 : i);
        assert_int_equal(got[N / 2 + i], -i);
    }
    kernel_buf_free(a);
    kernel_buf_free(b);
}

static void
copies_keep_their_order(void **state)
{
    (void)state;
    rig_every_way(order_on_a_device);
}

/* Memory of the host that the device reads and writes by itself: copies of any
 * size, both ways, with others in between, and of a part of it. */
static void
host_on_a_device(rig *r)
{
    enum { LONG = 5 << 20, SHORT = 100, AT = 4096 + 4 };
    kernel_buf *a = NULL;
    kernel_event *ev = NULL;
    void *in = NULL, *out = NULL;
    bool reached = false;

    EXPECT_OK(kernel_buf_new(&a, r->dev, KERNEL_KEEP, LONG, 1));
    EXPECT_OK(kernel_event_new(&ev, r->dev));
    EXPECT_OK(kernel_host_new(&in, r->dev, LONG));
    EXPECT_OK(kernel_host_new(&out, r->dev, LONG));
    assert_ptr_equal(kernel_queue_device(r->q), r->dev);
    uint8_t *from = in, *to = out;
    for (size_t i = 0; i < LONG; i++) {
        assert_true(from[i] == 0 && to[i] == 0);
        from[i] = (uint8_t)(i * 7 + i / 1000);
    }
    EXPECT_OK(kernel_copy_in(r->q, a, 0, from, LONG));
    EXPECT_OK(kernel_copy_out(r->q, to, a, 0, LONG));
    EXPECT_OK(kernel_event_record(ev, r->q));
    /* What comes behind a copy does not change it. */
    EXPECT_OK(kernel_zero(r->q, a, 0, LONG));
    EXPECT_OK(kernel_copy_in(r->q, a, AT, from + AT, SHORT));
    while (!reached)
        EXPECT_OK(kernel_event_query(ev, &reached));
    assert_memory_equal(to, from, LONG);
    EXPECT_OK(kernel_copy_out(r->q, to + 8, a, AT - 4, SHORT + 8));
    EXPECT_OK(kernel_copy_out(r->q, to + LONG - 4, a, AT, 4));
    EXPECT_OK(kernel_sync(r->q));
    for (size_t i = 0; i < 4; i++)
        assert_true(to[8 + i] == 0 && to[8 + 4 + SHORT + i] == 0);
    assert_memory_equal(to + 12, from + AT, SHORT);
    assert_memory_equal(to + LONG - 4, from + AT, 4);
    kernel_host_free(r->dev, in);
    kernel_host_free(r->dev, out);
    kernel_host_free(r->dev, NULL);
    kernel_event_free(ev);
    kernel_buf_free(a);
}

static void
host_memory_is_copied(void **state)
{
    (void)state;
    rig_every_way(host_on_a_device);
}

static void
events_on_a_device(rig *r)
{
    kernel_event *ev = NULL, *later = NULL;
    char src[64], dst[64] = {0};
    kernel_buf *buf = NULL;
    bool reached = false;

    memset(src, 7, sizeof(src));
    EXPECT_OK(kernel_buf_new(&buf, r->dev, KERNEL_KEEP, 64, 1));
    EXPECT_OK(kernel_event_new(&ev, r->dev));
    EXPECT_OK(kernel_event_new(&later, r->dev));
    EXPECT_OK(kernel_event_query(ev, &reached));
    assert_true(reached);
    EXPECT_OK(kernel_event_wait(ev));
    EXPECT_OK(kernel_copy_in(r->q, buf, 0, src, 64));
    EXPECT_OK(kernel_copy_out(r->q, dst, buf, 0, 64));
    EXPECT_OK(kernel_event_record(ev, r->q));
    EXPECT_OK(kernel_zero(r->q, buf, 0, 64));
    EXPECT_OK(kernel_event_record(later, r->q));
    EXPECT_OK(kernel_event_wait(ev));
    assert_memory_equal(dst, src, 64);
    EXPECT_OK(kernel_event_query(ev, &reached));
    assert_true(reached);
    EXPECT_OK(kernel_event_wait(later));
    EXPECT_OK(kernel_event_query(later, &reached));
    assert_true(reached);
    kernel_event_free(ev);
    kernel_event_free(later);
    kernel_buf_free(buf);
}

static void
events_are_reached_in_order(void **state)
{
    (void)state;
    rig_every_way(events_on_a_device);
}

/* A group of rope on one cell: enough work for the hook to be called. */
static void
run_rope(rig *r, rig_tensor *x, rig_tensor *freq)
{
    rig_begin(r);
    EXPECT_OK(kernel_rope(r->q, &(kernel_rope_args){.x = x->view,
                                                    .freq = freq->view,
                                                    .n_head = 1,
                                                    .d_head = 16,
                                                    .d_rot = 16,
                                                    .scale = 1}));
    EXPECT_OK(kernel_end(r->q));
}

static void
hook_on_a_device(rig *r)
{
    rig_tensor x, freq;
    int n_call = 0;

    rig_tensor_init(&x, r, KERNEL_BY_SLOT, RIG_N_ROW, 16, 1);
    rig_tensor_init(&freq, r, KERNEL_BY_CELL, 1, 8, 2);
    kernel_queue_hook(r->q, count_call, &n_call);
    for (int i = 0; i < 100; i++) /* 100 delays: not over before the wait */
        run_rope(r, &x, &freq);
    EXPECT_OK(kernel_sync(r->q));
    assert_true(n_call > 0);
    kernel_queue_hook(r->q, NULL, NULL);
    n_call = 0;
    run_rope(r, &x, &freq);
    EXPECT_OK(kernel_sync(r->q));
    assert_int_equal(n_call, 0);
    rig_tensor_fini(&x);
    rig_tensor_fini(&freq);
}

static void
hook_is_called(void **state)
{
    (void)state;
    rig_every_way(hook_on_a_device);
}

/* A cell that threads share, which is none of the caller's own: between its
 * pieces, and while it waits for those of others. */
static void
hook_is_called_in_shared_cells(void **state)
{
    rig r;

    (void)state;
    for (int way = 0; way < RIG_N_CPU; way++)
        if (rig_ways[way].n_thread > 1) {
            rig_open(&r, &rig_ways[way]);
            r.n_cell = 1;
            hook_on_a_device(&r);
            rig_close(&r);
        }
}

/* Nothing is done on return: what a copy reads is what is there later. */
static void
async_device_is_late(void **state)
{
    char src = 1, dst = 0;
    kernel_buf *buf = NULL;
    kernel_event *ev = NULL;
    bool reached = true;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[3]);
    EXPECT_OK(kernel_buf_new(&buf, r.dev, KERNEL_KEEP, 1, 1));
    assert_null(kernel_buf_host(buf, 0));
    EXPECT_OK(kernel_event_new(&ev, r.dev));
    for (int i = 0; i < 500; i++) /* as many delays: the last is not over */
        EXPECT_OK(kernel_copy_in(r.q, buf, 0, &src, 1));
    EXPECT_OK(kernel_copy_out(r.q, &dst, buf, 0, 1));
    EXPECT_OK(kernel_event_record(ev, r.q));
    src = 2;
    EXPECT_OK(kernel_event_query(ev, &reached));
    assert_false(reached);
    EXPECT_OK(kernel_sync(r.q));
    assert_int_equal(dst, 2);
    kernel_event_free(ev);
    kernel_buf_free(buf);
    rig_close(&r);
}

/* What one group leaves in scratch is gone in the next. */
static void
async_device_spoils_scratch(void **state)
{
    kernel_view scratch = {.type = KERNEL_F32, .by = KERNEL_BY_CELL, .ld = 16};
    rig_tensor x, out, one, freq;
    float got;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[3]);
    rig_tensor_init(&x, &r, KERNEL_BY_SLOT, RIG_N_ROW, 16, 1);
    rig_tensor_init(&out, &r, KERNEL_BY_CELL, RIG_N_ROW, 16, 1);
    rig_tensor_init(&one, &r, KERNEL_BY_LAYER, 1, 16, 3);
    rig_tensor_init(&freq, &r, KERNEL_BY_CELL, 1, 8, 2);
    EXPECT_OK(kernel_buf_new(&scratch.buf, r.dev, KERNEL_SCRATCH,
                             RIG_N_ROW * 16 * sizeof(float), RIG_N_CELL));
    rig_begin(&r);
    EXPECT_OK(kernel_rmsnorm(r.q, &(kernel_norm_args){.out = scratch,
                                                      .x = x.view,
                                                      .w = one.view,
                                                      .d = 16,
                                                      .n_head = 1,
                                                      .eps = 1e-5F}));
    rig_end(&r);
    rig_begin(&r);
    EXPECT_OK(kernel_rmsnorm(r.q, &(kernel_norm_args){.out = out.view,
                                                      .x = scratch,
                                                      .w = one.view,
                                                      .d = 16,
                                                      .n_head = 1,
                                                      .eps = 1e-5F}));
    EXPECT_OK(kernel_end(r.q));
    EXPECT_OK(kernel_copy_out(r.q, &got, out.view.buf,
                              rig_at(&out, 0, 0, 0) * sizeof(float),
                              sizeof(got)));
    EXPECT_OK(kernel_sync(r.q));
    assert_true(got != got);
    kernel_buf_free(scratch.buf);
    rig_tensor_fini(&x);
    rig_tensor_fini(&out);
    rig_tensor_fini(&one);
    rig_tensor_fini(&freq);
    rig_close(&r);
}

/* The queue frees only behind its work: the copy has arrived. */
static void
free_waits(void **state)
{
    char src = 5, dst = 0;
    kernel_buf *buf = NULL;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[3]);
    EXPECT_OK(kernel_buf_new(&buf, r.dev, KERNEL_KEEP, 1, 1));
    EXPECT_OK(kernel_copy_in(r.q, buf, 0, &src, 1));
    EXPECT_OK(kernel_copy_out(r.q, &dst, buf, 0, 1));
    kernel_queue_free(r.q);
    assert_int_equal(dst, 5);
    kernel_buf_free(buf);
    kernel_close(r.dev);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_keep_their_order),
        cmocka_unit_test(host_memory_is_copied),
        cmocka_unit_test(events_are_reached_in_order),
        cmocka_unit_test(hook_is_called),
        cmocka_unit_test(hook_is_called_in_shared_cells),
        cmocka_unit_test(async_device_is_late),
        cmocka_unit_test(async_device_spoils_scratch),
        cmocka_unit_test(free_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
