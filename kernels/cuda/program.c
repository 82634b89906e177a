/* SPDX-License-Identifier: Apache-2.0 */
/* The program that groups of a single row become, until something else is
 * enqueued: one upload and one launch. */
#include "kernels/cuda/program.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/host.h"
#include "kernels/cuda/thin_shared.h"

enum { ALIGN = 256, GROUP = 32 }; /* phases of a group, at most */

static size_t
aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Of all parts, when they are full. */
static size_t
most_bytes(void)
{
    return aligned(CUDA_PROGRAM_PHASES * sizeof(cuda_phase)) +
           aligned(CUDA_PROGRAM_WEIGHTS * sizeof(cuda_weights));
}

void
cuda_program_fini(cuda_program *p)
{
    mem_free(p->phases);
    mem_free(p->weights);
    if (p->uploads != NULL)
        (void)cudaStreamSynchronize(p->uploads);
    for (int i = 0; i < CUDA_PROGRAM_TURNS; i++) {
        if (p->copied[i] != NULL)
            (void)cudaEventDestroy(p->copied[i]);
        if (p->ended[i] != NULL)
            (void)cudaEventDestroy(p->ended[i]);
    }
    if (p->uploads != NULL)
        (void)cudaStreamDestroy(p->uploads);
    (void)cudaFreeHost(p->pinned);
    (void)cudaFree(p->device);
    (void)cudaFree(p->state);
    (void)cudaFree(p->boxes);
    *p = (cuda_program){0};
}

static status
open_device_side(cuda_program *p)
{
    size_t bytes = CUDA_PROGRAM_STATE * sizeof(*p->state);
    void *pinned = NULL, *device = NULL, *words = NULL;
    status st = ST_OK;

    for (int i = 0; i < CUDA_PROGRAM_TURNS; i++) {
        TRY(cuda_status(
            cudaEventCreateWithFlags(&p->copied[i], cudaEventDisableTiming),
            "no event"));
        TRY(cuda_status(
            cudaEventCreateWithFlags(&p->ended[i], cudaEventDisableTiming),
            "no event"));
    }
    TRY(cuda_status(
        cudaStreamCreateWithFlags(&p->uploads, cudaStreamNonBlocking),
        "no stream"));
    TRY(cuda_status(cudaMallocHost(&pinned, CUDA_PROGRAM_TURNS * most_bytes()),
                    "no pinned memory"));
    p->pinned = pinned;
    TRY(cuda_status(cudaMalloc(&device, CUDA_PROGRAM_TURNS * most_bytes()),
                    "no room for answers"));
    p->device = device;
    TRY(cuda_status(cudaMalloc(&words, bytes), "no room for answers"));
    p->state = words;
    TRY(cuda_status(cudaMemset(words, 0, bytes), "no room for answers"));
    TRY(cuda_status(cudaMalloc(&words, CUDA_PROGRAM_BOXES),
                    "no room for answers"));
    p->boxes = words;
    TRY(cuda_status(cudaMemset(words, 0, CUDA_PROGRAM_BOXES),
                    "no room for answers"));
    TRY(cuda_status(cudaDeviceSynchronize(), "the GPU failed"));
    p->number = 1; /* boxes are empty */
fail:
    return st;
}

/* Launches nothing, to see whether the device has all its multiprocessors to
 * give: where others share it, it may not. */
static status
try_launch(cuda_program *p)
{
    const cuda_program_launch at = {.stream = p->stream,
                                    .phases = (const void *)p->device,
                                    .weights = (const void *)p->device,
                                    .n_sm = p->dev->n_sm,
                                    .state = p->state};
    cudaError_t code = cuda_program_run(&at);

    p->refused = code == cudaErrorCooperativeLaunchTooLarge ||
                 code == cudaErrorNotSupported;
    if (!p->refused)
        return cuda_status(code, "a program");
    (void)cudaGetLastError();
    return ST_OK;
}

