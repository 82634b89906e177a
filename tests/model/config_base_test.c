/* SPDX-License-Identifier: Apache-2.0 */
/* Base models by family: fields as their files have them, alone and inside a
 * wrapper; rotations against numbers that the reference library gives. */
#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/expect.h"
#include "tests/model/rope_reference.h"

#define SIZES                                                                  \
    "\"vocab_size\":100,\"hidden_size\":48,\"intermediate_size\":56,"          \
    "\"num_hidden_layers\":3,\"num_attention_heads\":4"
#define LLAMA     "\"model_type\":\"llama\"," SIZES ",\"rms_norm_eps\":1e-5"
#define LLAMA_ODD /* heads that do not divide the width */                     \
    "\"model_type\":\"llama\",\"vocab_size\":100,\"hidden_size\":50,"          \
    "\"intermediate_size\":56,\"num_hidden_layers\":3,"                        \
    "\"num_attention_heads\":4,\"rms_norm_eps\":1e-5"
#define MISTRAL                                                                \
    "\"model_type\":\"mistral\"," SIZES ",\"rms_norm_eps\":1e-5,"              \
    "\"num_key_value_heads\":2"
#define QWEN2                                                                  \
    "\"model_type\":\"qwen2\"," SIZES ",\"rms_norm_eps\":1e-6,"                \
    "\"num_key_value_heads\":2"
#define QWEN3                                                                  \
    "\"model_type\":\"qwen3\"," SIZES ",\"rms_norm_eps\":1e-6,"                \
    "\"num_key_value_heads\":2,\"head_dim\":16"
#define GPT2                                                                   \
    "\"model_type\":\"gpt2\",\"vocab_size\":100,\"n_embd\":48,\"n_layer\":3,"  \
    "\"n_head\":4,\"n_positions\":64"
#define NEOX "\"model_type\":\"gpt_neox\"," SIZES ",\"rotary_pct\":0.5"

static status
parse(model_config *cfg, const char *fields, const char *more)
{
    char text[2048];

    (void)snprintf(text, sizeof(text), "{%s%s%s}", fields,
                   more[0] != '\0' ? "," : "", more);
    return config_parse(cfg, text, strlen(text), "config.json");
}

static void
expect_named(status st, status code, const char *name)
{
    if (st != code || strstr(status_text(), name) == NULL)
        fail_msg("got %s (%s), expected %s naming %s", status_name(st),
                 status_text(), status_name(code), name);
}

/* A base model alone keeps what it read in a cache. */
static void
alone(void **state)
{
    static const char *const all[] = {
        LLAMA, MISTRAL ",\"sliding_window\":null", QWEN2, QWEN3, GPT2, NEOX};
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        EXPECT_OK(parse(&cfg, all[i], ""));
        assert_int_equal(cfg.memory, CONFIG_MEMORY_CACHE);
        assert_true(cfg.n_mem == 0 && cfg.segment_size == 1024);
        assert_true(cfg.n_layer == 3 && cfg.d_model == 48 && cfg.n_head == 4);
        assert_true(cfg.span == 0 && cfg.d_mem == 0);
        EXPECT_OK(parse(&cfg, all[i], "\"segment_size\":7"));
        assert_int_equal(cfg.segment_size, 7);
    }
}

static void
llama_family(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(parse(&cfg, LLAMA, ""));
    assert_false(cfg.qkv_bias || cfg.out_bias || cfg.mlp_bias || cfg.qk_norm);
    EXPECT_OK(parse(&cfg, LLAMA, "\"attention_bias\":true,\"mlp_bias\":true"));
    assert_true(cfg.qkv_bias && cfg.out_bias && cfg.mlp_bias);
    EXPECT_OK(parse(&cfg, MISTRAL, "\"sliding_window\":4096"));
    assert_true(cfg.span == 4096 && cfg.n_kv_head == 2 && !cfg.qkv_bias);
    EXPECT_OK(parse(&cfg, QWEN2, "\"sliding_window\":4096"));
    assert_true(cfg.qkv_bias && !cfg.out_bias && cfg.span == 0);
    EXPECT_OK(parse(&cfg, QWEN3, "\"attention_bias\":false"));
    assert_true(cfg.qk_norm && !cfg.qkv_bias && cfg.d_head == 16);
    EXPECT_OK(parse(&cfg, QWEN3, "\"attention_bias\":true"));
    assert_true(cfg.qkv_bias && cfg.out_bias);
}

