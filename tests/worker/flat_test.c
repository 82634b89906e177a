/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against the golden cases on a host without JSON: the CPU, and the
 * GPU where there is one, in fp32 judged and in bf16 reported.
 *
 * usage: test_worker_flat DIR, the folder that tests/golden/flatten.py made */
#include <stdio.h>
#include <string.h>

#include "tests/expect.h"
#include "tests/worker/flat.h"

enum { N_CASE = 16 };

static const char *dir;
static bool has_gpu;

/* tests/golden/README.md */
static const float tolerance = 1e-4f;

static void
check_case(const char *name, const rig_config *how, bool is_judged)
{
    static const wavefront_order orders[] = {WAVEFRONT_DIAGONAL,
                                             WAVEFRONT_SEQUENTIAL};
    flat f;

    EXPECT_OK(flat_open(&f, dir, name));
    f.g.tolerance = is_judged ? tolerance : 0;
    for (size_t i = 0; i < 2; i++) {
        rig_config cfg = *how;
        cfg.order = orders[i];
        golden_check(&f.g, &cfg);
        if (strcmp(name, "armt-llama-ragged") == 0) {
            golden_check_aligned(&f.g, "logits_right", CONFIG_ALIGN_RIGHT,
                                 &cfg);
            golden_check_aligned(&f.g, "logits_center", CONFIG_ALIGN_CENTER,
                                 &cfg);
        }
    }
    printf("  %-5s%-5s%-30s largest error %.1e%s\n", how->device, how->compute,
           name, (double)f.g.worst, is_judged ? "" : ", not judged");
    flat_close(&f);
}

static void
check_all(const rig_config *how, bool is_judged)
{
    char path[256], name[64];
    size_t n = 0;
    FILE *cases;

    (void)snprintf(path, sizeof path, "%s/cases", dir);
    cases = fopen(path, "r");
    assert_non_null(cases);
    while (fgets(name, sizeof name, cases) != NULL) {
        name[strcspn(name, "\n")] = '\0';
        check_case(name, how, is_judged);
        n++;
    }
    (void)fclose(cases);
    assert_int_equal(n, N_CASE);
}

static void
test_cpu(void **state)
{
    (void)state;
    check_all(&(rig_config){.device = "cpu", .compute = "f32", .n_thread = 2},
              true);
}

static void
test_gpu(void **state)
{
    (void)state;
    if (!has_gpu) {
        printf("  not run: %s\n", status_text());
        return;
    }
    check_all(&(rig_config){.device = "cuda", .compute = "bf16"}, false);
    check_all(&(rig_config){.device = "cuda", .compute = "f32"}, true);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_gpu),
    };
    kernel_device *dev = NULL;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s DIR\n", argv[0]);
        return 2;
    }
    dir = argv[1];
    has_gpu = kernel_open(&dev, &(kernel_config){.device = "cuda"}) == ST_OK;
    if (has_gpu)
        kernel_close(dev);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
