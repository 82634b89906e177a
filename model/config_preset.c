/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of synthetic models, for measuring without a checkpoint. */
#include "model/config.h"

#include <string.h>

typedef struct preset {
    const char *name;
    uint32_t d_model, n_layer, n_head, n_kv_head, d_head, d_ffn, n_vocab;
    double theta;
    double factor; /* of llama3 scaling, 0: none */
    bool tied_head;
} preset;

/* The last three are the sizes of Llama 3.2 1B and 3B, and Llama 3.1 8B. */
static const preset presets[] = {
    {"tiny", 64, 4, 4, 2, 16, 176, 512, 1e4, 0, false},
    {"s256", 256, 4, 4, 4, 64, 704, 512, 1e4, 0, false},
    {"s512", 512, 8, 8, 8, 64, 1408, 512, 1e4, 0, false},
    {"armt-llama-160m", 768, 12, 12, 12, 64, 3072, 32000, 1e4, 0, false},
    {"armt-llama-1b", 2048, 16, 32, 8, 64, 8192, 128256, 5e5, 32, true},
    {"armt-llama-3b", 3072, 28, 24, 8, 128, 8192, 128256, 5e5, 32, true},
    {"armt-llama-8b", 4096, 32, 32, 8, 128, 14336, 128256, 5e5, 8, false},
};

static config_rope
rope_of(const preset *p)
{
    return (config_rope){.kind = p->factor > 0 ? CONFIG_ROPE_LLAMA3
                                               : CONFIG_ROPE_PLAIN,
                         .d_rot = p->d_head,
                         .theta = p->theta,
                         .factor = p->factor,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_max_position = 8192};
}

status
config_preset(model_config *out, const char *name)
{
    for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
        const preset *p = &presets[i];
        model_config cfg = {.d_model = p->d_model,
                            .n_layer = p->n_layer,
                            .n_head = p->n_head,
                            .n_kv_head = p->n_kv_head,
                            .d_head = p->d_head,
                            .d_ffn = p->d_ffn,
                            .n_vocab = p->n_vocab,
                            .norm_eps = 1e-5f,
                            .tied_head = p->tied_head,
                            .rope = rope_of(p),
                            .segment_size = 1024,
                            .n_mem = 128,
                            .d_mem = 64,
                            .n_mem_head = 1,
                            .correction = true,
                            .denom = true,
                            .dtype = CONFIG_F32,
                            .bos = -1};
        status st;

        if (strcmp(p->name, name) != 0)
            continue;
        st = config_check(&cfg);
        if (st == ST_OK)
            *out = cfg;
        return st;
    }
    return status_fail(ST_NOTFOUND,
                       "no preset named %s; there are tiny, s256, s512, "
                       "armt-llama-160m, armt-llama-1b, armt-llama-3b and "
                       "armt-llama-8b",
                       name);
}
