/* SPDX-License-Identifier: Apache-2.0 */
/* What a device computes: the operations of a group.
 *
 * Only between kernel_begin() and kernel_end().  r = rows taken from the cell,
 * every sum in fp32 (or wider).  In every operation the value of a row depends
 * on that row's operands alone and not on r, except where rows are cut into
 * blocks for a product: the blocks depend on r, so r is part of the shape (see
 * "Bits" in kernel.h).  `out` may alias an input only where it says so.
 * Enqueue-only, all. */
#ifndef KERNELS_KERNEL_OPS_H
#define KERNELS_KERNEL_OPS_H

#include "kernels/kernel.h"

/* Rows that enter the model.  Of the cell's rows i = 0 .. r-1
 *   x[i] = prefix[i]                        i < n_prefix
 *   x[i] = table[ids[row0 + i - n_prefix]]  tokens
 *   x[i] = memory[j],  j = i - (r - n_mem)  memory tokens
 * Where `carried` is given and the cell is not fresh, carried[i] and
 * carried[j] stand for prefix[i] and memory[j].  Where `position` is given,
 * position[pos + i] is added, for memory tokens position[mem_pos + j] if
 * mem_pos > 0.  Ids and positions were checked before. */
typedef struct kernel_embed_args {
    kernel_view x;        /* [r, d] by slot */
    kernel_view ids;      /* I32 by slot */
    kernel_view table;    /* [n_vocab, d], item 0; also BF16 or F16 */
    kernel_view prefix;   /* [n_prefix, d], item 0; buf NULL: no prefixes */
    kernel_view memory;   /* [n_mem, d], item 0; buf NULL: no memory tokens */
    kernel_view carried;  /* F32 [n_mem, d] by state; buf NULL: none */
    kernel_view position; /* [.., d], item 0; buf NULL: none */
    uint32_t mem_pos;
    size_t d;
} kernel_embed_args;
status kernel_embed(kernel_queue *q, const kernel_embed_args *a) MUST_USE;

/* out[r, n] = x[r, k] w[n, k]^T (+ bias[n]) (+ out[r, n] if accumulate).
 * `bias.buf` NULL: none.  w may be of another type than x: F32, BF16, F16, or
 * I8 with scale[n] F32, then w[i, :] stands for scale[i] w[i, :]. */
typedef struct kernel_linear_args {
    kernel_view out, x, w, bias, scale;
    size_t n, k;
    kernel_rows rows; /* of x and out */
    bool accumulate;
} kernel_linear_args;
status kernel_linear(kernel_queue *q, const kernel_linear_args *a) MUST_USE;

/* Normalises each of the n_head pieces of d numbers that a row has, every
 * piece by itself with the same w[d]; statistics in fp32, the weight
 * multiplied after the division.  out may be x.  A row of another type than x
 * is rounded once, at the end. */
typedef struct kernel_norm_args {
    kernel_view out, x; /* [r, n_head d] */
    kernel_view w;      /* [d] */
    kernel_view bias;   /* [d], of kernel_layernorm(); buf NULL: none */
    size_t d, n_head;
    float eps;
    kernel_rows rows;
} kernel_norm_args;

/* out = w x / sqrt(mean(x^2) + eps).  (Zhang and Sennrich 2019,
 * arXiv:1910.07467.) */
status kernel_rmsnorm(kernel_queue *q, const kernel_norm_args *a) MUST_USE;

/* out = w (x - mean(x)) / sqrt(var(x) + eps) + bias, var the mean of the
 * squared deviations.  (Ba et al. 2016, arXiv:1607.06450.) */
status kernel_layernorm(kernel_queue *q, const kernel_norm_args *a) MUST_USE;

/* In place on x[r, n_head * d_head] (ld may be larger): half-split rotation of
 * the first d_rot numbers of each head, with h = d_rot / 2 and i < h,
 *   x[i], x[i + h] = c x[i] - s x[i + h],  c x[i + h] + s x[i]
 *   c = scale cos(p freq[i]),  s = scale sin(p freq[i]),  p = pos + row
 * freq F32 [d_rot/2], item 0; scale is 1 except with YaRN.  (Su et al. 2021,
 * arXiv:2104.09864; Peng et al. 2023, arXiv:2309.00071.) */
