/* SPDX-License-Identifier: Apache-2.0 */
/* The check of an engine: right on every device of the CPU, and able to see
 * what is wrong with one.  A device that computes one kind of operation a
 * little differently stands for a GPU with a fault. */
#include "worker/bench_check.h"

#include "base/mem.h"
#include "kernels/device.h"
#include "kernels/random.h"
#include "tests/expect.h"
#include "worker/bench_reference.h"

enum { SEGMENT = 24, N_ID = 2 * SEGMENT + 9 };

static int32_t ids[N_ID];

static model_config
shape_of(void)
{
    model_config cfg;

    EXPECT_OK(config_preset(&cfg, "tiny"));
    cfg.segment_size = SEGMENT;
    cfg.n_mem = 5;
    return cfg;
}

static bench_check_result
check_on(kernel_device *dev, weights_want want)
{
    model_config cfg = shape_of();
    const bench_run_args args = {.dev = dev,
                                 .cfg = &cfg,
                                 .ids = ids,
                                 .n_id = N_ID,
                                 .want = want,
                                 .seed = 20};
    bench_check_result r = {0};

    for (size_t i = 0; i < N_ID; i++)
        ids[i] = (int32_t)(random_mix(i) % cfg.n_vocab);
    EXPECT_OK(bench_check(&r, &args, 2));
    return r;
}

static kernel_device *
open_device(const char *name)
{
    kernel_device *dev = NULL;

    EXPECT_OK(
        kernel_open(&dev, &(kernel_config){.device = name, .n_thread = 2}));
    return dev;
}

static void
engines_are_right(void **state)
{
    static const char *const names[] = {"cpu", "cpu-async"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        kernel_device *dev = open_device(names[i]);
        bench_check_result r = check_on(dev, WEIGHTS_STORED);

        assert_true(r.ok);
        for (bench_check_what what = 0; what < BENCH_CHECK_N; what++) {
            assert_true(r.error[what] > 0); /* fp32 is not double */
            assert_true(r.error[what] <= 1e-5);
            assert_true(r.worst[what] >= r.error[what] / 2);
        }
        kernel_close(dev);
    }
}

static void
weights_in_8_bits_are_those_of_the_device(void **state)
{
    kernel_device *dev = open_device("cpu");

    (void)state;
    assert_true(check_on(dev, WEIGHTS_INT8).ok);
    kernel_close(dev);
}

/* ------------------------------------------------------ a device at fault ---
 */

static const device_table *honest;
static device_op_kind spoiled;

/* Changes an operation by something that the eye would miss. */
static status
spoil(kernel_queue *q, const device_op *op)
{
    device_op other = *op;

    if (op->kind != spoiled)
        return honest->op(q, op);
    switch (op->kind) {
    case DEVICE_RMSNORM:
        other.u.norm.eps *= 1000.0F;
        break;
    case DEVICE_ROPE:
        other.u.rope.scale = 1.001F;
        break;
    case DEVICE_ATTENTION:
        other.u.attention.scale *= 1.01F;
        break;
    case DEVICE_DPFP:
        other.u.dpfp.l2_norm = true;
        break;
    case DEVICE_ASSOC_WRITE:
        other.u.write.mem.correction = false;
        break;
    case DEVICE_ASSOC_READ:
        return ST_OK;
    default:
        break;
    }
    return honest->op(q, &other);
}

static void
faults_are_seen(void **state)
{
    static const device_op_kind kinds[] = {
        DEVICE_RMSNORM, DEVICE_ROPE,       DEVICE_ATTENTION,
        DEVICE_DPFP,    DEVICE_ASSOC_READ, DEVICE_ASSOC_WRITE};
    kernel_device *dev = open_device("cpu");
    device_table table = *dev->table;

    (void)state;
    honest = dev->table;
    table.op = spoil;
    dev->table = &table;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        spoiled = kinds[i];
        assert_false(check_on(dev, WEIGHTS_STORED).ok);
    }
    spoiled = DEVICE_N_OP; /* none */
    assert_true(check_on(dev, WEIGHTS_STORED).ok);
    dev->table = honest;
    kernel_close(dev);
}

static void
two_segments_are_too_few(void **state)
{
    kernel_device *dev = open_device("cpu");
    model_config cfg = shape_of();
    const bench_run_args args = {
        .dev = dev, .cfg = &cfg, .ids = ids, .n_id = 2 * SEGMENT};
    bench_check_result r;

    (void)state;
    EXPECT_ST(bench_check(&r, &args, 1), ST_ARG);
    kernel_close(dev);
}

/* ------------------------------------------------------------- threads --- */

static void
products_do_not_depend_on_threads(void **state)
{
    enum { N_X = 7, N = 9, K = 1030 };
    const kernel_random law = {.key = 3, .spread = 1.0F};
    double x[N_X * K], out[N_X * N];
    float w[N * K];

    (void)state;
    for (size_t i = 0; i < N_X * K; i++)
        x[i] = (double)random_value(&law, i);
    for (size_t i = 0; i < N * K; i++)
        w[i] = random_value(&law, 100000 + i);
    for (uint32_t n_thread = 1; n_thread <= 9; n_thread++) {
        const bench_reference_product p = {out, x, w, N_X, N, K};

        EXPECT_OK(bench_reference_multiply(&p, n_thread));
        for (size_t i = 0; i < N_X * N; i++) {
            double sum = 0;
            for (size_t k = 0; k < K; k++)
                sum += x[i / N * K + k] * (double)w[i % N * K + k];
            assert_true(out[i] - sum < 1e-11 && sum - out[i] < 1e-11);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_are_right),
        cmocka_unit_test(weights_in_8_bits_are_those_of_the_device),
        cmocka_unit_test(faults_are_seen),
        cmocka_unit_test(two_segments_are_too_few),
        cmocka_unit_test(products_do_not_depend_on_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
