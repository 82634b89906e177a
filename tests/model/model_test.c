/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's kernel calls against the formulas, in double precision: read,
 * block and write, fresh and later segments, short ones, frozen rows. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

enum {
    LAYERS = 3,
    D = 32,
    HEADS = 4,
    KV_HEADS = 2,
    HEAD = 6,
    FFN = 40,
    VOCAB = 50,
    SEGMENT = 12,
    MEM = 3,
    D_MEM = 5,
    KEY = 6 * D_MEM,
    ROWS = SEGMENT + MEM,
    D_Q = HEADS * HEAD,
    D_KV = KV_HEADS * HEAD,
    STATE = KEY * D + KEY,
    KV_CAP = 20,
    SLOTS = 4,
    MAX_VALUES = LAYERS * 2 * FFN * D /* of the largest kind */
};

/* Host copies of the weights that the device got, for the formulas. */
typedef struct bench {
    kernel_device *dev;
    kernel_queue *q;
    model_config cfg;
    model *m;
    model_buffers buf;
    kernel_view ids, logits;
    float w[WEIGHTS_N_KIND][MAX_VALUES];
} bench;

/* The state of one layer and, for frozen rows, its keys and values. */
typedef struct ref_layer {
    double A[KEY][D], z[KEY];
    double k[KV_CAP][D_KV], v[KV_CAP][D_KV];
    bool fresh;
} ref_layer;

/* ------------------------------------------------------------ formulas --- */

static const float *
weight(const bench *b, weights_kind kind, uint32_t layer, size_t row)
{
    size_t rows = 0, cols = 0;
    weights_shape(&b->cfg, kind, &rows, &cols);
    return b->w[kind] + (layer * rows + row) * cols;
}

/* out[n] = w x for rows row .. row + n - 1 of a kind. */
static void
ref_linear(const bench *b, double *out, const double *x, weights_kind kind,
           uint32_t layer, size_t n)
{
    size_t rows = 0, cols = 0;
    weights_shape(&b->cfg, kind, &rows, &cols);
    for (size_t i = 0; i < n; i++) {
        const float *w = weight(b, kind, layer, i);
        out[i] = 0;
        for (size_t j = 0; j < cols; j++)
            out[i] += (double)w[j] * x[j];
    }
}

static void
ref_features(const bench *b, double *f, const double *x)
{
    double u[2 * D_MEM], norm = 0;
    for (int i = 0; i < D_MEM; i++) {
        u[i] = x[i] > 0 ? x[i] : 0;
        u[i + D_MEM] = x[i] < 0 ? -x[i] : 0;
    }
    for (int j = 1; j <= 3; j++)
        for (int i = 0; i < 2 * D_MEM; i++) {
            double y = u[i] * u[(i - j + 2 * D_MEM) % (2 * D_MEM)];
            f[(j - 1) * 2 * D_MEM + i] = y;
            norm += y * y;
        }
    norm = sqrt(norm) > 1e-12 ? sqrt(norm) : 1e-12;
    for (int i = 0; i < KEY && b->cfg.l2_norm; i++)
        f[i] /= norm;
}

static double
dot(const double *a, const double *c, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * c[i];
    return sum;
}

/* out[D] = f A / den */
static void
ref_recall(double *out, const ref_layer *s, const double *f, double den)
{
    for (int j = 0; j < D; j++) {
        out[j] = 0;
        for (int i = 0; i < KEY; i++)
            out[j] += f[i] * s->A[i][j];
        out[j] /= den;
    }
}

static void
ref_read(const bench *b, double x[][D], size_t n_row, const ref_layer *s,
         uint32_t layer)
{
    for (size_t r = 0; r < n_row && !s->fresh; r++) {
        double p[D_MEM], f[KEY], y[D];
        ref_linear(b, p, x[r], WEIGHTS_MEM_Q, layer, D_MEM);
        ref_features(b, f, p);
        ref_recall(y, s, f, dot(s->z, f, KEY) + 1e-5);
        for (int j = 0; j < D; j++)
            x[r][j] += y[j];
    }
}

