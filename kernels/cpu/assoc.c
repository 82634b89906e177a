/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing the associative memory (Rodkin et al. 2024,
 * arXiv:2407.04841; delta rule with normaliser: Schlag et al. 2021,
 * arXiv:2102.11174). */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/simd.h"

static const float EPS = 1e-5F;

/* Columns of a write that make one item. */
enum { WRITE_COLS = 128 };

SIMD_CLONES static float
dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0F;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* --------------------------------------------------------------- read --- */

/* First f /= z . f + 1e-5, row by row, then one product adds f A to x. */
static uint32_t
divide_count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cell->fresh || cell->bare ? 0 : cpu_row_blocks(cell->n_row);
}

SIMD_CLONES static void
divide(float *x, size_t n, float by)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] /= by;
}

static void
divide_run(const cpu_item *item)
{
    const kernel_assoc *mem = &item->op->u.read.mem;
    const kernel_view *f = &item->op->u.read.f;
    const float *z = cpu_at(&mem->z, item, KERNEL_ROWS_ALL);
    float *query = cpu_at(f, item, KERNEL_ROWS_ALL);
    cpu_range rows = cpu_row_block(item->cell->n_row, item->index);

    for (size_t i = rows.first; i < rows.first + rows.n; i++) {
        float *row = query + i * f->ld;

        divide(row, mem->d_key, dot(z, row, mem->d_key) + EPS);
    }
}

const cpu_step cpu_assoc_divide = {divide_count, divide_run};

static uint32_t
read_count(const device_op *op, const kernel_cell *cell)
{
    const kernel_assoc *mem = &op->u.read.mem;
    cpu_tiles tiles = cpu_tiles_of(cell->n_row, mem->d_model, mem->d_key);

    return cell->fresh || cell->bare ? 0 : tiles.n_row * tiles.n_col;
}

static void
read_run(const cpu_item *item)
{
    const kernel_assoc *mem = &item->op->u.read.mem;
    const kernel_view *x = &item->op->u.read.x;
    const kernel_view *f = &item->op->u.read.f;
    cpu_tiles tiles = cpu_tiles_of(item->cell->n_row, mem->d_model, mem->d_key);
    cpu_range rows =
        cpu_part(item->cell->n_row, tiles.n_row, item->index / tiles.n_col, 1);
    cpu_range cols = cpu_part(mem->d_model, tiles.n_col,
                              item->index % tiles.n_col, CPU_TILE_UNIT);
    const product p = {
        .m = rows.n,
        .n = cols.n,
        .k = mem->d_key,
        .a = cpu_at(f, item, KERNEL_ROWS_ALL) + rows.first * f->ld,
        .lda = f->ld,
        .b = cpu_at(&mem->A, item, KERNEL_ROWS_ALL) + cols.first,
        .ldb = mem->A.ld,
        .c = cpu_at(x, item, KERNEL_ROWS_ALL) + rows.first * x->ld + cols.first,
        .ldc = x->ld,
        .alpha = 1.0F,
        .accumulate = true};

    product_run(&p, item->panels);
}

const cpu_step cpu_assoc_read = {read_count, read_run};

/* -------------------------------------------------------------- write --- */

/* Items are blocks of columns of A; each takes its columns of v from value to
 * weighted correction, sigmoid(b_m) (v_m - p_m), and adds the outer products.
 */
static uint32_t
write_count(const device_op *op, const kernel_cell *cell)
{
    return cell->n_mem == 0 || cell->bare
               ? 0
               : cpu_ceil_div(op->u.write.mem.d_model, WRITE_COLS);
}

/* v_m := factor * v_m on the item's columns. */
SIMD_CLONES static void
scale(float *v, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        v[i] *= factor;
}

