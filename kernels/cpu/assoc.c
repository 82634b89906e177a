/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing the associative memory (Rodkin et al. 2024,
 * arXiv:2407.04841; delta rule with normaliser: Schlag et al. 2021,
 * arXiv:2102.11174). */
#include <math.h>

#include "base/bf16.h"
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

/* Widths of one head. */
static size_t
head_key(const kernel_assoc *mem)
{
    return mem->d_key / mem->n_head;
}

static size_t
head_model(const kernel_assoc *mem)
{
    return mem->d_model / mem->n_head;
}

/* A and z of one head; z is NULL without denominators. */
static float *
head_A(const kernel_assoc *mem, const cpu_item *item, size_t head)
{
    return cpu_at(&mem->A, item, KERNEL_ROWS_ALL) +
           head * head_key(mem) * mem->A.ld;
}

/* The same of an A in bf16. */
static uint16_t *
head_narrow(const kernel_assoc *mem, const cpu_item *item, size_t head)
{
    return cpu_narrow_at(&mem->A, item) + head * head_key(mem) * mem->A.ld;
}

static float *
head_z(const kernel_assoc *mem, const cpu_item *item, size_t head)
{
    if (mem->z.buf == NULL)
        return NULL;
    return cpu_at(&mem->z, item, KERNEL_ROWS_ALL) + head * head_key(mem);
}

static float
denominator(const float *z, const float *f, size_t n)
{
    return z != NULL ? dot(z, f, n) + EPS : 1.0F;
}

/* ------------------------------------------------------- A in bf16 --- */

/* Columns of A that fit into an item's working memory in fp32: those of an A in
 * bf16 are widened there.  A function of the shape alone. */
static size_t
wide_cols(const kernel_assoc *mem)
{
    size_t n = CPU_WORK_BYTES / sizeof(float) / head_key(mem);

    ASSERT(n > 0);
    return n < CPU_TILE_UNIT ? n : n / CPU_TILE_UNIT * CPU_TILE_UNIT;
}

SIMD_CLONES static void
widen_rows(float *to, const uint16_t *from, size_t ld, size_t n_row, size_t n)
{
    for (size_t i = 0; i < n_row; i++) {
#pragma omp simd
        for (size_t j = 0; j < n; j++)
            to[i * n + j] = bf16_to_float(from[i * ld + j]);
    }
}

SIMD_CLONES static void
narrow_rows(uint16_t *to, size_t ld, const float *from, size_t n_row, size_t n)
{
    for (size_t i = 0; i < n_row; i++)
        for (size_t j = 0; j < n; j++)
            to[i * ld + j] = bf16_from_float(from[i * n + j]);
}

/* --------------------------------------------------------------- read --- */

/* First f /= z . f + 1e-5, row by row, then one product a head adds f A to x.
 */
static uint32_t
divide_count(const device_op *op, const kernel_cell *cell)
{
    bool idle = cell->fresh || cell->bare || op->u.read.mem.z.buf == NULL;

    return idle ? 0 : cpu_row_blocks(cell->n_row);
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
    size_t d_key = head_key(mem);
    cpu_range rows = cpu_row_block(item->cell->n_row, item->index);

    for (size_t h = 0; h < mem->n_head; h++) {
        const float *z = head_z(mem, item, h);
        float *query = cpu_at(f, item, KERNEL_ROWS_ALL) + h * d_key;

        for (size_t i = rows.first; i < rows.first + rows.n; i++) {
            float *row = query + i * f->ld;

            divide(row, d_key, denominator(z, row, d_key));
        }
    }
}

const cpu_step cpu_assoc_divide = {divide_count, divide_run};

static cpu_tiles
read_tiles(const kernel_assoc *mem, const kernel_cell *cell)
{
    return cpu_tiles_of(cell->n_row, head_model(mem), head_key(mem));
}

static uint32_t
read_count(const device_op *op, const kernel_cell *cell)
{
    const kernel_assoc *mem = &op->u.read.mem;
    cpu_tiles tiles = read_tiles(mem, cell);

    if (cell->fresh || cell->bare)
        return 0;
    return (uint32_t)mem->n_head * tiles.n_row * tiles.n_col;
}

