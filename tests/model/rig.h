/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of weights work on: a device with its queue, a scratch directory
 * for one checkpoint, and numbers fetched from the device.
 *
 * A group runs on "cpu", where files are read straight into weights, and on
 * "cpu-async", where everything is staged as for a GPU. */
#ifndef TESTS_MODEL_RIG_H
#define TESTS_MODEL_RIG_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/weights.h"
#include "tests/expect.h"

static struct {
    const char *device;
    kernel_device *dev;
    kernel_queue *queue;
    char dir[40];
} rig;

static inline int
rig_open(void **state)
{
    (void)state;
    (void)memcpy(rig.dir, "/tmp/longwave-rig-XXXXXX", 25);
    assert_non_null(mkdtemp(rig.dir));
    EXPECT_OK(kernel_open(&rig.dev, &(kernel_config){.device = rig.device}));
    EXPECT_OK(kernel_queue_new(&rig.queue, rig.dev));
    return 0;
}

static inline int
rig_close(void **state)
{
    (void)state;
    char *path = NULL;
    EXPECT_OK(file_join(&path, rig.dir, "model.safetensors"));
    EXPECT_OK(file_remove(path));
    mem_free(path);
    assert_int_equal(rmdir(rig.dir), 0);
    kernel_queue_free(rig.queue);
    kernel_close(rig.dev);
    return 0;
}

/* `bytes` of a buffer from byte `first` on. */
static inline void
rig_fetch(void *out, kernel_buf *buf, size_t first, size_t bytes)
{
    EXPECT_OK(kernel_copy_out(rig.queue, out, buf, first, bytes));
    EXPECT_OK(kernel_sync(rig.queue));
}

/* Runs the array `tests` on both devices; tests that failed. */
#define RIG_RUN(tests)                                                         \
    ((rig.device = "cpu",                                                      \
      cmocka_run_group_tests_name("cpu", tests, rig_open, rig_close)) +        \
     (rig.device = "cpu-async",                                                \
      cmocka_run_group_tests_name("cpu-async", tests, rig_open, rig_close)))

#endif
