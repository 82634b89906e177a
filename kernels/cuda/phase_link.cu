/* SPDX-License-Identifier: Apache-2.0 */
/* Where phases find what those before them wrote: in which box, or behind a
 * barrier (phase_box.cuh). */
#include "kernels/cuda/phase_keys.cuh"

namespace
{

using namespace phase;

enum {
    BOXES = 8,
    BOX_BYTES = CUDA_PROGRAM_BOXES / BOXES,
    BOX_NUMBERS = BOX_BYTES / 4, /* of bf16 */
    NEAR = 16                    /* phases that are looked at */
};

/* What a phase writes, and how many numbers. */
const void *
written(const Phase &p, uint32_t *n)
{
    switch (p.kind) {
    case PRODUCT:
        *n = p.product.wide ? 2 * p.product.n : p.product.n;
        return p.product.out;
    case EMBED:
        *n = p.embed.d;
        return p.embed.x;
    case READ:
        *n = p.read.d;
        return p.read.x;
    case ATTEND:
        *n = p.attend.n_head * D;
        return p.attend.out;
    default:
        *n = 0;
        return nullptr;
    }
}

/* Numbers that a phase needs, as written() counts them; at NULL: none. */
struct Need {
    const void *at;
    size_t n;
};

/* What it reads, and what it adds to. */
Need
needed(const Phase &p, Need *old)
{
    *old = {nullptr, 0};
    switch (p.kind) {
    case PRODUCT:
        if (p.product.finish == CUDA_ADD)
            *old = {p.product.out, p.product.n};
        return {p.product.x, p.product.k};
    case READ:
        *old = {p.read.x, p.read.d};
        return {p.read.proj, size_t{2} * p.read.w};
    case ATTEND:
        return {p.attend.q,
                size_t{p.attend.v_new} + p.attend.n_head / p.attend.group * D};
    default:
        return {nullptr, 0};
    }
}

/* The box of the last of phases .. i - 1 that wrote there, `far` at most before
 * i; false: that one has none, is further away, or wrote less or more before
 * it, or none was found though there are more. */
bool
box_of(Phase *const *at, uint32_t i, const Need &what, uint32_t far, Box *box)
{
    uint32_t n = 0;

    *box = {nullptr, 0};
    for (uint32_t j = i; what.at != nullptr && j-- > 0;) {
        const char *out = static_cast<const char *>(written(*at[j], &n));

        if (what.at >= out && what.at < out + n * sizeof(bf16)) {
            *box = at[j]->out;
            return what.at == out && what.n <= n && i - j <= far &&
                   box->at != nullptr;
        }
    }
    return what.at == nullptr || i < NEAR;
}

/* Whether plain memory must have what phase i writes: nobody in the launch
 * writes it again before it is read from there. */
bool
is_kept(const cuda_phase *phases, uint32_t i, uint32_t n_phase)
{
    uint32_t n = 0;
    const void *out =
        written(*reinterpret_cast<const Phase *>(phases[i].word), &n);

    for (i++; i < n_phase; i++) {
        const Phase &p = *reinterpret_cast<const Phase *>(phases[i].word);

        if (p.waits || written(p, &n) == out)
            return p.waits;
    }
    return true;
}

/* Whether a phase before it put a key into the same cache. */
bool
has_keys(const cuda_phase *phases, uint32_t i)
{
    const Phase &p = *reinterpret_cast<const Phase *>(phases[i].word);

    for (uint32_t j = 0; p.kind == ATTEND && j < i; j++) {
        const Phase &other = *reinterpret_cast<const Phase *>(phases[j].word);

        if (other.kind == ATTEND && other.attend.k == p.attend.k)
            return true;
    }
    return false;
}

} // namespace

void
cuda_phase_link(cuda_phase *phases, uint32_t n_phase, char *boxes,
                uint32_t number, uint32_t n_sm)
{
    uint32_t full = 0; /* the last phase that is every block's */

    for (uint32_t i = 0; i < n_phase; i++) {
        Phase *at[NEAR + 1] = {};
        Phase &p = *reinterpret_cast<Phase *>(phases[i].word);
        uint32_t n = 0, n_near = min(i, uint32_t{NEAR});
        Need old, in = needed(p, &old);
        const void *out = written(p, &n);

        for (uint32_t j = 0; j <= n_near; j++)
            at[j] = reinterpret_cast<Phase *>(phases[i - n_near + j].word);
        p.out = {nullptr, number + i};
        if (out != nullptr && n <= BOX_NUMBERS && n % 2 == 0)
            p.out.at = reinterpret_cast<unsigned long long *>(
                boxes + (number + i) % BOXES * BOX_BYTES);
        bool near = box_of(at, n_near, in, 1, &p.in) &&
                    box_of(at, n_near, old, 3, &p.old);
        p.waits = i > 0 && (!near || has_keys(phases, i) ||
                            p.in.at == nullptr || i - full > 4);
        if (p.waits)
            p.in = p.old = {nullptr, 0};
        if (p.waits || (p.kind == PRODUCT && p.product.n_unit >= n_sm))
            full = i;
    }
    for (uint32_t i = 0; i < n_phase; i++)
        reinterpret_cast<Phase *>(phases[i].word)->kept =
            is_kept(phases, i, n_phase);
}