typedef struct kernel_rope_args {
    kernel_view x, freq;
    size_t n_head, d_head, d_rot;
    float scale;
} kernel_rope_args;
status kernel_rope(kernel_queue *q, const kernel_rope_args *a) MUST_USE;

/* Copies the key and value rows of the cell behind the n_past rows that its
 * cache has: k_cache[n_past + row, :] = k[row, :], likewise v.  The cache is
 * by kv or by state. */
status kernel_kv_append(kernel_queue *q, kernel_view k_cache,
                        kernel_view v_cache, kernel_view k, kernel_view v,
                        size_t d_kv) MUST_USE;

/* Keeps the key and value rows of the cell's tokens, for the segment behind:
 * k_window[t, :] = k[n_prefix + t, :], t < r - n_prefix - n_mem, likewise v. */
status kernel_kv_keep(kernel_queue *q, kernel_view k_window,
                      kernel_view v_window, kernel_view k, kernel_view v,
                      size_t d_kv) MUST_USE;

/* Attention with grouped heads: query head h uses key/value head
 * h / (n_head / n_kv); out = softmax(scale q k^T) v over the keys that the
 * row may see, softmax in fp32.
 * Keys.  k and v by cell: the cell's own rows, n_past counts as 0; by kv or by
 * state: a cache whose rows 0 .. n_past + r - 1 kernel_kv_append() has filled.
 * Row i has index p = n_past + i and sees
 *   keys 0 .. p;  with span > 0 only those above p - span;
 *   if it is a memory token and open_mem is set, all keys.
 * Window.  Where window_k is given and n_window > 0, row i with t = p - n_sink
 * (the token's number in its segment) also sees
 *   t < 0 (the sink): nothing;  a memory token: rows 0 .. n_window - 1;
 *   a token: rows t .. n_window - 1, and if k is a cache only keys from
 *   t - n_window on: the last n_window + n_sink of all rows before it.
 * q, out[r, n_head * d_head]; k, v, window_*[.., n_kv * d_head].  Of q and out
 * KERNEL_ROWS_LATE. */
typedef struct kernel_attention_args {
    kernel_view out, q, k, v;
    kernel_view window_k, window_v; /* by state; buf NULL: none */
    size_t n_head, n_kv, d_head;
    float scale;
    uint32_t n_sink;
    uint32_t span; /* 0: no limit */
    bool open_mem;
} kernel_attention_args;
status kernel_attention(kernel_queue *q,
                        const kernel_attention_args *a) MUST_USE;

/* out[r, d] = silu(gate_up[r, 0 .. d-1]) * gate_up[r, d .. 2d-1], where
 * silu(a) = a / (1 + exp(-a)); KERNEL_ROWS_LATE.  (Shazeer 2020,
 * arXiv:2002.05202.) */
status kernel_swiglu(kernel_queue *q, kernel_view out, kernel_view gate_up,
                     size_t d) MUST_USE;

/* out[r, d] = gelu(x[r, d]) = x/2 (1 + erf(x / sqrt(2))), or with `by_tanh`
 *   x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
 * out may be x; KERNEL_ROWS_LATE.  (Hendrycks and Gimpel 2016,
 * arXiv:1606.08415.) */
status kernel_gelu(kernel_queue *q, kernel_view out, kernel_view x, size_t d,
                   bool by_tanh) MUST_USE;

/* DPFP feature map of order 3 (Schlag et al. 2021, arXiv:2102.11174) of each
 * of the n_head pieces of w = d_mem / n_head numbers that a row has:
 *   u = concat(relu(x), relu(-x))                       length 2 w
 *   out[(j-1) * 2 w + i] = u[i] * u[(i - j) mod 2 w],   j = 1 .. 3
 * and with l2_norm out /= max(|out|_2, 1e-12), piece by piece.
 * x[r, d_mem], out[r, 6 d_mem], both F32. */
typedef struct kernel_dpfp_args {
    kernel_view out, x;
    size_t d_mem, n_head;
    bool l2_norm;
    kernel_rows rows;
} kernel_dpfp_args;
status kernel_dpfp(kernel_queue *q, const kernel_dpfp_args *a) MUST_USE;

/* An associative memory.  With n_head heads, head h has the h-th of n_head
 * equal pieces of features, values and outputs, and its own A and z; all that
 * follows holds for each head by itself with d_key / n_head and
 * d_model / n_head in the places of d_key and d_model. */
