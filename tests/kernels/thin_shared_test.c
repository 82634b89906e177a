/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a norm fits on beside the product behind it, and which have
 * blocks enough for a program: arithmetic, no GPU needed. */
#include "kernels/cuda/thin_shared.h"
#include "tests/expect.h"

/* What a block may have, by compute capability. */
enum {
    OF_80 = 163 * 1024,
    OF_86 = 99 * 1024, /* and 8.9, 12.0 */
    OF_90 = 227 * 1024
};

static size_t
bytes(uint32_t n_row, size_t k)
{
    return cuda_thin_shared(cuda_thin_warps(k), CUDA_THIN_TILES, n_row, k);
}

/* By hand, at the widths of 1b, 3b and 8b. */
static void
bytes_of_a_block(void **state)
{
    (void)state;
    /* sums 16 x 2 x 16 x 8, squares 16 x 16, of 4 bytes; rows 11 x 4104 x 2 */
    assert_int_equal(bytes(11, 4096), 16384 + 1024 + 90288);
    assert_int_equal(bytes(0, 4096), 16384 + 1024);
    /* half as many warps */
    assert_int_equal(bytes(16, 2048), 8192 + 512 + 65792);
    assert_int_equal(cuda_thin_shared(8, 1, 3, 64), 4096 + 512 + 432);
}

static void
norms_fall_back_where_rows_do_not_fit(void **state)
{
    (void)state;
    assert_true(cuda_thin_norm_fits(2048, OF_86));
    assert_true(cuda_thin_norm_fits(2048, OF_80));
    assert_true(cuda_thin_norm_fits(2048, OF_90));
    assert_false(cuda_thin_norm_fits(3072, OF_86));
    assert_true(cuda_thin_norm_fits(3072, OF_80));
    assert_false(cuda_thin_norm_fits(4096, OF_86));
    assert_true(cuda_thin_norm_fits(4096, OF_80));
    assert_true(cuda_thin_norm_fits(4096, OF_90));
    /* a device that says nothing */
    assert_false(cuda_thin_norm_fits(64, 0));
}

/* What is said to fit does, for every number of rows and tiles, to the byte:
 * so the answer depends on the width alone. */
static void
what_fits_fits_for_any_group(void **state)
{
    (void)state;
    for (size_t k = 64; k <= 8192; k += 64) {
        size_t most = 0;

        for (uint32_t n = 0; n <= CUDA_THIN_JOBS; n++)
            for (uint32_t tiles = 1; tiles <= CUDA_THIN_TILES; tiles++) {
                size_t b = cuda_thin_shared(cuda_thin_warps(k), tiles, n, k);

                most = b > most ? b : most;
            }
        assert_true(cuda_thin_norm_fits(k, most));
        assert_false(cuda_thin_norm_fits(k, most - 1));
    }
}

/* By hand, at the width and the heads of 1b: 64 blocks read, 32 attend. */
static void
programs_need_a_block_a_part(void **state)
{
    (void)state;
    assert_true(cuda_program_read_fits(2048, 132));
    assert_true(cuda_program_read_fits(2048, 64));
    assert_false(cuda_program_read_fits(2048, 63));
    assert_false(cuda_program_read_fits(2048, 16)); /* a seventh of a GPU */
    assert_true(cuda_program_attend_fits(32, 32));
    assert_false(cuda_program_attend_fits(32, 31));
    /* a device that says nothing */
    assert_false(cuda_program_read_fits(32, 0));
    assert_false(cuda_program_attend_fits(1, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_block),
        cmocka_unit_test(norms_fall_back_where_rows_do_not_fit),
        cmocka_unit_test(what_fits_fits_for_any_group),
        cmocka_unit_test(programs_need_a_block_a_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