static void
ref_norm(double *out, const double *x, const float *w, double eps)
{
    double scale = 1 / sqrt(dot(x, x, D) / D + eps);
    for (int j = 0; j < D; j++)
        out[j] = (double)w[j] * x[j] * scale;
}

static void
ref_rope(const bench *b, double *head, size_t pos)
{
    for (int i = 0; i < HEAD / 2; i++) {
        double w = pow(b->cfg.rope.theta, -2.0 * i / HEAD);
        double c = cos((double)pos * w), s = sin((double)pos * w);
        double x0 = head[i], x1 = head[i + HEAD / 2];
        head[i] = x0 * c - x1 * s;
        head[i + HEAD / 2] = x1 * c + x0 * s;
    }
}

/* out[D_Q]: one query row over keys 0 .. pos. */
static void
ref_attend(double *out, const double *q, const ref_layer *s, size_t pos)
{
    for (int h = 0; h < HEADS; h++) {
        int g = h / (HEADS / KV_HEADS) * HEAD;
        double p[KV_CAP], sum = 0;
        memset(out + h * HEAD, 0, HEAD * sizeof *out);
        for (size_t j = 0; j <= pos; j++) {
            p[j] = exp(dot(q + h * HEAD, s->k[j] + g, HEAD) / sqrt(HEAD));
            sum += p[j];
        }
        for (size_t j = 0; j <= pos; j++)
            for (int i = 0; i < HEAD; i++)
                out[h * HEAD + i] += p[j] / sum * s->v[j][g + i];
    }
}

/* Rows at positions pos ..; keys and values of earlier ones are in s. */
static void
ref_block(const bench *b, double x[][D], size_t n_row, size_t pos, ref_layer *s,
          uint32_t layer)
{
    double eps = (double)b->cfg.norm_eps;
    for (size_t r = 0; r < n_row; r++) {
        double n[D], qkv[D_Q + 2 * D_KV], mixed[D_Q], y[D];
        double gate_up[2 * FFN], act[FFN];
        ref_norm(n, x[r], weight(b, WEIGHTS_NORM1, layer, 0), eps);
        ref_linear(b, qkv, n, WEIGHTS_QKV, layer, D_Q + 2 * D_KV);
        for (int h = 0; h < HEADS + KV_HEADS; h++)
            ref_rope(b, qkv + h * HEAD, pos + r);
        memcpy(s->k[pos + r], qkv + D_Q, sizeof s->k[0]);
        memcpy(s->v[pos + r], qkv + D_Q + D_KV, sizeof s->v[0]);
        ref_attend(mixed, qkv, s, pos + r);
        ref_linear(b, y, mixed, WEIGHTS_OUT, layer, D);
        for (int j = 0; j < D; j++)
            x[r][j] += y[j];
        ref_norm(n, x[r], weight(b, WEIGHTS_NORM2, layer, 0), eps);
        ref_linear(b, gate_up, n, WEIGHTS_GATE_UP, layer, 2 * FFN);
        for (int i = 0; i < FFN; i++)
            act[i] = gate_up[i] / (1 + exp(-gate_up[i])) * gate_up[FFN + i];
        ref_linear(b, y, act, WEIGHTS_DOWN, layer, D);
        for (int j = 0; j < D; j++)
            x[r][j] += y[j];
    }
}