/* With the first group that needs it. */
static status
open_program(cuda_program *p)
{
    const cuda_program kept = {.dev = p->dev, .stream = p->stream};
    status st = ST_OK;

    if (p->weights != NULL || p->refused)
        return ST_OK;
    TRY(open_device_side(p));
    TRY(try_launch(p));
    if (p->refused)
        return ST_OK;
    TRY(mem_new(&p->phases, CUDA_PROGRAM_PHASES, sizeof(*p->phases)));
    TRY(mem_new(&p->weights, CUDA_PROGRAM_WEIGHTS, sizeof(*p->weights)));
    return ST_OK;
fail:
    cuda_program_fini(p); /* the next group tries again */
    p->dev = kept.dev;
    p->stream = kept.stream;
    return st;
}

/* -------------------------------------------------------------- groups --- */

status
cuda_program_begin(cuda_program *p, const kernel_cell *cell, bool *begun)
{
    status st = ST_OK;

    *begun = false;
    TRY(open_program(p));
    if (p->refused)
        return ST_OK;
    if (p->n_phase + GROUP > CUDA_PROGRAM_PHASES ||
        p->n_weights + GROUP > CUDA_PROGRAM_WEIGHTS)
        TRY(cuda_program_flush(p));
    p->cell = cell;
    p->kept_phase = p->n_phase;
    p->kept_weights = p->n_weights;
    p->kept_first = p->first;
    p->kept_to = p->to;
    *begun = true;
fail:
    return st;
}

void
cuda_program_drop(cuda_program *p)
{
    p->n_phase = p->kept_phase;
    p->n_weights = p->kept_weights;
    p->first = p->kept_first;
    p->to = p->kept_to;
}

/* Room for the next phase of a group, and whether it was written. */
static cuda_phase *
next(cuda_program *p)
{
    ASSERT(p->n_phase < p->kept_phase + GROUP);
    return &p->phases[p->n_phase];
}

/* A copy that waits comes before all phases. */
static bool
count(cuda_program *p, bool written)
{
    p->n_phase += written ? 1 : 0;
    return written && p->to == NULL;
}

bool
cuda_program_product(cuda_program *p, const cuda_thin_product *a)
{
    bool written = cuda_phase_product(next(p), &p->weights[p->n_weights], a,
                                      p->cell, &p->first, p->dev->n_sm);

    p->n_weights += written ? 1 : 0;
    return count(p, written);
}

bool
cuda_program_read(cuda_program *p, const kernel_view *x, const kernel_assoc *m,
                  const kernel_dpfp_args *d)
{
    if (p->cell->fresh != 0 || p->cell->bare != 0)
        return true; /* nothing is read */
    return cuda_program_read_fits(m->d_model, p->dev->n_sm) &&
           count(p, cuda_phase_read(next(p), x, m, d, p->cell));
}

bool
cuda_program_attend(cuda_program *p, const cuda_thin_attention *t)
{
    return cuda_program_attend_fits(t->args->n_head, p->dev->n_sm) &&
           count(p, cuda_phase_attend(next(p), t, p->cell));
}

bool
cuda_program_embed(cuda_program *p, const kernel_embed_args *a)
{
    bool written = cuda_phase_embed(next(p), a, p->cell);

    if (written && p->to != NULL && p->n_phase == 0 &&
        cuda_phase_embeds(next(p), p->to, p->from))
        p->to = NULL;
    return count(p, written);
}

bool
cuda_program_pick(cuda_program *p, const kernel_sample_op *op)
{
    return count(p, cuda_phase_pick(next(p), op, p->cell));
}

bool
cuda_program_picks(cuda_program *p, int32_t *to, const int32_t *from)
{
    return p->n_phase > 0 &&
           cuda_phase_picks(&p->phases[p->n_phase - 1], to, from);
}