static void
write_run(const cpu_item *item)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    const kernel_view *k_view = &item->op->u.write.k;
    const kernel_view *v_view = &item->op->u.write.v;
    const kernel_view *b_view = &item->op->u.write.b;
    uint32_t n_item = write_count(item->op, item->cell);
    size_t n_mem = item->cell->n_mem;
    bool fresh = item->cell->fresh != 0;
    cpu_range cols = cpu_part(mem->d_model, n_item, item->index, CPU_TILE_UNIT);
    const float *z = cpu_at(&mem->z, item, KERNEL_ROWS_MEM);
    const float *k = cpu_at(k_view, item, KERNEL_ROWS_MEM);
    const float *b = cpu_at(b_view, item, KERNEL_ROWS_MEM);
    float *v = cpu_at(v_view, item, KERNEL_ROWS_MEM) + cols.first;
    float *A = cpu_at(&mem->A, item, KERNEL_ROWS_MEM) + cols.first;
    /* v - (k A) / den is formed as (den v - k A) / den, which needs no room
     * for the product. */
    const product recall = {.m = n_mem,
                            .n = cols.n,
                            .k = mem->d_key,
                            .a = k,
                            .lda = k_view->ld,
                            .b = A,
                            .ldb = mem->A.ld,
                            .c = v,
                            .ldc = v_view->ld,
                            .alpha = -1.0F,
                            .accumulate = true};
    const product store = {.m = mem->d_key,
                           .n = cols.n,
                           .k = n_mem,
                           .a = k,
                           .lda = k_view->ld,
                           .a_t = true,
                           .b = v,
                           .ldb = v_view->ld,
                           .c = A,
                           .ldc = mem->A.ld,
                           .alpha = 1.0F,
                           .accumulate = true};

    for (size_t m = 0; m < n_mem && !fresh; m++) {
        float den = dot(z, k + m * k_view->ld, mem->d_key) + EPS;

        scale(v + m * v_view->ld, cols.n, den);
    }
    if (!fresh)
        product_run(&recall, item->panels);
    for (size_t m = 0; m < n_mem; m++) {
        float gate = 1.0F / (1.0F + expf(-b[m * b_view->ld]));
        float den = fresh ? 1.0F : dot(z, k + m * k_view->ld, mem->d_key) + EPS;

        scale(v + m * v_view->ld, cols.n, gate / den);
    }
    product_run(&store, item->panels);
}

const cpu_step cpu_assoc_write = {write_count, write_run};

static uint32_t
write_z_count(const device_op *op, const kernel_cell *cell)
{
    (void)op;
    return cell->n_mem == 0 || cell->bare ? 0 : 1;
}

/* z += factor * k */
SIMD_CLONES static void
add_scaled(float *z, const float *k, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        z[i] += factor * k[i];
}

/* g_m = clip(1 - den_m / N(k_m), 0, 1); a key of zeros has nothing to add. */
static float
novelty(const kernel_assoc *mem, const float *z, const float *k)
{
    float den = dot(z, k, mem->d_key) + EPS;
    float norm = dot(k, k, mem->d_key) + (mem->l2_norm ? 0.0F : EPS);
    float g;

    if (norm == 0.0F)
        return 0.0F;
    g = 1.0F - den / norm;
    g = g < 0.0F ? 0.0F : g;
    return g > 1.0F ? 1.0F : g;
}

static void
write_z_run(const cpu_item *item)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    const kernel_view *k_view = &item->op->u.write.k;
    const float *k = cpu_at(k_view, item, KERNEL_ROWS_MEM);
    float *z = cpu_at(&mem->z, item, KERNEL_ROWS_MEM);
    float *g = item->work;
    bool always = item->cell->fresh != 0 || !mem->correction;
    size_t n_mem = item->cell->n_mem;

    ASSERT(n_mem * sizeof(*g) <= CPU_WORK_BYTES);
    for (size_t m = 0; m < n_mem; m++)
        g[m] = always ? 1.0F : novelty(mem, z, k + m * k_view->ld);
    for (size_t m = 0; m < n_mem; m++)
        add_scaled(z, k + m * k_view->ld, mem->d_key, g[m]);
}

const cpu_step cpu_assoc_write_z = {write_z_count, write_z_run};