typedef struct kernel_assoc {
    kernel_view A; /* F32 or BF16 [n_head, d_key/n_head, d_model/n_head] by
                      state, ld d_model/n_head, heads behind each other */
    kernel_view z; /* F32 [d_key] by state; buf NULL: no denominators */
    size_t d_key, d_model, n_head;
    bool correction; /* g of the write as below; false: g = 1 */
    bool l2_norm;    /* features are normalised: N(k) without the 1e-5 */
    bool gating;     /* a gate for every column instead of one for a head */
} kernel_assoc;

/* Associative read (Rodkin et al. 2024, arXiv:2407.04841):
 *   x[r, d] += (f[r, d_key] A[d_key, d]) / (z . f + 1e-5)
 * Without denominators nothing is divided.  Nothing for fresh and bare cells.
 * f F32 by cell (may be overwritten: a backend may divide it before the
 * product). */
status kernel_assoc_read(kernel_queue *q, kernel_view x, kernel_view f,
                         const kernel_assoc *mem) MUST_USE;

/* Associative write by the delta rule, from n_mem rows (0: no-op, bare: too):
 *   den_m = z . k_m + 1e-5                   no denominators: 1
 *   p_m   = (k_m A) / den_m                  fresh: 0
 *   g_m   = clip(1 - den_m / N(k_m), 0, 1)   fresh, or no correction: 1
 *   A += sum_m outer(k_m, sigmoid(b_m) (v_m - p_m));   z += sum_m g_m k_m
 * N(k) = |k|^2 + 1e-5, or |k|^2 with l2_norm (0 gives g = 0).  All rows read
 * the old A and z.  k[n_mem, d_key], v[n_mem, d_model], b[n_mem, n_head], with
 * gating b[n_mem, d_model]; F32 by cell from row 0; v and k may be
 * overwritten.  A BF16 A is widened, all rows are added in fp32, and each
 * number is rounded once, to the nearest. */
status kernel_assoc_write(kernel_queue *q, const kernel_assoc *mem,
                          kernel_view k, kernel_view v, kernel_view b) MUST_USE;

/* How the next token is drawn from a row of logits l, in this order:
 *   penalty      each id seen, once: l < 0 ? l p : l / p (Keskar et al. 2019,
 *                arXiv:1909.05858, with the sign as Hugging Face has it)
 *   temperature  w = exp(l / temperature); 0: the largest, lowest id on ties
 *   top_k        the k largest, lowest ids of equal ones
 *   top_p        the fewest of the largest with this share of the w left
 *   min_p        those with w >= min_p times the largest w
 * and of what is left, the first id at which the sum of w, by id, passes
 * `uniform` times their total. */
typedef struct kernel_sample_args {
    float temperature;
    float top_p;     /* (0, 1] */
    uint32_t top_k;  /* 0: all */
    float uniform;   /* in [0, 1): the random number of this draw */
    float min_p;     /* [0, 1] */
    float penalty;   /* 0 or 1: none */
    uint32_t n_seen; /* up to KERNEL_SAMPLE_SEEN */
    uint32_t n_top;  /* log-probabilities to report, up to KERNEL_SAMPLE_TOP */
} kernel_sample_args;
enum { KERNEL_SAMPLE_SEEN = 65536, KERNEL_SAMPLE_TOP = 20 };

/* ids[slot item, 0] = the token drawn from the last row of each cell's logits,
 * which stay as they are.  Log-probabilities are of the model's distribution,
 * before everything above: log softmax(l). */
typedef struct kernel_sample_op {
    kernel_view ids;      /* I32 by slot */
    kernel_view logits;   /* F32 [r, n_vocab] by cell */
    kernel_view seen;     /* I32 by slot, state or kv: n_seen ids; buf NULL:
                             none, whatever n_seen says */
    kernel_view logprobs; /* F32 [1 + n_top] by slot: of the token drawn, then
                             of the likeliest; buf NULL: not wanted */
    kernel_view top_ids;  /* I32 [n_top] by slot: the likeliest, first the
                             largest, lowest id on ties; with `logprobs` */
    size_t n_vocab;       /* n_top or more */
    const kernel_sample_args *args; /* one for each cell, copied */
} kernel_sample_op;
status kernel_sample(kernel_queue *q, const kernel_sample_op *op) MUST_USE;

#endif
