/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and rooms of the fused launches: they only grow. */
#include "kernels/cuda/plan_step.h"

void
cuda_plan_fini(cuda_plan *p)
{
    cuda_buf *const rooms[] = {&p->split_A, &p->split_f, &p->split_k,
                               &p->across_k, &p->across_v};

    (void)cudaFree(p->turns);
    (void)cudaFree(p->den);
    (void)cudaFree(p->shares);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        (void)cudaFree(rooms[i]->data);
}

/* A room of [n_row, n_col] bf16 for every cell; true where it moved. */
static bool
room_grow(cuda_buf *room, const cuda_launch *at, size_t n_row, size_t n_col,
          status *st)
{
    size_t each = (n_row * n_col * sizeof(uint16_t) + 1023) / 1024 * 1024;
    size_t n = at->n_cell > room->base.n_item ? at->n_cell : room->base.n_item;
    void *data = NULL;

    if (*st != ST_OK || (each <= room->step && n <= room->base.n_item))
        return false;
    each = each > room->step ? each : room->step;
    *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&data, each * n), "no room for a memory");
    if (*st != ST_OK)
        return false;
    (void)cudaFree(room->data);
    room->data = data;
    room->step = each;
    room->base.use = KERNEL_SCRATCH;
    room->base.bytes = each;
    room->base.n_item = n;
    return true;
}

/* A table of turns for all positions of the group. */
static bool
turns_grow(cuda_plan *p, const cuda_launch *at, const kernel_rope_args *a,
           status *st)
{
    enum { MOST = 1 << 18, FIRST = 4096 };
    const kernel_rope_args *b = &p->turns_of;
    bool same = b->freq.buf == a->freq.buf &&
                b->freq.offset == a->freq.offset && b->d_rot == a->d_rot &&
                b->scale == a->scale;
    uint32_t need = at->max_pos, n = FIRST;
    size_t bytes;
    void *table = NULL;

    if (*st != ST_OK || need > MOST || (same && need <= p->n_position))
        return false;
    while (n < need)
        n *= 2;
    bytes = n * a->d_rot * sizeof(float);
    *st = cuda_program_flush(p->program);
    if (*st == ST_OK)
        *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&table, bytes), "no room for positions");
    if (*st == ST_OK)
        *st =
            cuda_status(cuda_rope_table(at->stream, table, a, n), "positions");
    if (*st != ST_OK) {
        (void)cudaFree(table);
        return false;
    }
    (void)cudaFree(p->turns);
    p->turns = table;
    p->n_position = n;
    p->turns_of = *a;
    return true;
}

static bool
den_grow(cuda_plan *p, const cuda_launch *at, status *st)
{
    size_t need = (size_t)at->n_cell * at->max_mem * 4 * sizeof(float);
    void *den = NULL;

    if (*st != ST_OK || need <= p->den_bytes)
        return false;
    *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&den, need), "no room for a memory");
    if (*st != ST_OK)
        return false;
    (void)cudaFree(p->den);
    p->den = den;
    p->den_bytes = need;
    return true;
}

bool
cuda_plan_ready(cuda_plan *p, const cuda_launch *at, const device_op *ops,
                uint32_t n_op, status *st)
{
    bool moved = false;

    p->split_of = (kernel_view){0};
    for (uint32_t i = 0; i < n_op; i++) {
        const device_op *op = &ops[i];

        if (op->kind == DEVICE_ROPE && p->dev->compute == KERNEL_BF16)
            moved |= turns_grow(p, at, &op->u.rope, st);
        if (!cuda_plan_is_fast(p))
            continue;
        if (op->kind == DEVICE_ASSOC_READ &&
            cuda_plan_memory_fits(&op->u.read.mem)) {
            const kernel_assoc *m = &op->u.read.mem;

            moved |= room_grow(&p->split_A, at, m->d_model, 2 * m->d_key, st);
            moved |= room_grow(&p->split_f, at, at->max_row, 2 * m->d_key, st);
        }
        if (op->kind == DEVICE_ASSOC_WRITE &&
            cuda_plan_memory_fits(&op->u.write.mem)) {
            const kernel_assoc *m = &op->u.write.mem;
            uint32_t pad = cuda_plan_pad(at);

            moved |= room_grow(&p->split_A, at, m->d_model, 2 * m->d_key, st);
            moved |= room_grow(&p->split_k, at, pad, 2 * m->d_key, st);
            moved |= room_grow(&p->across_k, at, m->d_key, 2 * pad, st);
            moved |= room_grow(&p->across_v, at, m->d_model, 2 * pad, st);
            moved |= den_grow(p, at, st);
        }
    }
    return cuda_plan_thin_ready(p, at, ops, n_op, st) || moved;
}
