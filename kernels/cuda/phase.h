/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of phases for one cell of one row, of bf16: the step of an answer
 * that nobody answers beside.
 *
 * A program is one launch whose blocks stay: phase after phase, with a barrier
 * of all blocks before each.  Weights do not wait for barriers: some warps of a
 * block have those that come next, of whatever phase, on their way.  A phase
 * has the bits of the launches of thin.h, which take rows that come together.
 */
#ifndef KERNELS_CUDA_PHASE_H
#define KERNELS_CUDA_PHASE_H

#include "kernels/cuda/thin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A phase of a program, and the weights that it reads. */
typedef struct cuda_phase {
    uint64_t word[20];
} cuda_phase;
typedef struct cuda_weights {
    uint64_t word[4];
} cuda_weights;

enum {
    CUDA_PROGRAM_PHASES =
        1024, /* of a launch, at most; of these read weights */
    CUDA_PROGRAM_WEIGHTS = 256,
    CUDA_PROGRAM_STATE = 68 /* words; zeros before the first launch */
};

/* What the operation does to the cell, as a phase; false: no phase does it.
 * Operands are as thin.h wants them.  A product's units are dealt out to n_sm
 * blocks from block *first on, and *first becomes the one behind the last. */
bool cuda_phase_product(cuda_phase *out, cuda_weights *weights,
                        const cuda_thin_product *p, const kernel_cell *cell,
                        uint32_t *first, uint32_t n_sm);
bool cuda_phase_read(cuda_phase *out, const kernel_view *x,
                     const kernel_assoc *m, const kernel_dpfp_args *d,
                     const kernel_cell *cell);
bool cuda_phase_attend(cuda_phase *out, const cuda_thin_attention *t,
                       const kernel_cell *cell);
bool cuda_phase_embed(cuda_phase *out, const kernel_embed_args *a,
                      const kernel_cell *cell);
/* Of a 32-bit copy between two places: whether the phase writes it, too, as it
 * is that of the id that it picks, or reads its source instead, and copies. */
bool cuda_phase_picks(cuda_phase *p, int32_t *to, const int32_t *from);
bool cuda_phase_embeds(cuda_phase *p, int32_t *to, const int32_t *from);
/* The largest logit's id, the lowest of equal ones. */
bool cuda_phase_pick(cuda_phase *out, const kernel_sample_op *op,
                     const kernel_cell *cell);

/* Says where phases find what those before them wrote: boxes has
 * CUDA_PROGRAM_BOXES bytes; `number` grows by n_phase from launch to launch. */
enum { CUDA_PROGRAM_BOXES = 8 << 16 };
void cuda_phase_link(cuda_phase *phases, uint32_t n_phase, char *boxes,
                     uint32_t number, uint32_t n_sm);

/* What lies on the device. */
typedef struct cuda_program_launch {
    cudaStream_t stream;
    const cuda_phase *phases;
    const cuda_weights *weights; /* in the order of the phases */
    uint32_t n_phase, n_weights, n_sm;
    uint32_t *state;
} cuda_program_launch;
/* Whether a device can run programs: its architecture, and the shared memory
 * that a block may have. */
bool cuda_program_fits(uint32_t arch, size_t shared);
cudaError_t cuda_program_run(const cuda_program_launch *at);

#ifdef __cplusplus
}
#endif

#endif
