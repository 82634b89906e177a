/* SPDX-License-Identifier: Apache-2.0 */
/* The associative memory for any shape, in fp32: rows are divided by their
 * denominators first, so that the residual add is part of the product. */
#include "kernels/cuda/plain.cuh"

namespace
{

enum { WARPS = 8 };

struct Assoc {
    Ref A, z, f;            /* f: features of the rows that read or write */
    uint32_t dk, d, n_head; /* dk, d: of one head */
    bool correction, l2_norm, gating;
};

Assoc
assoc_of(const kernel_assoc &mem, const kernel_view &f)
{
    return {ref_of(mem.A),
            ref_of(mem.z),
            ref_of(f),
            static_cast<uint32_t>(mem.d_key / mem.n_head),
            static_cast<uint32_t>(mem.d_model / mem.n_head),
            static_cast<uint32_t>(mem.n_head),
            mem.correction,
            mem.l2_norm,
            mem.gating};
}

template <class TA>
__device__ TA *
head_of_A(const Assoc &a, const kernel_cell &cell, uint32_t place,
          uint32_t head)
{
    return ref_item<TA>(a.A, cell, place) +
           static_cast<size_t>(head) * a.dk * a.A.ld;
}

/* z . f and |f|^2 of one head of a row, by one warp. */
__device__ float
dot(const float *z, const float *f, uint32_t n)
{
    float sum = 0.0F;

    for (uint32_t i = threadIdx.x % 32; i < n; i += 32)
        sum = fmaf(z[i], f[i], sum);
    return warp_sum(sum);
}

/* ---------------------------------------------------------------- read --- */

__global__ void
__launch_bounds__(WARPS * 32) divide_kernel(Assoc a, const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t at = blockIdx.x * WARPS + threadIdx.x / 32;
    uint32_t row = at / a.n_head, head = at % a.n_head;

    if (row >= cell.n_row || cell.fresh != 0 || cell.bare != 0)
        return;
    float *f = ref_rows<float>(a.f, cell, blockIdx.y, KERNEL_ROWS_ALL) +
               row * a.f.ld + head * a.dk;
    float den =
        dot(ref_item<float>(a.z, cell, blockIdx.y) + head * a.dk, f, a.dk) +
        1e-5F;
    for (uint32_t i = threadIdx.x % 32; i < a.dk; i += 32)
        f[i] /= den;
}

template <class T, class TA>
__global__ void
__launch_bounds__(PLAIN_THREADS)
    read_kernel(Assoc a, Ref x, const kernel_cell *cells)
{
    uint32_t place = blockIdx.z / a.n_head, head = blockIdx.z % a.n_head;
    const kernel_cell &cell = cells[place];
    uint32_t row0 = blockIdx.x * PLAIN_TILE, col0 = blockIdx.y * PLAIN_TILE;
    float sum[PLAIN_PART][PLAIN_PART];

    if (row0 >= cell.n_row || cell.fresh != 0 || cell.bare != 0)
        return;
    const PlainOperands<float, TA> o = {
        ref_rows<float>(a.f, cell, place, KERNEL_ROWS_ALL) + head * a.dk,
        head_of_A<TA>(a, cell, place, head),
        a.f.ld,
        1,
        1,
        a.A.ld,
        cell.n_row,
        a.d,
        a.dk};
    T *out = ref_rows<T>(x, cell, place, KERNEL_ROWS_ALL) + head * a.d;

    plain_tile(o, row0, col0, sum);
    plain_each(row0, col0, cell.n_row, a.d, sum,
               [&](uint32_t r, uint32_t c, float s) {
                   T *to = out + r * x.ld + c;

                   *to = from_float<T>(to_float(*to) + s);
               });
}

/* --------------------------------------------------------------- write --- */

/* Of each row and head: the denominator, and the gate of z. */
struct Row {
    float den, gate;
};

__device__ Row *
row_at(float *room, const Assoc &a, uint32_t place, uint32_t max_mem,
       uint32_t row, uint32_t head)
{
    return reinterpret_cast<Row *>(room) +
           (static_cast<size_t>(place) * max_mem + row) * a.n_head + head;
}

__device__ float
gate_of(const Assoc &a, float den, float squares)
{
    float norm = squares + (a.l2_norm ? 0.0F : 1e-5F);

    if (norm == 0.0F)
        return 0.0F;
    return fminf(fmaxf(1.0F - den / norm, 0.0F), 1.0F);
}

__global__ void
__launch_bounds__(WARPS * 32)
    rows_kernel(Assoc a, float *room, uint32_t max_mem,
                const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t at = blockIdx.x * WARPS + threadIdx.x / 32;
    uint32_t row = at / a.n_head, head = at % a.n_head;
    Row r = {1.0F, 1.0F};

    if (row >= cell.n_mem || cell.bare != 0)
        return;
    const float *f =
        ref_item<float>(a.f, cell, blockIdx.y) + row * a.f.ld + head * a.dk;
    if (a.z.base != nullptr && cell.fresh == 0) {
        r.den =
            dot(ref_item<float>(a.z, cell, blockIdx.y) + head * a.dk, f, a.dk) +
            1e-5F;
        if (a.correction)
            r.gate = gate_of(a, r.den, dot(f, f, a.dk));
    }
    if (threadIdx.x % 32 == 0)
        *row_at(room, a, blockIdx.y, max_mem, row, head) = r;
}

/* v := sigmoid(b) (v - k A / den) */
template <class TA>
__global__ void
__launch_bounds__(PLAIN_THREADS)
    delta_kernel(Assoc a, Ref v, Ref b, float *room, uint32_t max_mem,
                 const kernel_cell *cells)
{
    uint32_t place = blockIdx.z / a.n_head, head = blockIdx.z % a.n_head;
    const kernel_cell &cell = cells[place];
    uint32_t row0 = blockIdx.x * PLAIN_TILE, col0 = blockIdx.y * PLAIN_TILE;
    float sum[PLAIN_PART][PLAIN_PART];

    if (row0 >= cell.n_mem || cell.bare != 0)
        return;
    const PlainOperands<float, TA> o = {ref_item<float>(a.f, cell, place) +
                                            head * a.dk,
                                        head_of_A<TA>(a, cell, place, head),
                                        a.f.ld,
                                        1,
                                        1,
                                        a.A.ld,
                                        cell.n_mem,
                                        a.d,
                                        cell.fresh != 0 ? 0 : a.dk};
    float *value = ref_item<float>(v, cell, place) + head * a.d;
    const float *gate = ref_item<float>(b, cell, place);

    plain_tile(o, row0, col0, sum);
    plain_each(
        row0, col0, cell.n_mem, a.d, sum, [&](uint32_t r, uint32_t c, float s) {
            float den = row_at(room, a, place, max_mem, r, head)->den;
            float g = gate[r * b.ld + (a.gating ? head * a.d + c : head)];
            float *to = value + r * v.ld + c;

            *to = (*to - s / den) / (1.0F + expf(-g));
        });
}

/* A += k^T v, rounded once. */
template <class TA>
__global__ void
__launch_bounds__(PLAIN_THREADS)
    update_kernel(Assoc a, Ref v, const kernel_cell *cells)
{
    uint32_t place = blockIdx.z / a.n_head, head = blockIdx.z % a.n_head;
    const kernel_cell &cell = cells[place];
    uint32_t row0 = blockIdx.x * PLAIN_TILE, col0 = blockIdx.y * PLAIN_TILE;
    float sum[PLAIN_PART][PLAIN_PART];

    if (cell.n_mem == 0 || cell.bare != 0)
        return;
    const PlainOperands<float, float> o = {
        ref_item<float>(a.f, cell, place) + head * a.dk,
        ref_item<float>(v, cell, place) + head * a.d,
        1,
        a.f.ld,
        1,
        v.ld,
        a.dk,
        a.d,
        cell.n_mem};
    TA *A = head_of_A<TA>(a, cell, place, head);

    plain_tile(o, row0, col0, sum);
    plain_each(row0, col0, a.dk, a.d, sum,
               [&](uint32_t r, uint32_t c, float s) {
                   TA *to = A + r * a.A.ld + c;

                   *to = from_float<TA>(to_float(*to) + s);
               });
}

/* z += sum_m g_m k_m, in the order of m. */
__global__ void
update_z_kernel(Assoc a, float *room, uint32_t max_mem,
                const kernel_cell *cells)
{
    const kernel_cell &cell = cells[blockIdx.y];
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i >= a.dk * a.n_head || cell.n_mem == 0 || cell.bare != 0)
        return;
    const float *f = ref_item<float>(a.f, cell, blockIdx.y) + i;
    float *z = ref_item<float>(a.z, cell, blockIdx.y) + i;
    float sum = 0.0F;

