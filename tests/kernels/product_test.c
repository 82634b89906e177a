/* SPDX-License-Identifier: Apache-2.0 */
/* Products in every way that this CPU has, against sums in double. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/product.h"
#include "tests/kernels/rig.h"

enum { GAP = 3 }; /* elements between the rows of each matrix */

typedef struct matrices {
    float *a, *b, *c, *old;
    float *scale; /* of the rows of b */
    void *narrow; /* b in another type */
    size_t n_c;
    cpu_memory panels;
    product p;
} matrices;

static float *
random_matrix(size_t rows, size_t ld, uint64_t seed)
{
    float *data = NULL;

    EXPECT_OK(mem_new(&data, rows * ld, sizeof(*data)));
    for (size_t i = 0; i < rows * ld; i++)
        data[i] = rig_random(&seed);
    return data;
}

static void
matrices_init(matrices *x, const product *shape)
{
    product *p = &x->p;

    *p = *shape;
    p->lda = (p->a_t ? p->m : p->k) + GAP;
    p->ldb = (p->b_t ? p->k : p->n) + GAP;
    p->ldc = p->n + GAP;
    p->a = x->a = random_matrix(p->a_t ? p->k : p->m, p->lda, 1);
    p->b = x->b = random_matrix(p->b_t ? p->n : p->k, p->ldb, 2);
    x->scale = random_matrix(1, p->n, 4);
    x->narrow = NULL;
    p->c = x->c = random_matrix(p->m, p->ldc, 3);
    x->old = random_matrix(p->m, p->ldc, 3);
    x->n_c = p->m * p->ldc;
    EXPECT_OK(cpu_memory_init(&x->panels, PRODUCT_ROOM, sizeof(float)));
}

static void
matrices_fini(matrices *x)
{
    mem_free(x->a);
    mem_free(x->b);
    mem_free(x->c);
    mem_free(x->old);
    mem_free(x->scale);
    mem_free(x->narrow);
    cpu_memory_fini(&x->panels);
}

static double
element(const matrices *x, size_t i, size_t j)
{
    const product *p = &x->p;
    double sum = 0.0;

    for (size_t t = 0; t < p->k; t++) {
        double a =
            (double)(p->a_t ? p->a[t * p->lda + i] : p->a[i * p->lda + t]);
        double b =
            (double)(p->b_t ? x->b[j * p->ldb + t] : x->b[t * p->ldb + j]);

        sum += a * b;
    }
    return sum * (double)p->alpha +
           (p->accumulate ? (double)x->old[i * p->ldc + j] : 0.0);
}

static void
check(const matrices *x)
{
    const product *p = &x->p;
    double tolerance = 3e-7 * (double)p->k + 1e-6;

    for (size_t at = 0; at < x->n_c; at++) {
        size_t i = at / p->ldc, j = at % p->ldc;

        if (j >= p->n) {
            assert_memory_equal(&x->c[at], &x->old[at], sizeof(float));
            continue;
        }
        if (p->part == PRODUCT_LOWER_C && j > p->diag + i)
            continue;
        if (!(fabs((double)x->c[at] - element(x, i, j)) <= tolerance))
            fail_msg("%s, %zu x %zu x %zu: element %zu, %zu is %.9g and not "
                     "%.9g",
                     "product", p->m, p->n, p->k, i, j, (double)x->c[at],
                     element(x, i, j));
    }
}

static void
every_way(const product *shape)
{
    for (int way = 0; way < PRODUCT_N_WAY; way++) {
        matrices x;

        if (!product_has((product_way)way))
            continue;
        matrices_init(&x, shape);
        if (shape->part == PRODUCT_LOWER_A)
            for (size_t i = 0; i < shape->m; i++)
                for (size_t t = shape->diag + i + 1; t < shape->k; t++)
                    x.a[i * x.p.lda + t] = 0.0F;
        product_run_by((product_way)way, &x.p, (void *)x.panels.data);
        check(&x);
        matrices_fini(&x);
    }
}

/* Sizes around those of tiles, panels, slabs and passes. */
static void
products_are_right(void **state)
{
    static const size_t sizes[][3] = {
        {1, 1, 1},     {3, 5, 7},      {8, 33, 40},   {9, 9, 16},
        {14, 32, 16},  {15, 31, 17},   {16, 64, 100}, {29, 33, 385},
        {33, 48, 770}, {100, 250, 23}, {57, 500, 390}};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int kind = 0; kind < 8; kind++)
            every_way(&(product){.m = sizes[i][0],
                                 .n = sizes[i][1],
                                 .k = sizes[i][2],
                                 .a_t = (kind & 1) != 0,
                                 .b_t = (kind & 2) != 0,
                                 .accumulate = (kind & 4) != 0,
                                 .alpha = (kind & 4) != 0 ? -0.5F : 1.0F});
}

static void
parts_are_right(void **state)
{
    static const size_t diags[] = {0, 1, 31, 100, 400};

    (void)state;
    for (size_t i = 0; i < sizeof(diags) / sizeof(diags[0]); i++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            const product scores = {.m = 70,
                                    .n = 150,
                                    .k = 24,
                                    .b_t = true,
                                    .alpha = 2.0F,
                                    .accumulate = accumulate != 0,
                                    .part = PRODUCT_LOWER_C,
                                    .diag = diags[i]};
            const product values = {.m = 70,
                                    .n = 40,
                                    .k = 500,
                                    .alpha = 1.0F,
                                    .accumulate = accumulate != 0,
                                    .part = PRODUCT_LOWER_A,
                                    .diag = diags[i]};

            every_way(&scores);
            every_way(&values);
        }
}

/* b, a transposed one, in another type, and what it stands for in x->b: the top
 * bits of F32 for BF16; for F16 those below 2 with all bits but 13. */