/* x += f A, a few columns of A after another. */
static void
read_narrow(const cpu_item *item, const product *all, const uint16_t *A)
{
    const kernel_assoc *mem = &item->op->u.read.mem;
    size_t most = wide_cols(mem);

    for (size_t at = 0; at < all->n; at += most) {
        product p = *all;

        p.n = all->n - at < most ? all->n - at : most;
        widen_rows(item->work, A + at, mem->A.ld, p.k, p.n);
        p.b = item->work;
        p.ldb = p.n;
        p.c = all->c + at;
        product_run(&p, item->panels);
    }
}

static void
read_run(const cpu_item *item)
{
    const kernel_assoc *mem = &item->op->u.read.mem;
    const kernel_view *x = &item->op->u.read.x;
    const kernel_view *f = &item->op->u.read.f;
    cpu_tiles tiles = read_tiles(mem, item->cell);
    uint32_t n_tile = tiles.n_row * tiles.n_col;
    uint32_t head = item->index / n_tile, index = item->index % n_tile;
    cpu_range rows =
        cpu_part(item->cell->n_row, tiles.n_row, index / tiles.n_col, 1);
    cpu_range cols = cpu_part(head_model(mem), tiles.n_col, index % tiles.n_col,
                              CPU_TILE_UNIT);
    product p = {.m = rows.n,
                 .n = cols.n,
                 .k = head_key(mem),
                 .a = cpu_at(f, item, KERNEL_ROWS_ALL) + rows.first * f->ld +
                      head * head_key(mem),
                 .lda = f->ld,
                 .c = cpu_at(x, item, KERNEL_ROWS_ALL) + rows.first * x->ld +
                      head * head_model(mem) + cols.first,
                 .ldc = x->ld,
                 .alpha = 1.0F,
                 .accumulate = true,
                 .hook = item->hook,
                 .hook_ctx = item->hook_ctx};

    if (mem->A.type == KERNEL_BF16) {
        read_narrow(item, &p, head_narrow(mem, item, head) + cols.first);
        return;
    }
    p.b = head_A(mem, item, head) + cols.first;
    p.ldb = mem->A.ld;
    product_run(&p, item->panels);
}

const cpu_step cpu_assoc_read = {read_count, read_run};

/* -------------------------------------------------------------- write --- */

/* Items are blocks of columns of A; each takes its columns of v from value to
 * weighted correction, sigmoid(b_m) (v_m - p_m), and adds the outer products.
 */
static uint32_t
write_blocks(const kernel_assoc *mem)
{
    return cpu_ceil_div(head_model(mem), WRITE_COLS);
}

static uint32_t
write_count(const device_op *op, const kernel_cell *cell)
{
    const kernel_assoc *mem = &op->u.write.mem;

    if (cell->n_mem == 0 || cell->bare)
        return 0;
    return (uint32_t)mem->n_head * write_blocks(mem);
}

/* A head, columns of it, and their first elements. */
typedef struct block {
    size_t head;
    cpu_range cols;
    const float *k, *b, *z;
    float *v;
    float *A; /* rows of ld_A; NULL until widened */
    size_t ld_A;
} block;

static block
block_of(const cpu_item *item, size_t head, cpu_range cols)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    block t = {.head = head, .cols = cols};
    size_t col = t.head * head_model(mem) + t.cols.first;

    t.k = cpu_at(&item->op->u.write.k, item, KERNEL_ROWS_MEM) +
          t.head * head_key(mem);
    t.b = cpu_at(&item->op->u.write.b, item, KERNEL_ROWS_MEM) +
          (mem->gating ? col : t.head);
    t.v = cpu_at(&item->op->u.write.v, item, KERNEL_ROWS_MEM) + col;
    if (mem->A.type == KERNEL_F32) {
        t.A = head_A(mem, item, t.head) + t.cols.first;
        t.ld_A = mem->A.ld;
    }
    t.z = head_z(mem, item, t.head);
    return t;
}

/* v *= factor */
SIMD_CLONES static void
scale(float *v, size_t n, float factor)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        v[i] *= factor;
}

static float
sigmoid(float b)
{
    return 1.0F / (1.0F + expf(-b));
}

/* v *= sigmoid(b) / den, with a gate for each column. */
static void
gate_columns(float *v, const float *b, size_t n, float den)
{
    for (size_t i = 0; i < n; i++)
        v[i] *= sigmoid(b[i]) / den;
}

/* v - (k A) / den is formed as (den v - k A) / den, which needs no room for
 * the product. */