static void
ref_write(const bench *b, double x[][D], size_t n_row, ref_layer *s,
          uint32_t layer)
{
    ref_layer old = *s;
    for (size_t r = n_row - MEM; r < n_row; r++) {
        double p[D_MEM], k[KEY], v[D], beta, y[D] = {0}, g = 1;
        ref_linear(b, p, x[r], WEIGHTS_MEM_K, layer, D_MEM);
        ref_features(b, k, p);
        ref_linear(b, v, x[r], WEIGHTS_MEM_V, layer, D);
        ref_linear(b, &beta, x[r], WEIGHTS_MEM_B, layer, 1);
        beta += (double)*weight(b, WEIGHTS_MEM_B_BIAS, layer, 0);
        beta = 1 / (1 + exp(-beta));
        if (!old.fresh) {
            double den = dot(old.z, k, KEY) + 1e-5;
            double size = dot(k, k, KEY) + (b->cfg.l2_norm ? 0 : 1e-5);
            ref_recall(y, &old, k, den);
            if (b->cfg.correction)
                g = fmin(fmax(1 - den / size, 0), 1);
        }
        for (int i = 0; i < KEY; i++) {
            for (int j = 0; j < D; j++)
                s->A[i][j] += beta * k[i] * (v[j] - y[j]);
            s->z[i] += g * k[i];
        }
    }
    s->fresh = false;
}

/* -------------------------------------------------------------- device --- */

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
fill(bench *b, weights *w)
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
                                  weight(b, kind, layer, 0)));
    }
}

static kernel_view
new_view(bench *b, kernel_type type, kernel_by by, size_t rows, size_t cols,
         size_t n_item)
{
    kernel_view v = {.type = type, .by = by, .stride = rows * cols, .ld = cols};
    EXPECT_OK(kernel_buf_new(&v.buf, b->dev, KERNEL_KEEP,
                             rows * cols * kernel_type_size(type), n_item));
    return v;
}

static bench *
bench_open(const char *device, bool l2_norm, bool correction)
{
    bench *b = NULL;
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

static void
bench_close(bench *b)
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

/* Item `item` of a buffer to the host. */
static void
fetch(bench *b, void *out, kernel_view v, size_t item, size_t n)
{
    size_t size = kernel_type_size(v.type);
    EXPECT_OK(
        kernel_copy_out(b->q, out, v.buf, item * v.stride * size, n * size));
    EXPECT_OK(kernel_sync(b->q));
}

/* max|got - want| / max|want| stays below what fp32 leaves. */
static void
expect_close(const char *what, const float *got, const double *want, size_t n)
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

static void
expect_x(bench *b, uint32_t slot, double want[][D], size_t n_row)
{
    float got[ROWS][D];
    fetch(b, got, b->buf.x, slot, n_row * D);
    expect_close("x", got[0], want[0], n_row * D);
}

static void
expect_state(bench *b, uint32_t item, const ref_layer *want)
{
    float got[STATE];
    fetch(b, got, b->buf.state, item, STATE);
    expect_close("A", got, want->A[0], (size_t)KEY * D);
    expect_close("z", got + (size_t)KEY * D, want->z, KEY);
}

/* Puts ids of a segment in place and embeds them; x as the formulas want. */
static void
embed(bench *b, double x[][D], const kernel_cell *cell, uint32_t seed)
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
        const float *row = r < n_token
                               ? weight(b, WEIGHTS_EMBED, 0, (size_t)ids[r])
                               : weight(b, WEIGHTS_MEMORY, 0, r - n_token);
        for (int j = 0; j < D; j++)
            x[r][j] = (double)row[j];
    }
}

/* --------------------------------------------------------------- tests --- */

static const char *const devices[] = {"cpu", "cpu-async"};

