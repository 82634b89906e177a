/* SPDX-License-Identifier: Apache-2.0 */
/* Launches that do several operations of a group at once, for the shapes and
 * types that models have; what a launch cannot do goes to the functions of
 * cuda.h. */
#ifndef KERNELS_CUDA_FAST_H
#define KERNELS_CUDA_FAST_H

#include <cuda.h>

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cuTensorMapEncodeTiled() of the driver. */
typedef CUresult cuda_encode(CUtensorMap *, CUtensorMapDataType, cuuint32_t,
                             void *, const cuuint64_t *, const cuuint64_t *,
                             const cuuint32_t *, const cuuint32_t *,
                             CUtensorMapInterleave, CUtensorMapSwizzle,
                             CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
/* *out = NULL where the driver has none. */
status cuda_map_open(cuda_encode **out) MUST_USE;

/* The rows of a view that a launch takes: at least n_row of n_col numbers. */
typedef struct cuda_view_rows {
    const kernel_view *view;
    size_t n_row, n_col;
    bool exact; /* what lies behind n_row counts as zeros */
} cuda_view_rows;

/* A map with boxes of `box_rows` rows and 64 columns; false where the view
 * does not lie as the copy engine wants it. */
bool cuda_map_view(CUtensorMap *out, cuda_encode *encode,
                   const cuda_view_rows *rows, uint32_t box_rows);

/* What a product does with its sums. */
typedef enum cuda_finish {
    CUDA_STORE = 0, /* bf16 or f32 */
    CUDA_ADD,       /* to what is there */
    CUDA_SWIGLU,    /* w has gates and values, `n` of each */
    CUDA_ROPE,      /* bf16; the first n_rot columns are heads to turn */
    CUDA_DELTA      /* of a memory's write: see assoc_fast.cu */
} cuda_finish;

enum { CUDA_MAX_RUN = 3 };

/* out = x w^T over runs of columns of x and w, bf16 with fp32 sums. */
typedef struct cuda_product {
    CUtensorMap x, w; /* [items, rows, columns], boxes of 64 columns */
    kernel_view out, bias;
    kernel_by x_by, w_by;
    bool x_one, w_one; /* item 0 for every cell */
    kernel_rows rows;  /* of x and out */
    uint32_t m;        /* rows of every cell; 0: those of `rows` */
    uint32_t n, n_run;
    struct {
        uint32_t x_col, w_col, n_step; /* of 64 columns */
    } run[CUDA_MAX_RUN];
    cuda_finish finish;
    bool read;  /* fresh and bare cells are passed over */
    bool write; /* cells without memory rows and bare ones are passed over */
    /* CUDA_ROPE */
    const float *turns; /* [position, half] pairs cos, sin */
    uint32_t half, n_rot;
    /* CUDA_DELTA: value[m, n] and gate[m] F32; rows[place, max_mem] of
     * denominators; out: split, transposed [n, 2 m_pad] */
    kernel_view value, gate;
    const float *den;
    uint32_t m_pad;
} cuda_product;

/* Columns of a tile of a product of n columns: the rows of w's boxes. */
uint32_t cuda_product_cols(uint32_t n, cuda_finish finish);
/* Rows of x's boxes. */
uint32_t cuda_product_rows(uint32_t n, cuda_finish finish);
cudaError_t cuda_product_run(const cuda_launch *at, const cuda_product *p);

/* ----------------------------------------------- rows of the memory --- */

/* Features of rows for products in split bf16: of every row the 6 d_mem numbers
 * f = features(proj), for a read divided by z . f + 1e-5, as two numbers of
 * bf16 each, [row, 2, 6 d_mem]; for a write also across, [6 d_mem, 2, m_pad]
 * with zeros behind n_mem, and den[n_mem] pairs (denominator, gate of z). */
typedef struct cuda_features {
    kernel_view proj, z;
    uint32_t d_mem;
    bool l2_norm, correction, is_write;
    kernel_view out, across; /* bf16, by cell */
    float *den;              /* [place, max_mem] pairs */
    uint32_t m_pad;
} cuda_features;
cudaError_t cuda_features_run(const cuda_launch *at, const cuda_features *f);

/* A of each cell across and in two numbers of bf16: [d_model, 2, d_key]; an A
 * in bf16 as it is: [d_model, d_key]. */
cudaError_t cuda_split_run(const cuda_launch *at, const kernel_assoc *mem,
                           const kernel_view *out);
/* z += sum_m g_m k_m from what cuda_features_run() left. */
cudaError_t cuda_update_z(const cuda_launch *at, const cuda_features *f);

/* cos and sin of positions 0 .. n_position - 1: [n_position, d_rot / 2] pairs.
 */
cudaError_t cuda_rope_table(cudaStream_t stream, float *table,
                            const kernel_rope_args *a, uint32_t n_position);

/* Attention on Hopper's tensor cores, heads of 64 and 128; maps of q, k, v and
 * of the window's k and v (zeros where there is none), boxes of 128 rows. */
enum { CUDA_FLASH_ROWS = 16 }; /* cells with fewer are passed over */
cudaError_t cuda_flash_run(const cuda_launch *at,
                           const kernel_attention_args *a,
                           const CUtensorMap maps[5]);

#ifdef __cplusplus
}
#endif

/* ------------------------------------------------------------- plan.c --- */

struct cuda_device;
struct cuda_program;

/* What the fused launches keep from group to group. */
typedef struct cuda_plan {
    const struct cuda_device *dev;
    struct cuda_program *program; /* has the address of `turns` */
    float *turns;                 /* cos and sin, of the rotation below */
    size_t turns_bytes;
    kernel_rope_args turns_of;
    uint32_t n_position;
    cuda_buf split_A, split_f, split_k, across_k, across_v; /* scratch */
    float *den;
    size_t den_bytes;
    float *shares; /* of the attention of single rows */
    size_t shares_bytes;
    bool chained;         /* the last launch was one of thin.h */
    const char *ran;      /* what cuda_plan_run() chose last */
    kernel_view split_of; /* whose A split_A has, of this group's cells */
} cuda_plan;

#endif
