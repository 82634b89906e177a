/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary frequencies under the scalings that checkpoints name. */
#include "model/config.h"

#include <math.h>

static const double TWO_PI = 6.283185307179586476925;

/* Long waves are stretched by `factor`, short ones stay, between them it is
 * blended (Llama 3.1). */
static double
llama3(const config_rope *r, double w)
{
    double wave = TWO_PI / w;
    double t;

    if (wave > r->original_max_position / r->low_freq_factor)
        return w / r->factor;
    if (wave < r->original_max_position / r->high_freq_factor)
        return w;
    t = (r->original_max_position / wave - r->low_freq_factor) /
        (r->high_freq_factor - r->low_freq_factor);
    return (1.0 - t) * w / r->factor + t * w;
}

/* The dimension whose wave turns `turns` times within the original length
 * (Peng et al. 2023, arXiv:2309.00071, equation 17). */
static double
yarn_dimension(const config_rope *r, double turns)
{
    return r->d_rot * log(r->original_max_position / (turns * TWO_PI)) /
           (2.0 * log(r->theta));
}

/* Fast waves stay, slow ones are stretched, linearly between two dimensions.
 */
static double
yarn(const config_rope *r, uint32_t i, double w)
{
    double low = yarn_dimension(r, r->beta_fast);
    double high = yarn_dimension(r, r->beta_slow);
    double t;

    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, (double)r->d_rot - 1.0);
    if (high <= low)
        high = low + 0.001;
    t = fmin(fmax((i - low) / (high - low), 0.0), 1.0);
    return t * w / r->factor + (1.0 - t) * w;
}

void
config_rope_fill(const model_config *cfg, double *freq)
{
    const config_rope *r = &cfg->rope;

    for (uint32_t i = 0; i < r->d_rot / 2; i++) {
        double w = pow(r->theta, -2.0 * i / r->d_rot);

        switch (r->kind) {
        case CONFIG_ROPE_PLAIN:
            freq[i] = w;
            break;
        case CONFIG_ROPE_LINEAR:
            freq[i] = w / r->factor;
            break;
        case CONFIG_ROPE_LLAMA3:
            freq[i] = llama3(r, w);
            break;
        case CONFIG_ROPE_YARN:
            freq[i] = yarn(r, i, w);
            break;
        }
    }
}

float
config_rope_scale(const model_config *cfg)
{
    return cfg->rope.kind == CONFIG_ROPE_YARN
               ? (float)cfg->rope.attention_factor
               : 1.0F;
}