static void
expect_head(bench *b, const kernel_cell *cell, double x[][D])
{
    float got[ROWS][VOCAB];
    double n[D], want[ROWS][VOCAB];
    kernel_sample_args greedy = {.top_p = 1};
    int32_t id = -1, best = 0;
    kernel_cell tokens = *cell;
    tokens.n_row -= cell->n_mem;
    tokens.n_mem = 0;
    EXPECT_OK(model_head(b->m, b->q, &b->buf, &tokens, 1, b->logits,
                         &(kernel_sample_op){.ids = b->ids, .args = &greedy}));
    fetch(b, got, b->logits, 0, (size_t)tokens.n_row * VOCAB);
    fetch(b, &id, b->ids, cell->slot, 1);
    for (uint32_t r = 0; r < tokens.n_row; r++) {
        ref_norm(n, x[r], weight(b, WEIGHTS_NORM_F, 0, 0),
                 (double)b->cfg.norm_eps);
        ref_linear(b, want[r], n, WEIGHTS_HEAD, 0, VOCAB);
    }
    expect_close("logits", got[0], want[0], (size_t)tokens.n_row * VOCAB);
    for (int32_t i = 0; i < VOCAB; i++)
        if (want[tokens.n_row - 1][i] > want[tokens.n_row - 1][best])
            best = i;
    assert_int_equal(id, best);
}

/* Three segments, the last one short, through all layers: fresh, then not. */
static void
check_document(bench *b, bool by_phase)
{
    static const uint32_t n_token[] = {SEGMENT, SEGMENT, 5};
    ref_layer s[LAYERS];
    double x[ROWS][D];
    memset(s, 0, sizeof s);
    EXPECT_OK(kernel_zero(b->q, b->buf.state.buf, 0,
                          kernel_buf_bytes(b->buf.state.buf)));
    for (uint32_t seg = 0; seg < 3; seg++) {
        kernel_cell c = {.slot = seg,
                         .n_row = n_token[seg] + MEM,
                         .n_mem = MEM,
                         .fresh = seg == 0};
        embed(b, x, &c, seg);
        expect_x(b, seg, x, c.n_row);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            c.layer = c.state = c.kv = layer;
            s[layer].fresh = seg == 0;
            ref_read(b, x, c.n_row, &s[layer], layer);
            if (by_phase) {
                EXPECT_OK(
                    model_run(b->m, b->q, &b->buf, &c, 1, false, MODEL_READ));
                expect_x(b, seg, x, c.n_row);
            }
            ref_block(b, x, c.n_row, 0, &s[layer], layer);
            ref_write(b, x, c.n_row, &s[layer], layer);
            EXPECT_OK(
                model_run(b->m, b->q, &b->buf, &c, 1, false,
                          by_phase ? MODEL_BLOCK | MODEL_WRITE : MODEL_ALL));
            expect_x(b, seg, x, c.n_row);
            expect_state(b, layer, &s[layer]);
        }
        expect_head(b, &c, x);
    }
}

static void
documents(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        bench *b = bench_open(devices[i % 2], i & 2, i & 4);
        check_document(b, i & 8);
        bench_close(b);
    }
}

/* x of two segments and the states, after a diagonal of groups or cell by
 * cell. */
static void
run_two(bench *b, bool grouped, float x[2][ROWS * D], float *states)
{
    double unused[ROWS][D];
    kernel_cell c[2] = {{.n_row = ROWS, .n_mem = MEM, .fresh = 1},
                        {.slot = 1, .n_row = 4 + MEM, .n_mem = MEM}};
    EXPECT_OK(kernel_zero(b->q, b->buf.state.buf, 0,
                          kernel_buf_bytes(b->buf.state.buf)));
    embed(b, unused, &c[0], 1);
    embed(b, unused, &c[1], 2);
    for (uint32_t t = 0; t <= LAYERS; t++) {
        kernel_cell group[2];
        uint32_t n = 0;
        for (uint32_t seg = 0; seg < 2; seg++) {
            if (t < seg || t - seg >= LAYERS)
                continue;
            group[n] = c[seg];
            group[n].layer = group[n].state = t - seg;
            n++;
        }
        for (uint32_t i = 0; i < n; i += grouped ? n : 1)
            EXPECT_OK(model_run(b->m, b->q, &b->buf, group + i, grouped ? n : 1,
                                false, MODEL_ALL));
    }
    fetch(b, x[0], b->buf.x, 0, (size_t)c[0].n_row * D);
    fetch(b, x[1], b->buf.x, 1, (size_t)c[1].n_row * D);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        fetch(b, states + (size_t)layer * STATE, b->buf.state, layer, STATE);
}

