/* SPDX-License-Identifier: Apache-2.0 */
/* Opening devices, buffers, and the measured rate. */
#include <string.h>

#include "kernels/device.h"
#include "tests/kernels/rig.h"

static void
unknown_devices_are_refused(void **state)
{
    kernel_device *dev = NULL;

    (void)state;
    EXPECT_ST(kernel_open(&dev, &(kernel_config){.device = "gpu"}), ST_ARG);
    EXPECT_ST(kernel_open(&dev, &(kernel_config){.device = ""}), ST_ARG);
    EXPECT_ST(
        kernel_open(&dev, &(kernel_config){.device = "cpu", .compute = "bf16"}),
        ST_ARG);
    assert_null(dev);
}

/* "cuda" is a GPU or a sentence, and "auto" takes what is there. */
static void
auto_is_a_gpu_where_there_is_one(void **state)
{
    kernel_device *gpu = NULL, *dev = NULL;
    kernel_info info;
    status st = kernel_open(&gpu, &(kernel_config){.device = "cuda"});

    (void)state;
    if (st != ST_OK) {
        assert_int_equal(st, ST_DEVICE);
        assert_true(strlen(status_text()) > 10);
        assert_null(gpu);
    }
    EXPECT_OK(kernel_open(&dev, &(kernel_config){.device = "auto"}));
    kernel_info_get(dev, &info);
    assert_string_equal(info.device, gpu != NULL ? "cuda" : "cpu");
    kernel_close(dev);
    kernel_close(gpu);
}

static void
info_tells_threads_and_cores(void **state)
{
    const kernel_config many = {.device = "cpu", .n_thread = 1000};
    const kernel_config all = {.device = "cpu-async"};
    kernel_device *dev = NULL;
    kernel_info info;

    (void)state;
    EXPECT_OK(kernel_open(&dev, &many));
    kernel_info_get(dev, &info);
    assert_string_equal(info.device, "cpu");
    assert_int_equal(info.n_thread, 1000);
    assert_true(info.n_core >= 1 && info.n_core < 1000);
    assert_int_equal(info.compute, KERNEL_F32);
    assert_true(info.memory_free > 0);
    assert_non_null(strstr(info.name, "1000 threads"));
    kernel_close(dev);
    EXPECT_OK(kernel_open(&dev, &all));
    kernel_info_get(dev, &info);
    assert_string_equal(info.device, "cpu-async");
    assert_int_equal(info.n_thread, info.n_core);
    kernel_close(dev);
    EXPECT_ST(kernel_open(
                  &dev, &(kernel_config){.device = "cpu", .n_thread = 100000}),
              ST_ARG);
}

static void
buffers_beyond_memory_are_refused(void **state)
{
    kernel_buf *buf = NULL;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[0]);
    EXPECT_ST(kernel_buf_new(&buf, r.dev, KERNEL_KEEP, SIZE_MAX / 4, 8),
              ST_LIMIT);
    EXPECT_ST(kernel_buf_new(&buf, r.dev, KERNEL_KEEP, SIZE_MAX / 4, 1),
              ST_NOMEM);
    EXPECT_ST(kernel_buf_new(&buf, r.dev, KERNEL_SCRATCH, SIZE_MAX / 4, 8),
              ST_NOMEM);
    assert_null(buf);
    rig_close(&r);
}

static void
buffers_are_aligned_and_zero(void **state)
{
    kernel_buf *buf = NULL;
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[0]);
    for (size_t bytes = 1; bytes < (16U << 20); bytes = bytes * 3 + 1) {
        const char *data;

        EXPECT_OK(kernel_buf_new(&buf, r.dev, KERNEL_KEEP, bytes, 1));
        data = kernel_buf_host(buf, 0);
        assert_int_equal((uintptr_t)data % 64, 0);
        for (size_t i = 0; i < bytes; i += bytes < 4096 ? 1 : 1021)
            assert_int_equal(data[i], 0);
        assert_int_equal(data[bytes - 1], 0);
        assert_ptr_equal(kernel_buf_host(buf, bytes / 2), data + bytes / 2);
        kernel_buf_free(buf);
    }
    rig_close(&r);
}

static void
types_have_sizes(void **state)
{
    (void)state;
    assert_int_equal(kernel_type_size(KERNEL_F32), 4);
    assert_int_equal(kernel_type_size(KERNEL_I32), 4);
    assert_int_equal(kernel_type_size(KERNEL_BF16), 2);
    assert_int_equal(kernel_type_size(KERNEL_F16), 2);
}

static void
rate_is_measured(void **state)
{
    kernel_rate rate = {0};
    rig r;

    (void)state;
    rig_open(&r, &rig_ways[1]);
    EXPECT_OK(kernel_measure_linear(r.dev, 33, 65, 17, 3, &rate));
    assert_true(rate.flops > 1e6 && rate.flops < 1e15);
    assert_true(rate.flops >= rate.library && rate.library >= 0.0);
    /* It is the library's where it is named. */
    if (strncmp(rate.by, "own ", 4) != 0)
        assert_true(rate.by[0] != '\0' && rate.flops <= rate.library);
    rig_close(&r);
}

/* Nothing to free is no error. */
static void
null_is_fine(void **state)
{
    (void)state;
    kernel_close(NULL);
    kernel_buf_free(NULL);
    kernel_queue_free(NULL);
    kernel_event_free(NULL);
}

/* Each its own; or neighbours together, and nowhere two more than elsewhere. */
static void
ranks_share_devices_evenly(void **state)
{
    (void)state;
    for (uint32_t n_local = 1; n_local <= 9; n_local++)
        for (uint32_t n = 1; n <= 9; n++) {
            uint32_t count[9] = {0}, last = 0;

            for (uint32_t rank = 0; rank < n_local; rank++) {
                uint32_t at = device_of_rank(rank, n_local, n);

                assert_true(at < n && at >= last && at <= last + 1);
                last = at;
                count[at]++;
            }
            for (uint32_t i = 0; i < n; i++) {
                assert_true(count[i] >= n_local / n);
                assert_true(count[i] <= (n_local + n - 1) / n);
            }
        }
    /* A launcher that does not say how many ranks there are. */
    assert_int_equal(device_of_rank(5, 0, 4), 1);
    assert_int_equal(device_of_rank(0, 0, 1), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_devices_are_refused),
        cmocka_unit_test(auto_is_a_gpu_where_there_is_one),
        cmocka_unit_test(info_tells_threads_and_cores),
        cmocka_unit_test(buffers_beyond_memory_are_refused),
        cmocka_unit_test(buffers_are_aligned_and_zero),
        cmocka_unit_test(types_have_sizes),
        cmocka_unit_test(rate_is_measured),
        cmocka_unit_test(ranks_share_devices_evenly),
        cmocka_unit_test(null_is_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