static void
narrow(matrices *x, kernel_type type)
{
    size_t n = x->p.n * x->p.ldb;

    EXPECT_OK(mem_new(&x->narrow, n, kernel_type_size(type)));
    for (size_t j = 0; j < x->p.n; j++)
        x->scale[j] /= 127.0F;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        if (type == KERNEL_I8) {
            int8_t q = (int8_t)(x->b[i] * 127.0F);

            ((int8_t *)x->narrow)[i] = q;
            x->b[i] = (float)q * x->scale[i / x->p.ldb];
            continue;
        }
        if (fabsf(x->b[i]) < 0x1p-14F)
            x->b[i] = 0.5F;
        memcpy(&bits, &x->b[i], sizeof(bits));
        bits &= type == KERNEL_BF16 ? 0xffff0000U : 0xffffe000U;
        memcpy(&x->b[i], &bits, sizeof(bits));
        ((uint16_t *)x->narrow)[i] =
            (uint16_t)(type == KERNEL_BF16
                           ? bits >> 16
                           : (bits >> 16 & 0x8000U) |
                                 ((bits & 0x7fffffffU) - (112U << 23)) >> 13);
    }
}

/* A product of narrow weights has the bits of that of their F32 copy. */
static void
narrow_case(product_way way, const size_t mnk[3], kernel_type type)
{
    const product shape = {.m = mnk[0],
                           .n = mnk[1],
                           .k = mnk[2],
                           .b_t = true,
                           .accumulate = mnk[0] % 2 == 0,
                           .alpha = 1.0F};
    float *plain = NULL;
    matrices x;

    matrices_init(&x, &shape);
    narrow(&x, type);
    EXPECT_OK(mem_new(&plain, x.n_c, sizeof(*plain)));
    product_run_by(way == PRODUCT_BLAS ? PRODUCT_PLAIN : way, &x.p,
                   (void *)x.panels.data);
    memcpy(plain, x.c, x.n_c * sizeof(*plain));
    memcpy(x.c, x.old, x.n_c * sizeof(*plain));
    x.p.b = x.narrow;
    x.p.b_type = type;
    x.p.b_scale = type == KERNEL_I8 ? x.scale : NULL;
    product_run_by(way, &x.p, (void *)x.panels.data);
    check(&x);
    assert_memory_equal(plain, x.c, x.n_c * sizeof(*plain));
    mem_free(plain);
    matrices_fini(&x);
}

static void
narrow_types_have_the_bits_of_f32(void **state)
{
    static const kernel_type types[] = {KERNEL_BF16, KERNEL_F16, KERNEL_I8};
    static const size_t sizes[][3] = {
        {1, 1, 1},    {1, 50, 77},  {3, 7, 16},    {8, 33, 40},  {9, 9, 16},
        {40, 3, 100}, {15, 31, 17}, {29, 33, 385}, {57, 50, 390}};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t t = 0; t < 3; t++)
            for (int way = 0; way < PRODUCT_N_WAY; way++)
                if (product_has((product_way)way))
                    narrow_case((product_way)way, sizes[i], types[t]);
}

/* The best way is one of this CPU's, and nothing before it is. */
static void
best_way_is_there(void **state)
{
    product_way best = product_best();

    (void)state;
    assert_true(product_has(best));
    for (int way = 0; way < (int)best; way++)
        assert_false(product_has((product_way)way));
    assert_true(strlen(product_name(best)) > 0);
}

/* NaN goes through, also where the sums start anew. */
static void
nan_is_kept(void **state)
{
    const product shape = {
        .m = 20, .n = 40, .k = 30, .b_t = true, .alpha = 1.0F};
    matrices x;

    (void)state;
    matrices_init(&x, &shape);
    x.a[3 * x.p.lda + 5] = NAN;
    product_run(&x.p, (void *)x.panels.data);
    for (size_t i = 0; i < shape.m; i++)
        for (size_t j = 0; j < shape.n; j++)
            assert_int_equal(isnan(x.c[i * x.p.ldc + j]) != 0, i == 3);
    matrices_fini(&x);
}

static void
count_call(void *ctx)
{
    ++*(uint32_t *)ctx;
}

/* However deep or wide, no more than PRODUCT_ROOM elements of b lie between two
 * calls, and they change nothing. */
static void
hook_is_called(void **state)
{
    const product shape = {
        .m = 33, .n = 128, .k = 4096, .b_t = true, .alpha = 1.0F};
    matrices x, y;
    uint32_t n_call = 0;

    (void)state;
    matrices_init(&x, &shape);
    matrices_init(&y, &shape);
    product_run(&y.p, (void *)y.panels.data);
    x.p.hook = count_call;
    x.p.hook_ctx = &n_call;
    product_run(&x.p, (void *)x.panels.data);
    assert_memory_equal(x.c, y.c, x.n_c * sizeof(*x.c));
    if (product_best() != PRODUCT_BLAS)
        assert_true(n_call >= shape.n * shape.k / PRODUCT_ROOM);
    matrices_fini(&y);
    matrices_fini(&x);
}

/* A way that the CPU lacks is not tested, and that is to be seen. */
static void
tell_ways(void)
{
    for (int way = 0; way < PRODUCT_N_WAY; way++)
        print_message("%s: %s\n", product_name((product_way)way),
                      product_has((product_way)way) ? "tested"
                                                    : "not on this CPU");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(parts_are_right),
        cmocka_unit_test(narrow_types_have_the_bits_of_f32),
        cmocka_unit_test(best_way_is_there),
        cmocka_unit_test(nan_is_kept),
        cmocka_unit_test(hook_is_called),
    };

    tell_ways();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
