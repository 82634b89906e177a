/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend: its device table, and what its files share.
 *
 * Host code is C: opening, buffers and measuring (device.c), memory of the host
 * for copies (pinned.c), copies and events (queue.c), recorded groups (group.c)
 * and what of a group runs as one launch (plan.c).  Device code is one .cu file
 * an operation; each ends with the functions below, which choose a kernel for
 * the operands and launch it. */
#ifndef KERNELS_CUDA_CUDA_H
#define KERNELS_CUDA_CUDA_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/device.h"

extern const device_table cuda_table;

/* The sentence behind a code of the runtime; ST_OK for cudaSuccess. */
status cuda_status(cudaError_t code, const char *what) MUST_USE;

/* Makes the device the calling thread's. */
status cuda_enter(const kernel_device *dev) MUST_USE;

typedef struct cuda_buf {
    kernel_buf base;
    char *data;
    size_t step; /* bytes between scratch items */
} cuda_buf;

/* What a launch knows of its group.  Cells are read on the device, so that a
 * captured group can be replayed with others; what a launch depends on is here
 * and in the operation. */
typedef struct cuda_launch {
    cudaStream_t stream;
    const kernel_cell *cells; /* on the device */
    const kernel_sample_args *samples;
    float *room; /* device memory that an operation may use, on its own */
    uint32_t n_cell;
    uint32_t min_row, max_row, max_mem; /* of a cell */
    uint32_t max_end;                   /* row0 + n_row */
    uint32_t max_pos;                   /* pos + n_row */
    uint32_t max_key;                   /* n_past + n_row */
    uint32_t max_window;
    uint32_t n_sm;
    uint32_t arch; /* 80, 90, ...: compute capability times 10 */
} cuda_launch;

/* Floats of room that an operation needs. */
size_t cuda_room(const cuda_launch *at, const device_op *op);

/* Enqueue one operation with kernels for any shape, type and alignment. */
cudaError_t cuda_embed(const cuda_launch *at, const kernel_embed_args *a);
cudaError_t cuda_linear(const cuda_launch *at, const kernel_linear_args *a);
/* The same in bf16 with what is behind it, rounded once: SwiGLU into `out`; or
 * rotations of the first n_rot columns, pieces of 2 half, by a table of
 * cuda_rope_table(). */
cudaError_t cuda_pairs_swiglu(const cuda_launch *at,
                              const kernel_linear_args *a,
                              const kernel_view *out);
cudaError_t cuda_pairs_rope(const cuda_launch *at, const kernel_linear_args *a,
                            const float *turns, size_t half, size_t n_rot);
cudaError_t cuda_norm(const cuda_launch *at, const kernel_norm_args *a,
                      bool centred);
cudaError_t cuda_rope(const cuda_launch *at, const kernel_rope_args *a);
cudaError_t cuda_kv(const cuda_launch *at, const device_op *op);
/* Of cells with fewer than `limit` rows. */
/* The largest heads: of attention, whose sums are in registers, and of a
 * memory, whose row is in shared memory. */
enum { CUDA_MAX_HEAD = 512, CUDA_MAX_FEATURE = 1536 };
cudaError_t cuda_attention(const cuda_launch *at,
                           const kernel_attention_args *a, uint32_t limit);
cudaError_t cuda_swiglu(const cuda_launch *at, const device_op *op);
cudaError_t cuda_gelu(const cuda_launch *at, const device_op *op);
cudaError_t cuda_dpfp(const cuda_launch *at, const kernel_dpfp_args *a);
cudaError_t cuda_assoc_read(const cuda_launch *at, const device_op *op);
cudaError_t cuda_assoc_write(const cuda_launch *at, const device_op *op);
cudaError_t cuda_sample(const cuda_launch *at, const device_op *op);

/* Reads `bytes` and writes nothing; `out`: 4 bytes. */
cudaError_t cuda_read(cudaStream_t stream, const void *data, size_t bytes,
                      uint32_t n_sm, void *out);

/* out[i] = mean + spread * draw(key, first + i), i < n, in `type`. */
cudaError_t cuda_random(cudaStream_t stream, void *out, kernel_type type,
                        size_t n, const kernel_random *law);

#ifdef __cplusplus
}
#endif

#endif