static void
recall(const cpu_item *item, const block *t)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    const kernel_view *k = &item->op->u.write.k;
    const kernel_view *v = &item->op->u.write.v;
    const product p = {.m = item->cell->n_mem,
                       .n = t->cols.n,
                       .k = head_key(mem),
                       .a = t->k,
                       .lda = k->ld,
                       .b = t->A,
                       .ldb = t->ld_A,
                       .c = t->v,
                       .ldc = v->ld,
                       .alpha = -1.0F,
                       .accumulate = true};

    for (size_t m = 0; m < p.m && t->z != NULL; m++)
        scale(t->v + m * v->ld, t->cols.n,
              denominator(t->z, t->k + m * k->ld, p.k));
    product_run(&p, item->panels);
}

static void
gate(const cpu_item *item, const block *t)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    const kernel_view *k = &item->op->u.write.k;
    const kernel_view *b = &item->op->u.write.b;
    const kernel_view *v = &item->op->u.write.v;
    const float *z = item->cell->fresh != 0 ? NULL : t->z;

    for (size_t m = 0; m < item->cell->n_mem; m++) {
        float den = denominator(z, t->k + m * k->ld, head_key(mem));
        const float *beta = t->b + m * b->ld;

        if (mem->gating)
            gate_columns(t->v + m * v->ld, beta, t->cols.n, den);
        else
            scale(t->v + m * v->ld, t->cols.n, sigmoid(*beta) / den);
    }
}

static void
write_block(const cpu_item *item, const block *t)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    const product store = {.m = head_key(mem),
                           .n = t->cols.n,
                           .k = item->cell->n_mem,
                           .a = t->k,
                           .lda = item->op->u.write.k.ld,
                           .a_t = true,
                           .b = t->v,
                           .ldb = item->op->u.write.v.ld,
                           .c = t->A,
                           .ldc = t->ld_A,
                           .alpha = 1.0F,
                           .accumulate = true,
                           .hook = item->hook,
                           .hook_ctx = item->hook_ctx};

    if (item->cell->fresh == 0)
        recall(item, t);
    gate(item, t);
    product_run(&store, item->panels);
}

/* All rows are added to a copy in fp32, which is rounded once. */
static void
write_narrow(const cpu_item *item, size_t head, cpu_range cols)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    size_t most = wide_cols(mem), end = cols.first + cols.n;

    for (size_t at = cols.first; at < end; at += most) {
        cpu_range some = {at, end - at < most ? end - at : most};
        block t = block_of(item, head, some);
        uint16_t *A = head_narrow(mem, item, head) + at;

        t.A = item->work;
        t.ld_A = some.n;
        widen_rows(t.A, A, mem->A.ld, head_key(mem), some.n);
        write_block(item, &t);
        narrow_rows(A, mem->A.ld, t.A, head_key(mem), some.n);
    }
}

static void
write_run(const cpu_item *item)
{
    const kernel_assoc *mem = &item->op->u.write.mem;
    uint32_t n = write_blocks(mem);
    size_t head = item->index / n;
    cpu_range cols =
        cpu_part(head_model(mem), n, item->index % n, CPU_TILE_UNIT);

    if (mem->A.type == KERNEL_BF16) {
        write_narrow(item, head, cols);
    } else {
        const block t = block_of(item, head, cols);

        write_block(item, &t);
    }
}

const cpu_step cpu_assoc_write = {write_count, write_run};

/* Items are heads. */
static uint32_t
write_z_count(const device_op *op, const kernel_cell *cell)
{
    const kernel_assoc *mem = &op->u.write.mem;
    bool idle = cell->n_mem == 0 || cell->bare || mem->z.buf == NULL;

    return idle ? 0 : (uint32_t)mem->n_head;
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
    float den = denominator(z, k, head_key(mem));
    float norm = dot(k, k, head_key(mem)) + (mem->l2_norm ? 0.0F : EPS);
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
    size_t d_key = head_key(mem), n_mem = item->cell->n_mem;
    const float *k =
        cpu_at(k_view, item, KERNEL_ROWS_MEM) + item->index * d_key;
    float *z = head_z(mem, item, item->index);
    float *g = item->work;
    bool always = item->cell->fresh != 0 || !mem->correction;

    ASSERT(n_mem * sizeof(*g) <= CPU_WORK_BYTES);
    for (size_t m = 0; m < n_mem; m++)
        g[m] = always ? 1.0F : novelty(mem, z, k + m * k_view->ld);
    for (size_t m = 0; m < n_mem; m++)
        add_scaled(z, k + m * k_view->ld, d_key, g[m]);
}

const cpu_step cpu_assoc_write_z = {write_z_count, write_z_run};