bool
cuda_program_holds(cuda_program *p, int32_t *to, const int32_t *from)
{
    if (p->phases == NULL || p->n_phase > 0 || p->to != NULL)
        return false;
    p->to = to;
    p->from = from;
    return true;
}

/* ------------------------------------------------------------- launch --- */

static size_t
pack(char *to, size_t at, const void *from, size_t bytes)
{
    memcpy(to + at, from, bytes);
    return aligned(at + bytes);
}

/* Uploads the turn's part, when the launch that had it before has ended. */
static status
upload(cuda_program *p, size_t bytes)
{
    size_t at = p->turn * most_bytes();
    status st = ST_OK;

    TRY(cuda_status(cudaStreamWaitEvent(p->uploads, p->ended[p->turn], 0),
                    "uploading a program"));
    TRY(cuda_status(cudaMemcpyAsync(p->device + at, p->pinned + at, bytes,
                                    cudaMemcpyHostToDevice, p->uploads),
                    "uploading a program"));
    TRY(cuda_status(cudaEventRecord(p->copied[p->turn], p->uploads),
                    "uploading a program"));
    TRY(cuda_status(cudaStreamWaitEvent(p->stream, p->copied[p->turn], 0),
                    "uploading a program"));
fail:
    return st;
}

/* Before numbers of phases come again, words that have them are forgotten. */
static status
renumber(cuda_program *p)
{
    if (p->number <= UINT32_MAX - CUDA_PROGRAM_PHASES)
        return ST_OK;
    p->number = 1;
    return cuda_status(
        cudaMemsetAsync(p->boxes, 0, CUDA_PROGRAM_BOXES, p->stream),
        "a program");
}

/* Uploads and launches all. */
static status
launch(cuda_program *p)
{
    char *to, *there;
    size_t weights, bytes;
    status st = ST_OK;

    p->turn = (p->turn + 1) % CUDA_PROGRAM_TURNS;
    to = p->pinned + p->turn * most_bytes();
    TRY(renumber(p));
    cuda_phase_link(p->phases, p->n_phase, p->boxes, p->number, p->dev->n_sm);
    p->number += p->n_phase;
    TRY(cuda_status(cudaEventSynchronize(p->copied[p->turn]),
                    "the GPU failed"));
    weights = pack(to, 0, p->phases, p->n_phase * sizeof(*p->phases));
    bytes = pack(to, weights, p->weights, p->n_weights * sizeof(*p->weights));
    there = p->device + p->turn * most_bytes();
    TRY(upload(p, bytes));
    const cuda_program_launch at = {.stream = p->stream,
                                    .phases = (const void *)there,
                                    .weights = (const void *)(there + weights),
                                    .n_phase = p->n_phase,
                                    .n_weights = p->n_weights,
                                    .n_sm = p->dev->n_sm,
                                    .state = p->state};
    TRY(cuda_status(cuda_program_run(&at), "a program"));
    TRY(cuda_status(cudaEventRecord(p->ended[p->turn], p->stream),
                    "a program"));
fail:
    p->n_phase = p->n_weights = 0; /* whatever came of it */
    return st;
}

status
cuda_program_end(cuda_program *p)
{
    static const uint32_t early[] = {8, 28}; /* phases of the first launches */

    if (p->n_early >= sizeof early / sizeof *early ||
        p->n_phase < early[p->n_early])
        return ST_OK;
    if (p->n_early == 0 &&
        cudaEventQuery(p->ended[p->turn]) == cudaErrorNotReady)
        return ST_OK; /* the device has something to do */
    p->n_early++;
    return launch(p);
}

status
cuda_program_flush(cuda_program *p)
{
    const int32_t *from = p->from;
    int32_t *to = p->to;

    p->n_early = 0;
    p->to = NULL;
    if (to != NULL)
        return cuda_status(
            cudaMemcpyAsync(to, from, sizeof *to, cudaMemcpyDefault, p->stream),
            "copying on the GPU");
    return p->n_phase > 0 ? launch(p) : ST_OK;
}