static void
qwen_windows(void **state)
{
    static const char on[] = "\"use_sliding_window\":true,"
                             "\"sliding_window\":32,";
    static const struct {
        const char *more;
        uint32_t span;
    } cases[] = {
        {"\"max_window_layers\":3", 0},
        {"\"max_window_layers\":0", 32},
        {"\"layer_types\":[\"full_attention\",\"full_attention\","
         "\"full_attention\"]",
         0},
        {"\"layer_types\":[\"sliding_attention\",\"sliding_attention\","
         "\"sliding_attention\"]",
         32},
    };
    char more[512];
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(more, sizeof(more), "%s%s", on, cases[i].more);
        EXPECT_OK(parse(&cfg, QWEN2, more));
        assert_int_equal(cfg.span, cases[i].span);
    }
    (void)snprintf(more, sizeof(more), "%s\"max_window_layers\":1", on);
    expect_named(parse(&cfg, QWEN3, more), ST_UNSUPPORTED, "max_window_layers");
    (void)snprintf(more, sizeof(more),
                   "%s\"layer_types\":[\"full_attention\",\"full_attention\","
                   "\"sliding_attention\"]",
                   on);
    expect_named(parse(&cfg, QWEN3, more), ST_UNSUPPORTED, "layer_types");
    expect_named(parse(&cfg, QWEN3,
                       "\"layer_types\":[\"full_attention\","
                       "\"full_attention\",\"sliding_attention\"]"),
                 ST_UNSUPPORTED, "layer_types");
}

static void
gpt2_and_neox(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(parse(&cfg, GPT2, ""));
    assert_true(cfg.d_ffn == 192 && cfg.n_position == 64 && cfg.tied_head);
    assert_true(cfg.act == CONFIG_ACT_GELU_TANH && cfg.norm_eps == 1e-5f);
    assert_true(cfg.qkv_bias && cfg.out_bias && cfg.mlp_bias);
    assert_true(cfg.rope.d_rot == 0 && cfg.n_kv_head == 4 && cfg.d_head == 12);
    EXPECT_OK(parse(&cfg, GPT2,
                    "\"n_inner\":40,\"activation_function\":\"gelu\","
                    "\"tie_word_embeddings\":false"));
    assert_true(cfg.d_ffn == 40 && cfg.act == CONFIG_ACT_GELU);
    assert_false(cfg.tied_head);
    EXPECT_OK(parse(&cfg, GPT2, "\"activation_function\":\"gelu_python\""));
    assert_int_equal(cfg.act, CONFIG_ACT_GELU);
    EXPECT_OK(parse(&cfg, NEOX, ""));
    assert_true(cfg.parallel && cfg.act == CONFIG_ACT_GELU && !cfg.tied_head);
    assert_true(cfg.qkv_bias && cfg.out_bias && cfg.mlp_bias);
    assert_true(cfg.rope.d_rot == 6 && cfg.rope.theta == 10000);
    EXPECT_OK(parse(&cfg, NEOX,
                    "\"use_parallel_residual\":false,\"rotary_emb_base\":500,"
                    "\"hidden_act\":\"gelu_fast\",\"attention_bias\":false,"
                    "\"layer_norm_eps\":1e-4"));
    assert_true(!cfg.parallel && cfg.act == CONFIG_ACT_GELU_TANH);
    assert_true(!cfg.qkv_bias && !cfg.out_bias && cfg.mlp_bias);
    assert_true(cfg.rope.theta == 500 && cfg.norm_eps == 1e-4f);
    EXPECT_OK(parse(&cfg, "\"model_type\":\"gpt_neox\"," SIZES,
                    "\"rope_parameters\":{\"rope_theta\":77,"
                    "\"partial_rotary_factor\":0.34,"
                    "\"rope_type\":\"default\"}"));
    assert_true(cfg.rope.theta == 77 && cfg.rope.d_rot == 4);
}

static void
in_wrappers(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(parse(
        &cfg, "\"model_type\":\"armt\",\"base_model_config\":{" QWEN3 "}", ""));
    assert_true(cfg.memory == CONFIG_MEMORY_ASSOC && cfg.qk_norm);
    EXPECT_OK(parse(&cfg,
                    "\"model_type\":\"rmt\",\"num_mem_tokens\":4,"
                    "\"segment_size\":16,\"base_model_config\":{" NEOX "}",
                    ""));
    assert_true(cfg.memory == CONFIG_MEMORY_TOKENS && cfg.n_mem == 4);
    assert_int_equal(cfg.block, CONFIG_BLOCK_NEOX);
    /* 56 tokens and 4 memory tokens twice are the table's 64 positions. */
    EXPECT_OK(parse(&cfg,
                    "\"model_type\":\"rmt\",\"num_mem_tokens\":4,"
                    "\"segment_size\":56,\"base_model_config\":{" GPT2 "}",
                    ""));
    expect_named(parse(&cfg,
                       "\"model_type\":\"rmt\",\"num_mem_tokens\":4,"
                       "\"segment_size\":57,\"base_model_config\":{" GPT2 "}",
                       ""),
                 ST_ARG, "65 of 64");
    EXPECT_OK(parse(&cfg,
                    "\"model_type\":\"armt\",\"segment_size\":64,"
                    "\"wrap_pos\":true,\"base_model_config\":{" GPT2 "}",
                    ""));
    assert_true(cfg.wrap_pos);
}

