/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of a single row on their way to the device: phases are added while
 * groups come, and launched as one program when something else is enqueued or
 * waited for.  The first ones are launched early, so that the device does not
 * wait for the host to have added all. */
#ifndef KERNELS_CUDA_PROGRAM_H
#define KERNELS_CUDA_PROGRAM_H

#include "kernels/cuda/phase.h"

enum { CUDA_PROGRAM_TURNS = 4 };

/* Zeroed but for `dev` and `stream`; memory is taken with the first group. */
typedef struct cuda_program {
    const struct cuda_device *dev;
    cudaStream_t stream;
    cuda_phase *phases;
    cuda_weights *weights;
    uint32_t n_phase, n_weights;
    uint32_t first; /* the block that the next product's units begin with */
    /* Before the group at hand. */
    uint32_t kept_phase, kept_weights, kept_first;
    const kernel_cell *cell; /* of the group at hand */
    char *pinned, *device;   /* [CUDA_PROGRAM_TURNS] */
    uint32_t turn;
    cudaStream_t uploads; /* which do not wait for what runs */
    cudaEvent_t copied[CUDA_PROGRAM_TURNS]; /* behind the upload of each, */
    cudaEvent_t ended[CUDA_PROGRAM_TURNS];  /* and behind its launch */
    /* A copy before the first phase, which may do it; NULL: none.  And what it
     * was before the group at hand. */
    int32_t *to, *kept_to;
    const int32_t *from;
    uint32_t *state;
    char *boxes;
    bool refused;     /* all multiprocessors at once are not to be had */
    uint32_t number;  /* of the next phase that is launched */
    uint32_t n_early; /* launches since somebody else wanted one */
} cuda_program;

void cuda_program_fini(cuda_program *p);
/* Begins a group of one cell, which stays until the group is ended or dropped.
 * *begun = false: the device refuses programs. */
status cuda_program_begin(cuda_program *p, const kernel_cell *cell,
                          bool *begun) MUST_USE;
/* Adds an operation; false: no phase does it, and the group is to be dropped.
 */
bool cuda_program_product(cuda_program *p, const cuda_thin_product *a);
bool cuda_program_read(cuda_program *p, const kernel_view *x,
                       const kernel_assoc *m, const kernel_dpfp_args *d);
bool cuda_program_attend(cuda_program *p, const cuda_thin_attention *t);
bool cuda_program_embed(cuda_program *p, const kernel_embed_args *a);
bool cuda_program_pick(cuda_program *p, const kernel_sample_op *op);
/* Whether the program's last phase does a 32-bit copy on its way, to the device
 * or to pinned memory, as it picks that number. */
bool cuda_program_picks(cuda_program *p, int32_t *to, const int32_t *from);
/* Whether a 32-bit copy on the device may wait for the program's first phase,
 * as nothing was added yet. */
bool cuda_program_holds(cuda_program *p, int32_t *to, const int32_t *from);
/* Forgets what was added since cuda_program_begin(). */
void cuda_program_drop(cuda_program *p);
/* All operations of the group were added. */
status cuda_program_end(cuda_program *p) MUST_USE;
/* Launches what was added, if anything: before everything else that goes to the
 * stream, and before anybody waits for it. */
status cuda_program_flush(cuda_program *p) MUST_USE;

#endif