    for (uint32_t m = 0; m < cell.n_mem; m++)
        sum = fmaf(row_at(room, a, blockIdx.y, max_mem, m, i / a.dk)->gate,
                   f[m * a.f.ld], sum);
    *z += sum;
}

} // namespace

cudaError_t
cuda_assoc_read(const cuda_launch *at, const device_op *op)
{
    const Assoc a = assoc_of(op->u.read.mem, op->u.read.f);
    dim3 tiles(ceil_div(at->max_row, PLAIN_TILE), ceil_div(a.d, PLAIN_TILE),
               at->n_cell * a.n_head);

    if (a.z.base != nullptr)
        divide_kernel<<<
            dim3(ceil_div(static_cast<size_t>(at->max_row) * a.n_head, WARPS),
                 at->n_cell),
            WARPS * 32, 0, at->stream>>>(a, at->cells);
    return with_type(op->u.read.x.type, [&](auto x) {
        with_type(op->u.read.mem.A.type, [&](auto A) {
            read_kernel<decltype(x), decltype(A)>
                <<<tiles, PLAIN_THREADS, 0, at->stream>>>(
                    a, ref_of(op->u.read.x), at->cells);
        });
    });
}

cudaError_t
cuda_assoc_write(const cuda_launch *at, const device_op *op)
{
    const Assoc a = assoc_of(op->u.write.mem, op->u.write.k);
    const Ref v = ref_of(op->u.write.v), b = ref_of(op->u.write.b);
    uint32_t n_batch = at->n_cell * a.n_head;
    uint32_t n_col = ceil_div(a.d, PLAIN_TILE);

    if (at->max_mem == 0)
        return cudaSuccess;
    rows_kernel<<<dim3(ceil_div(static_cast<size_t>(at->max_mem) * a.n_head,
                                WARPS),
                       at->n_cell),
                  WARPS * 32, 0, at->stream>>>(a, at->room, at->max_mem,
                                               at->cells);
    cudaError_t code = with_type(op->u.write.mem.A.type, [&](auto A) {
        delta_kernel<decltype(A)>
            <<<dim3(ceil_div(at->max_mem, PLAIN_TILE), n_col, n_batch),
               PLAIN_THREADS, 0, at->stream>>>(a, v, b, at->room, at->max_mem,
                                               at->cells);
        update_kernel<decltype(A)>
            <<<dim3(ceil_div(a.dk, PLAIN_TILE), n_col, n_batch), PLAIN_THREADS,
               0, at->stream>>>(a, v, at->cells);
    });
    if (code != cudaSuccess)
        return code;
    if (a.z.base != nullptr)
        update_z_kernel<<<dim3(ceil_div(a.dk * a.n_head, 128), at->n_cell), 128,
                          0, at->stream>>>(a, at->room, at->max_mem, at->cells);
    return cudaGetLastError();
}

size_t
cuda_room(const cuda_launch *at, const device_op *op)
{
    if (op->kind != DEVICE_ASSOC_WRITE)
        return 0;
    return static_cast<size_t>(at->n_cell) * at->max_mem *
           op->u.write.mem.n_head * sizeof(Row) / sizeof(float);
}