static void
refused(void **state)
{
    static const struct {
        const char *fields, *more;
        status code;
        const char *name;
    } cases[] = {
        {"\"model_type\":\"gemma\"", "", ST_UNSUPPORTED, "gemma"},
        {"\"model_type\":\"llama\"," SIZES, "", ST_ARG, "rms_norm_eps"},
        {MISTRAL, "", ST_ARG, "sliding_window"},
        {MISTRAL, "\"sliding_window\":4,\"attention_bias\":true",
         ST_UNSUPPORTED, "attention_bias"},
        {MISTRAL, "\"sliding_window\":4,\"mlp_bias\":true", ST_UNSUPPORTED,
         "mlp_bias"},
        {QWEN2, "\"mlp_bias\":true", ST_UNSUPPORTED, "mlp_bias"},
        {QWEN3, "\"mlp_bias\":true", ST_UNSUPPORTED, "mlp_bias"},
        {QWEN3, "\"layer_types\":3", ST_ARG, "layer_types"},
        {LLAMA_ODD, "", ST_ARG, "hidden_size"},
        {"\"model_type\":\"qwen2\"," SIZES ",\"rms_norm_eps\":1e-6", "", ST_ARG,
         "num_key_value_heads"},
        {"\"model_type\":\"qwen3\"," SIZES
         ",\"rms_norm_eps\":1e-6,\"num_key_value_heads\":2",
         "", ST_ARG, "head_dim"},
        {LLAMA, "\"hidden_act\":\"gelu\"", ST_UNSUPPORTED, "hidden_act"},
        {LLAMA, "\"partial_rotary_factor\":0.5", ST_UNSUPPORTED,
         "partial_rotary_factor"},
        {GPT2, "\"scale_attn_weights\":false", ST_UNSUPPORTED,
         "scale_attn_weights"},
        {GPT2, "\"scale_attn_by_inverse_layer_idx\":true", ST_UNSUPPORTED,
         "scale_attn_by_inverse_layer_idx"},
        {GPT2, "\"add_cross_attention\":true", ST_UNSUPPORTED,
         "add_cross_attention"},
        {GPT2, "\"activation_function\":\"relu\"", ST_UNSUPPORTED,
         "activation_function"},
        {"\"model_type\":\"gpt2\",\"n_embd\":48", "", ST_ARG, "vocab_size"},
        {"\"model_type\":\"gpt_neox\"," SIZES, "", ST_ARG, "rotary_pct"},
        {NEOX, "\"hidden_act\":\"silu\"", ST_UNSUPPORTED, "hidden_act"},
        {LLAMA, "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}",
         ST_UNSUPPORTED, "dynamic"},
        {LLAMA, "\"rope_scaling\":{\"type\":\"linear\"}", ST_ARG, "factor"},
        {LLAMA, "\"rope_scaling\":{\"type\":\"yarn\"}", ST_ARG, "factor"},
        {LLAMA, "\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4}}",
         ST_UNSUPPORTED, "rope_parameters"},
    };
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_named(parse(&cfg, cases[i].fields, cases[i].more), cases[i].code,
                     cases[i].name);
}

/* Frequencies and factor that the reference library (transformers 5.24) gives
 * for a head of 32 numbers; made by tests/model/rope_reference.py. */
static void
rotations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rope_reference) / sizeof(rope_reference[0]);
         i++) {
        model_config cfg;
        double freq[16];
        char more[512];
        const struct rope_case *want = &rope_reference[i];

        (void)snprintf(more, sizeof(more), "\"head_dim\":32,%s", want->fields);
        EXPECT_OK(parse(&cfg, LLAMA, more));
        assert_int_equal(cfg.rope.d_rot, 32);
        config_rope_fill(&cfg, freq);
        for (size_t k = 0; k < 16; k++)
            if (fabs(freq[k] - want->freq[k]) > 1e-6 * want->freq[k])
                fail_msg("%s: frequency %zu is %.9g, not %.9g", want->fields, k,
                         freq[k], want->freq[k]);
        assert_true(fabs((double)config_rope_scale(&cfg) - want->scale) < 1e-6);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),        cmocka_unit_test(llama_family),
        cmocka_unit_test(qwen_windows), cmocka_unit_test(gpt2_and_neox),
        cmocka_unit_test(in_wrappers),  cmocka_unit_test(refused),
        cmocka_unit_test(rotations),
    };

    return cmocka_run_group_tests_name("config_base", tests, NULL, NULL);
}
