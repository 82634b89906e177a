/* SPDX-License-Identifier: Apache-2.0 */
/* Read, block and write, row by row. */
#include "tests/model/model_ref.h"

#include <math.h>
#include <string.h>

void
model_ref_linear(const model_bench *b, double *out, const double *x,
                 weights_kind kind, uint32_t layer, size_t n)
{
    size_t rows = 0, cols = 0;
    weights_shape(&b->cfg, kind, &rows, &cols);
    for (size_t i = 0; i < n; i++) {
        const float *w = model_bench_weight(b, kind, layer, i);
        out[i] = 0;
        for (size_t j = 0; j < cols; j++)
            out[i] += (double)w[j] * x[j];
    }
}

static void
ref_features(const model_bench *b, double *f, const double *x)
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
ref_recall(double *out, const model_ref_layer *s, const double *f, double den)
{
    for (int j = 0; j < D; j++) {
        out[j] = 0;
        for (int i = 0; i < KEY; i++)
            out[j] += f[i] * s->A[i][j];
        out[j] /= den;
    }
}

void
model_ref_read(const model_bench *b, double x[][D], size_t n_row,
               const model_ref_layer *s, uint32_t layer)
{
    for (size_t r = 0; r < n_row && !s->fresh; r++) {
        double p[D_MEM], f[KEY], y[D];
        model_ref_linear(b, p, x[r], WEIGHTS_MEM_Q, layer, D_MEM);
        ref_features(b, f, p);
        ref_recall(y, s, f, dot(s->z, f, KEY) + 1e-5);
        for (int j = 0; j < D; j++)
            x[r][j] += y[j];
    }
}

void
model_ref_norm(double *out, const double *x, const float *w, double eps)
{
    double scale = 1 / sqrt(dot(x, x, D) / D + eps);
    for (int j = 0; j < D; j++)
        out[j] = (double)w[j] * x[j] * scale;
}

static void
ref_rope(const model_bench *b, double *head, size_t pos)
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
ref_attend(double *out, const double *q, const model_ref_layer *s, size_t pos)
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

void
model_ref_block(const model_bench *b, double x[][D], size_t n_row, size_t pos,
                model_ref_layer *s, uint32_t layer)
{
    double eps = (double)b->cfg.norm_eps;
    for (size_t r = 0; r < n_row; r++) {
        double n[D], qkv[D_Q + 2 * D_KV], mixed[D_Q], y[D];
        double gate_up[2 * FFN], act[FFN];
        model_ref_norm(n, x[r], model_bench_weight(b, WEIGHTS_NORM1, layer, 0),
                       eps);
        model_ref_linear(b, qkv, n, WEIGHTS_QKV, layer, D_Q + 2 * D_KV);
        for (int h = 0; h < HEADS + KV_HEADS; h++)
            ref_rope(b, qkv + h * HEAD, pos + r);
        memcpy(s->k[pos + r], qkv + D_Q, sizeof s->k[0]);
        memcpy(s->v[pos + r], qkv + D_Q + D_KV, sizeof s->v[0]);
        ref_attend(mixed, qkv, s, pos + r);
        model_ref_linear(b, y, mixed, WEIGHTS_OUT, layer, D);
        for (int j = 0; j < D; j++)
            x[r][j] += y[j];
        model_ref_norm(n, x[r], model_bench_weight(b, WEIGHTS_NORM2, layer, 0),
                       eps);
        model_ref_linear(b, gate_up, n, WEIGHTS_GATE_UP, layer, 2 * FFN);
        for (int i = 0; i < FFN; i++)
            act[i] = gate_up[i] / (1 + exp(-gate_up[i])) * gate_up[FFN + i];
        model_ref_linear(b, y, act, WEIGHTS_DOWN, layer, D);
        for (int j = 0; j < D; j++)
            x[r][j] += y[j];
    }
}

void
model_ref_write(const model_bench *b, double x[][D], size_t n_row,
                model_ref_layer *s, uint32_t layer)
{
    model_ref_layer old = *s;
    for (size_t r = n_row - MEM; r < n_row; r++) {
        double p[D_MEM], k[KEY], v[D], beta, y[D] = {0}, g = 1;
        model_ref_linear(b, p, x[r], WEIGHTS_MEM_K, layer, D_MEM);
        ref_features(b, k, p);
        model_ref_linear(b, v, x[r], WEIGHTS_MEM_V, layer, D);
        model_ref_linear(b, &beta, x[r], WEIGHTS_MEM_B, layer, 1);
        beta += (double)*model_bench_weight(b, WEIGHTS_MEM_B_BIAS, layer, 0);
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
