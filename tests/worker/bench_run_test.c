/* SPDX-License-Identifier: Apache-2.0 */
/* Timed runs have a result where everything that they leave is finite and not
 * all zero, each kind of tensor of each layer, and the rows that come out; a
 * device at fault has none. */
#include "worker/bench_run.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/device.h"
#include "kernels/random.h"
#include "tests/expect.h"
#include "worker/bench_decode.h"

enum { SEGMENT = 24, N_ID = 2 * SEGMENT + 9, N_MEM = 5 };

static int32_t ids[N_ID];

static model_config
shape_of(void)
{
    model_config cfg;

    EXPECT_OK(config_preset(&cfg, "tiny"));
    cfg.segment_size = SEGMENT;
    cfg.n_mem = N_MEM;
    for (size_t i = 0; i < N_ID; i++)
        ids[i] = (int32_t)(random_mix(i) % cfg.n_vocab);
    return cfg;
}

static status
run_on(bench_run_result *r, kernel_device *dev)
{
    const model_config cfg = shape_of();
    const bench_run_args args = {.dev = dev,
                                 .cfg = &cfg,
                                 .ids = ids,
                                 .n_id = N_ID,
                                 .n_repeat = 2,
                                 .seed = 1,
                                 .all_rows = true};

    return bench_run(r, &args);
}

static status
decode_on(kernel_device *dev)
{
    const model_config cfg = shape_of();
    const bench_decode_args args = {.dev = dev,
                                    .cfg = &cfg,
                                    .ids = ids,
                                    .n_id = N_ID,
                                    .n_job = 2,
                                    .n_token = 5,
                                    .n_repeat = 1};
    bench_decode_result r = {0};
    status st = bench_decode(&r, &args);

    if (st == ST_OK)
        assert_true(r.states_norm > 0 && r.rows_norm > 0);
    return st;
}

/* ------------------------------------------------------ a device at fault ---
 */

typedef enum fault {
    NONE,
    ZERO_WEIGHTS, /* nothing gets in */
    NAN_NORM,     /* nothing that gets out is a number */
    NO_Z,         /* one kind of tensor alone stays as it was */
    ROWS_NAN,     /* the rows alone, behind all that states need */
    ROWS_ZERO
} fault;

static const device_table *honest;
static fault now;
static size_t rows_bytes; /* of the last segment, of a step's row */

static status
spoil_op(kernel_queue *q, const device_op *op)
{
    device_op other = *op;

    if (now == NAN_NORM && op->kind == DEVICE_RMSNORM)
        other.u.norm.eps = NAN;
    if (now == NO_Z && op->kind == DEVICE_ASSOC_WRITE)
        other.u.write.mem.z.buf = NULL;
    return honest->op(q, &other);
}

static status
spoil_copy(kernel_queue *q, const device_copy *c)
{
    device_copy other = *c;
    status st;

    if (now == ZERO_WEIGHTS && c->is_random)
        other.is_random = false; /* from nowhere: zeros */
    st = honest->copy(q, &other);
    if (st == ST_OK && c->host_dst != NULL && c->bytes == rows_bytes) {
        if (now == ROWS_NAN)
            *(float *)c->host_dst = NAN;
        if (now == ROWS_ZERO)
            memset(c->host_dst, 0, c->bytes);
    }
    return st;
}

typedef struct faulty {
    kernel_device *dev;
    device_table table;
} faulty;

static void
faulty_open(faulty *f)
{
    EXPECT_OK(
        kernel_open(&f->dev, &(kernel_config){.device = "cpu", .n_thread = 1}));
    honest = f->dev->table;
    f->table = *honest;
    f->table.op = spoil_op;
    f->table.copy = spoil_copy;
    f->dev->table = &f->table;
    now = NONE;
    rows_bytes = 0;
}

static void
faulty_close(faulty *f)
{
    f->dev->table = honest;
    kernel_close(f->dev);
}

static void
expect_none(kernel_device *dev, fault what, const char *says)
{
    bench_run_result r = {0};

    now = what;
    EXPECT_ST(run_on(&r, dev), ST_STATE);
    assert_null(r.left.states);
    if (strstr(status_text(), says) == NULL ||
        strstr(status_text(), "no result") == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", status_text(), says);
    now = NONE;
}

/* --------------------------------------------------------------- tests --- */

static void
what_is_left_is_measured(void **state)
{
    bench_run_result r = {0};
    double squares = 0;
    faulty f;

    (void)state;
    faulty_open(&f);
    EXPECT_OK(run_on(&r, f.dev));
    assert_int_equal(r.left.n_norm, 2);
    assert_string_equal(r.left.norm_name[0], "W_mem");
    assert_string_equal(r.left.norm_name[1], "z");
    for (uint32_t i = 0; i < r.left.n_norm; i++) {
        assert_true(r.left.norm[i] > 0);
        squares += r.left.norm[i] * r.left.norm[i];
    }
    for (size_t i = 0; i < r.left.states_bytes / sizeof(float); i++)
        squares -= (double)r.left.states[i] * (double)r.left.states[i];
    assert_true(fabs(squares) < 1e-9 * r.left.states_norm * r.left.states_norm);
    assert_true(r.left.rows_norm > 0);
    mem_free(r.left.states);
    EXPECT_OK(decode_on(f.dev));
    faulty_close(&f);
}

static void
faults_leave_no_result(void **state)
{
    const model_config cfg = shape_of();
    const size_t row = cfg.d_model * sizeof(float);
    faulty f;

    (void)state;
    faulty_open(&f);
    expect_none(f.dev, ZERO_WEIGHTS, "W_mem of layer 0 is all zero");
    expect_none(f.dev, NAN_NORM, "not finite");
    expect_none(f.dev, NO_Z, "z of layer 0 is all zero");
    rows_bytes = (N_ID % SEGMENT + N_MEM) * row;
    expect_none(f.dev, ROWS_NAN, "comes out of layer 3 is not finite");
    expect_none(f.dev, ROWS_ZERO, "comes out of layer 3 is all zero");
    faulty_close(&f);
}

static void
answers_of_a_fault_are_none(void **state)
{
    const model_config cfg = shape_of();
    faulty f;

    (void)state;
    faulty_open(&f);
    rows_bytes = cfg.d_model * sizeof(float);
    now = NO_Z;
    EXPECT_ST(decode_on(f.dev), ST_STATE);
    now = ROWS_NAN;
    EXPECT_ST(decode_on(f.dev), ST_STATE);
    assert_non_null(strstr(status_text(), "comes out of layer 3"));
    faulty_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_is_measured),
        cmocka_unit_test(faults_leave_no_result),
        cmocka_unit_test(answers_of_a_fault_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