/* A group gives every cell the bits that it has alone. */
static void
groups(void **state)
{
    (void)state;
    static float x[2][2][ROWS * D], states[2][LAYERS * STATE];
    for (unsigned i = 0; i < 2; i++) {
        bench *b = bench_open(devices[i], true, true);
        memset(x, 0, sizeof x);
        run_two(b, false, x[0], states[0]);
        run_two(b, true, x[1], states[1]);
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_memory_equal(states[0], states[1], sizeof states[0]);
        bench_close(b);
    }
}

/* Reads one segment into the memory, so that frozen rows find something. */
static void
read_segment(bench *b, ref_layer s[LAYERS])
{
    double x[ROWS][D];
    kernel_cell c = {.n_row = ROWS, .n_mem = MEM, .fresh = 1};
    memset(s, 0, LAYERS * sizeof *s);
    embed(b, x, &c, 5);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        c.layer = c.state = c.kv = layer;
        ref_block(b, x, ROWS, 0, &s[layer], layer);
        ref_write(b, x, ROWS, &s[layer], layer);
        s[layer].fresh = false;
        EXPECT_OK(model_run(b->m, b->q, &b->buf, &c, 1, false, MODEL_ALL));
    }
}

/* A prompt and single rows after it equal the same rows at once, and the
 * memory is only read. */
static void
check_frozen(bench *b)
{
    static ref_layer s[LAYERS];
    double x[ROWS][D];
    uint32_t prompt = 6, n_step = 4;
    read_segment(b, s);
    for (uint32_t step = 0; step <= n_step; step++) {
        uint32_t pos = step == 0 ? 0 : prompt + step - 1;
        kernel_cell c = {.slot = 2,
                         .row0 = pos,
                         .pos = pos,
                         .n_past = pos,
                         .n_row = step == 0 ? prompt : 1};
        embed(b, x, &c, 31 + step);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            float got[ROWS][D];
            c.layer = c.state = c.kv = layer;
            ref_read(b, x, c.n_row, &s[layer], layer);
            ref_block(b, x, c.n_row, pos, &s[layer], layer);
            EXPECT_OK(model_run(b->m, b->q, &b->buf, &c, 1, true, MODEL_ALL));
            fetch(b, got, b->buf.x, c.slot, (size_t)ROWS * D);
            expect_close("frozen x", got[pos], x[0], (size_t)c.n_row * D);
            expect_state(b, layer, &s[layer]);
        }
    }
}

static void
frozen(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bench *b = bench_open(devices[i % 2], i & 2, true);
        check_frozen(b);
        bench_close(b);
    }
}

/* A device with limits says which one a model is beyond. */
static void
limits_are_named(void **state)
{
    const kernel_info gpu = {
        .device = "cuda", .max_head = 512, .max_feature = 1536};
    const kernel_info cpu = {.device = "cpu"};
    model_config c;

    (void)state;
    EXPECT_OK(config_preset(&c, "tiny"));
    EXPECT_OK(model_supported(&c, &gpu));
    c.d_head = 512;
    c.d_mem = 4 * 1536;
    c.n_mem_head = 4;
    EXPECT_OK(model_supported(&c, &gpu));
    c.d_head = 513;
    EXPECT_ST(model_supported(&c, &gpu), ST_UNSUPPORTED);
    assert_non_null(strstr(status_text(), "heads of 513"));
    EXPECT_OK(model_supported(&c, &cpu));
    c.d_head = 64;
    c.n_mem_head = 3;
    EXPECT_ST(model_supported(&c, &gpu), ST_UNSUPPORTED);
    assert_non_null(strstr(status_text(), "d_mem 2048 a head"));
    c.memory = CONFIG_MEMORY_TOKENS;
    EXPECT_OK(model_supported(&c, &gpu));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(groups),
        cmocka_unit_test(frozen),
        cmocka_unit_test(limits_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
