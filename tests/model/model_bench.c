/* SPDX-License-Identifier: Apache-2.0 */
/* Weights as wide as a trained model's, and what comes back. */
#include "tests/model/model_bench.h"

#include <math.h>

#include "base/mem.h"
#include "tests/expect.h"

const float *
model_bench_weight(const model_bench *b, weights_kind kind, uint32_t layer,
                   size_t row)
{
    size_t rows = 0, cols = 0;
    weights_shape(&b->cfg, kind, &rows, &cols);
    return b->w[kind] + (layer * rows + row) * cols;
}

static double
next_normal(uint64_t *seed)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        sum += (double)(*seed >> 33) / 2147483648.0;
    }
    return sum - 6;
}

/* Values as wide as a trained model's, norms and biases away from 1 and 0. */
static void
fill(model_bench *b, weights *w)
{
    uint64_t seed = 42;
    for (weights_kind kind = 0; kind < WEIGHTS_ROPE; kind++) {
        size_t rows = 0, cols = 0;
        uint32_t n_item = kind < WEIGHTS_N_LAYER_KIND ? LAYERS : 1;
        weights_shape(&b->cfg, kind, &rows, &cols);
        bool norm = rows == 1 && cols == D && kind != WEIGHTS_MEM_B;
        for (size_t i = 0; i < n_item * rows * cols; i++) {
            double x = next_normal(&seed);
            b->w[kind][i] =
                (float)(norm ? 1 + 0.1 * x : x / sqrt((double)cols));
            if (kind == WEIGHTS_MEMORY || kind == WEIGHTS_EMBED)
                b->w[kind][i] = (float)x;
        }
        for (uint32_t layer = 0; layer < n_item && rows > 0; layer++)
            EXPECT_OK(weights_put(w, kind, layer, 0, rows * cols,
                                  model_bench_weight(b, kind, layer, 0)));
    }
}

static kernel_view
new_view(model_bench *b, kernel_type type, kernel_by by, size_t rows,
         size_t cols, size_t n_item)
{
    kernel_view v = {.type = type, .by = by, .stride = rows * cols, .ld = cols};
    EXPECT_OK(kernel_buf_new(&v.buf, b->dev, KERNEL_KEEP,
                             rows * cols * kernel_type_size(type), n_item));
    return v;
}

model_bench *
model_bench_open(const char *device, bool l2_norm, bool correction)
{
    model_bench *b = NULL;
    weights *w = NULL;
    kernel_config kc = {.device = device, .n_thread = 2};
    weights_part part = {0, LAYERS, true, true};
    EXPECT_OK(mem_new(&b, 1, sizeof *b));
    b->cfg = (model_config){.n_layer = LAYERS,
                            .d_model = D,
                            .n_head = HEADS,
                            .n_kv_head = KV_HEADS,
                            .d_head = HEAD,
                            .d_ffn = FFN,
                            .n_vocab = VOCAB,
                            .norm_eps = 1e-5f,
                            .rope = {.theta = 100, .d_rot = HEAD},
                            .segment_size = SEGMENT,
                            .n_mem = MEM,
                            .d_mem = D_MEM,
                            .n_mem_head = 1,
                            .correction = correction,
                            .denom = true,
                            .l2_norm = l2_norm,
                            .bos = -1};
    EXPECT_OK(kernel_open(&b->dev, &kc));
    EXPECT_OK(kernel_queue_new(&b->q, b->dev));
    EXPECT_OK(weights_new(&w, b->dev, &b->cfg, &part));
    fill(b, w);
    EXPECT_OK(model_new(&b->m, b->dev, &b->cfg, w, SLOTS));
    assert_int_equal(model_part_of(b->m)->n_layer, LAYERS);
    b->buf.x = new_view(b, KERNEL_F32, KERNEL_BY_SLOT, ROWS, D, SLOTS);
    b->buf.state = new_view(b, KERNEL_F32, KERNEL_BY_STATE, 1, STATE, LAYERS);
    b->buf.kv = new_view(b, KERNEL_F32, KERNEL_BY_KV, KV_CAP, 2 * D_KV, LAYERS);
    b->ids = new_view(b, KERNEL_I32, KERNEL_BY_SLOT, 1, ROWS, SLOTS);
    b->logits = new_view(b, KERNEL_F32, KERNEL_BY_CELL, ROWS, VOCAB, SLOTS);
    return b;
}

void
model_bench_close(model_bench *b)
{
    EXPECT_OK(kernel_sync(b->q));
    kernel_queue_free(b->q);
    model_free(b->m);
    kernel_buf_free(b->buf.x.buf);
    kernel_buf_free(b->buf.state.buf);
    kernel_buf_free(b->buf.kv.buf);
    kernel_buf_free(b->ids.buf);
    kernel_buf_free(b->logits.buf);
    kernel_close(b->dev);
    mem_free(b);
}

void
model_bench_fetch(model_bench *b, void *out, kernel_view v, size_t item,
                  size_t n)
{
    size_t size = kernel_type_size(v.type);
    EXPECT_OK(
        kernel_copy_out(b->q, out, v.buf, item * v.stride * size, n * size));
    EXPECT_OK(kernel_sync(b->q));
}

void
model_bench_expect(const char *what, const float *got, const double *want,
                   size_t n)
{
    double error = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)got[i] - want[i]));
        largest = fmax(largest, fabs(want[i]));
        assert_true(isfinite(got[i]));
    }
    if (!(error <= 2e-5 * largest))
        fail_msg("%s: %g of %g", what, error, largest);
}

void
model_bench_expect_x(model_bench *b, uint32_t slot, double want[][D],
                     size_t n_row)
{
    float got[ROWS][D];
    model_bench_fetch(b, got, b->buf.x, slot, n_row * D);
    model_bench_expect("x", got[0], want[0], n_row * D);
}

void
model_bench_expect_state(model_bench *b, uint32_t item,
                         const model_ref_layer *want)
{
    float got[STATE];
    model_bench_fetch(b, got, b->buf.state, item, STATE);
    model_bench_expect("A", got, want->A[0], (size_t)KEY * D);
    model_bench_expect("z", got + (size_t)KEY * D, want->z, KEY);
}

void
model_bench_embed(model_bench *b, double x[][D], const kernel_cell *cell,
                  uint32_t seed)
{
    int32_t ids[ROWS];
    uint32_t n_token = cell->n_row - cell->n_mem;
    for (uint32_t i = 0; i < n_token; i++)
        ids[i] = (int32_t)((seed * 7 + i * i * 11 + i) % VOCAB);
    EXPECT_OK(
        kernel_copy_in(b->q, b->ids.buf,
                       (cell->slot * b->ids.stride + cell->row0) * sizeof *ids,
                       ids, n_token * sizeof *ids));
    EXPECT_OK(model_embed(b->m, b->q, &b->buf, b->ids, cell, 1));
    EXPECT_OK(kernel_sync(b->q));
    for (uint32_t r = 0; r < cell->n_row; r++) {
        const float *row =
            r < n_token
                ? model_bench_weight(b, WEIGHTS_EMBED, 0, (size_t)ids[r])
                : model_bench_weight(b, WEIGHTS_MEMORY, 0, r - n_token);
        for (int j = 0; j < D; j++)
            x[r][j] = (double)row[j];
    }
}
