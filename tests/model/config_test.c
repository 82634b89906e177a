/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: the golden cases, defaults, refusals by name, and limits. */
#include <stdio.h>
#include <string.h>

#include "tests/expect.h"
#include "tests/model/config_rig.h"

static void
golden_cases_parse(void **state)
{
    static const struct {
        const char *dir;
        uint32_t d_head, d_ffn, segment, n_mem;
        bool correction, l2_norm, tied;
        config_dtype dtype;
    } cases[] = {
        {"armt-llama", 12, 56, 16, 4, true, false, false, CONFIG_F32},
        {"armt-llama-ragged", 12, 36, 20, 3, true, false, false, CONFIG_F32},
        {"armt-llama-tied-llama3rope", 16, 56, 24, 4, true, false, true,
         CONFIG_F32},
        {"armt-llama-nocorrection", 12, 56, 16, 4, false, false, false,
         CONFIG_F32},
        {"armt-llama-bf16", 16, 96, 16, 4, true, false, false, CONFIG_BF16},
        {"armt-llama-keynorm", 12, 56, 16, 4, true, true, false, CONFIG_F32},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        model_config cfg;
        char dir[256];

        (void)snprintf(dir, sizeof(dir), "golden/%s", cases[i].dir);
        EXPECT_OK(config_load(&cfg, dir));
        assert_int_equal(cfg.n_layer, 3);
        assert_int_equal(cfg.d_head, cases[i].d_head);
        assert_int_equal(cfg.d_ffn, cases[i].d_ffn);
        assert_int_equal(cfg.segment_size, cases[i].segment);
        assert_int_equal(cfg.n_mem, cases[i].n_mem);
        assert_int_equal(cfg.d_mem, 8);
        assert_int_equal(cfg.correction, cases[i].correction);
        assert_int_equal(cfg.l2_norm, cases[i].l2_norm);
        assert_int_equal(cfg.tied_head, cases[i].tied);
        assert_int_equal(cfg.dtype, cases[i].dtype);
        assert_true(cfg.rope.theta == 500000.0);
        assert_int_equal(cfg.rope.kind,
                         i == 2 ? CONFIG_ROPE_LLAMA3 : CONFIG_ROPE_PLAIN);
        assert_true(cfg.norm_eps == 1e-5f);
        assert_int_equal(cfg.n_eos, 0);
        assert_int_equal(cfg.bos, -1);
    }
}

/* What each of the other cases has beside the common numbers. */
static void
golden_options(void **state)
{
    static const struct {
        const char *dir;
        config_block block;
        config_memory memory;
        config_generation generation;
        uint32_t n_mem_head, n_sink, n_position;
        bool gating, denom, window, outer, wrap_pos, qkv_bias, l2_norm;
    } cases[] = {
        {.dir = "armt-gpt2",
         .block = CONFIG_BLOCK_GPT2,
         .n_mem_head = 1,
         .n_position = 40,
         .denom = true,
         .wrap_pos = true,
         .qkv_bias = true},
        {.dir = "armt-gpt2-plainpos",
         .block = CONFIG_BLOCK_GPT2,
         .n_mem_head = 1,
         .n_position = 40,
         .denom = true,
         .qkv_bias = true},
        {.dir = "armt-qwen2",
         .n_mem_head = 1,
         .denom = true,
         .qkv_bias = true,
         .l2_norm = true},
        {.dir = "rmt-llama", .memory = CONFIG_MEMORY_TOKENS},
        {.dir = "rmt-gpt2",
         .block = CONFIG_BLOCK_GPT2,
         .memory = CONFIG_MEMORY_TOKENS,
         .n_position = 40,
         .qkv_bias = true},
        {.dir = "armt-llama-heads-gating",
         .n_mem_head = 2,
         .gating = true,
         .denom = true,
         .l2_norm = true},
        {.dir = "armt-llama-nodenom", .n_mem_head = 1, .l2_norm = true},
        {.dir = "armt-llama-inner",
         .generation = CONFIG_ROLLOVER,
         .n_mem_head = 1,
         .denom = true,
         .l2_norm = true},
        {.dir = "armt-llama-sliding-sink",
         .generation = CONFIG_ROLLOVER,
         .n_mem_head = 1,
         .n_sink = 1,
         .denom = true,
         .window = true,
         .l2_norm = true},
        {.dir = "armt-llama-outer-sliding-sink",
         .n_mem_head = 1,
         .n_sink = 1,
         .denom = true,
         .window = true,
         .outer = true,
         .l2_norm = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        model_config cfg;
        char dir[256];

        (void)snprintf(dir, sizeof(dir), "golden/%s", cases[i].dir);
        EXPECT_OK(config_load(&cfg, dir));
        assert_int_equal(cfg.block, cases[i].block);
        assert_int_equal(cfg.memory, cases[i].memory);
        assert_int_equal(cfg.generation, cases[i].generation);
        assert_int_equal(cfg.n_mem_head, cases[i].n_mem_head);
        assert_int_equal(cfg.n_sink, cases[i].n_sink);
        assert_int_equal(cfg.n_position, cases[i].n_position);
        assert_int_equal(cfg.gating, cases[i].gating);
        assert_int_equal(cfg.denom, cases[i].denom);
        assert_int_equal(cfg.window, cases[i].window);
        assert_int_equal(cfg.window_outer, cases[i].outer);
        assert_int_equal(cfg.wrap_pos, cases[i].wrap_pos);
        assert_int_equal(cfg.qkv_bias, cases[i].qkv_bias);
        assert_int_equal(cfg.l2_norm, cases[i].l2_norm);
        assert_true(cfg.n_layer == 3 && cfg.n_mem == 4);
        assert_int_equal(cfg.rope.d_rot,
                         cases[i].n_position > 0 ? 0 : cfg.d_head);
    }
}

static void
defaults(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(config_rig_parse(&cfg, "", ""));
    assert_int_equal(cfg.n_mem, 16);
    assert_int_equal(cfg.d_mem, 512);
    assert_int_equal(cfg.segment_size, 512);
    assert_true(cfg.correction);
    assert_true(cfg.l2_norm);
    assert_false(cfg.tied_head);
    assert_int_equal(cfg.dtype, CONFIG_F32);
    assert_int_equal(cfg.n_kv_head, 4);
    assert_int_equal(cfg.d_head, 12);
    assert_true(cfg.norm_eps == 1e-6f);
    assert_true(cfg.rope.theta == 10000.0);
    assert_int_equal(cfg.rope.kind, CONFIG_ROPE_PLAIN);
    assert_int_equal(config_d_key(&cfg), 3072);
}

/* Without model_type the checkpoint is of the first wrapper: plain keys, and
 * what its tensors do not tell must be said. */
static void
key_norm(void **state)
{
    static const char bare[] = "{\"max_n_segments\":2}";
    static const char raw[] =
        "{\"base_model_config\":{" CONFIG_RIG_BASE "},\"segment_size\":16,"
        "\"num_mem_tokens\":4,\"d_mem\":8,\"correction\":true,"
        "\"use_denom\":true,\"segment_alignment\":\"left\","
        "\"generation\":\"frozen\"}";
    model_config cfg;

    (void)state;
    EXPECT_OK(config_parse(&cfg, raw, strlen(raw), "x"));
    assert_false(cfg.l2_norm);
    config_rig_expect(config_parse(&cfg, bare, strlen(bare), "x"), ST_ARG,
                      "base_model_config, segment_size, num_mem_tokens, d_mem, "
                      "correction, use_denom, segment_alignment, generation");
    EXPECT_OK(config_rig_parse(&cfg, "\"key_norm\":\"none\"", ""));
    assert_false(cfg.l2_norm);
    EXPECT_OK(config_rig_parse(&cfg, "\"key_norm\":\"l2\"", ""));
    assert_true(cfg.l2_norm);
    config_rig_expect(config_rig_parse(&cfg, "\"key_norm\":\"l1\"", ""),
                      ST_UNSUPPORTED, "key_norm");
}

#define SCALING                                                                \
    "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"               \
    "\"original_max_position_embeddings\":64"

static void
rope_scaling(void **state)
{
    static const char *const plain[] = {
        "\"rope_scaling\":null", "\"rope_scaling\":{\"rope_type\":\"default\"}",
        "\"rope_scaling\":{\"type\":null,\"factor\":8}",
        "\"rope_parameters\":{\"rope_type\":\"default\"}"};
    static const char *const llama3[] = {
        "\"rope_theta\":7,\"rope_scaling\":{\"rope_type\":\"llama3\"," SCALING
        "}",
        "\"rope_theta\":7,\"rope_scaling\":{\"type\":\"llama3\"," SCALING "}",
        "\"rope_parameters\":{\"rope_theta\":7,\"rope_type\":"
        "\"llama3\"," SCALING "}"};
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        EXPECT_OK(config_rig_parse(&cfg, "", plain[i]));
        assert_int_equal(cfg.rope.kind, CONFIG_ROPE_PLAIN);
    }
    for (size_t i = 0; i < 3; i++) {
        EXPECT_OK(config_rig_parse(&cfg, "", llama3[i]));
        assert_int_equal(cfg.rope.kind, CONFIG_ROPE_LLAMA3);
        assert_true(cfg.rope.theta == 7 && cfg.rope.factor == 8);
        assert_true(cfg.rope.low_freq_factor == 1);
        assert_true(cfg.rope.high_freq_factor == 4);
        assert_true(cfg.rope.original_max_position == 64);
    }
    config_rig_expect(
        config_rig_parse(&cfg, "",
                         "\"rope_scaling\":{\"rope_type\":\"longrope\"}"),
        ST_UNSUPPORTED, "longrope");
    config_rig_expect(
        config_rig_parse(&cfg, "", "\"rope_scaling\":{\"type\":\"llama3\"}"),
        ST_ARG, "factor");
}

static void
options_refused_by_name(void **state)
{
    static const struct {
        const char *top, *base, *name;
    } cases[] = {
        {"\"n_heads\":2,\"key_norm\":\"none\"", "", "n_heads"},
        {"\"act_on\":true", "", "act_on"},
        {"\"attend_to_previous_input\":true", "", "attend_to_previous_input"},
        {"\"wrap_pos\":true", "", "wrap_pos"},
        {"\"segment_alignment\":\"middle\"", "", "segment_alignment"},
        {"\"segment_alignment\":\"right\",\"architectures\":"
         "[\"InnerLoopARMTForCausalLM\"]",
         "", "segment_alignment"},
        {"\"generation\":\"beam\"", "", "generation"},
        {"\"layers_attr\":\"transformer.h\"", "", "layers_attr"},
        {"\"dtype\":\"int8\"", "", "dtype"},
        {"\"memory_dtype\":\"int8\"", "", "memory_dtype"},
        {"", "\"hidden_act\":\"gelu\"", "hidden_act"},
    };
    static const char *const whole[][2] = {
        {"{\"model_type\":\"rwkv\",\"base_model_config\":{" CONFIG_RIG_BASE
         "}}",
         "rwkv"},
        {"{\"model_type\":\"armt\",\"base_model_config\":{\"model_type\":"
         "\"gemma3_text\"}}",
         "gemma3_text"},
        {"{\"model_type\":\"armt\",\"base_model_name\":\"some/model\"}",
         "base_model_name"},
    };
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        config_rig_expect(config_rig_parse(&cfg, cases[i].top, cases[i].base),
                          ST_UNSUPPORTED, cases[i].name);
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        config_rig_expect(
            config_parse(&cfg, whole[i][0], strlen(whole[i][0]), "x"),
            ST_UNSUPPORTED, whole[i][1]);
}

/* What the options say when they are off, or say nothing that matters. */
static void
harmless_options(void **state)
{
    static const char *const tops[] = {
        "\"sliding_window\":null,\"sliding_window_enabled\":false,"
        "\"act_on\":false,\"attend_to_previous_input\":false",
        "\"wrap_layers\":[true,true,true]",
        "\"wrap_layers\":null",
        "\"memory_dtype\":\"float32\"",
        "\"memory_dtype\":\"bfloat16\",\"freeze_mem\":true",
        "\"architectures\":[\"InnerLoopARMTForCausalLM\"],"
        "\"generation\":\"frozen\"",
        "\"max_hop\":9,\"noisy_halting\":true,\"auto_map\":{\"a\":[1]}",
    };
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++)
        EXPECT_OK(config_rig_parse(&cfg, tops[i], ""));
    EXPECT_OK(config_rig_parse(&cfg, "\"torch_dtype\":\"torch.bfloat16\"", ""));
    assert_int_equal(cfg.dtype, CONFIG_BF16);
    EXPECT_OK(config_rig_parse(&cfg, "\"model_dtype\":\"float16\"", ""));
    assert_int_equal(cfg.dtype, CONFIG_F16);
}

static void
bad_values(void **state)
{
    static const struct {
        const char *top, *base;
    } cases[] = {
        {"\"segment_size\":0", ""},
        {"\"segment_size\":-1", ""},
        {"\"segment_size\":1048577", ""},
        {"\"segment_size\":99999999999999999999", ""},
        {"\"segment_size\":16.0", ""},
        {"\"segment_size\":\"16\"", ""},
        {"\"num_mem_tokens\":0", ""},
        {"\"num_mem_tokens\":65537", ""},
        {"\"d_mem\":0", ""},
        {"\"d_mem\":1000000", ""},
        {"\"correction\":1", ""},
        {"\"trained_state_norms\":1", ""},
        {"\"trained_state_norms\":[1,2]", ""},
        {"\"trained_state_norms\":[1,2,-1]", ""},
        {"\"trained_state_norms\":[1,2,\"3\"]", ""},
        {"\"trained_state_norms\":[1,2,1e39]", ""},
        {"\"wrap_layers\":[true]", ""},
        {"\"wrap_layers\":[1,1,1]", ""},
        {"\"architectures\":\"ARMTForCausalLM\"", ""},
        {"\"eos_token_id\":100", ""},
        {"\"eos_token_id\":-1", ""},
        {"\"eos_token_id\":[1,\"2\"]", ""},
        {"\"eos_token_id\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", ""},
        {"\"bos_token_id\":100", ""},
        {"\"bos_token_id\":[1]", ""},
        {"", "\"num_key_value_heads\":3"},
        {"", "\"num_key_value_heads\":0"},
        {"", "\"num_key_value_heads\":8"},
        {"", "\"head_dim\":7"},
        {"", "\"head_dim\":0"},
        {"", "\"head_dim\":1000000"},
        {"\"sliding_window\":true", ""}, /* of which class? */
        {"\"n_heads\":5", ""},
        {"\"lora_alpha\":-1", ""},
        {"", "\"rms_norm_eps\":0"},
        {"", "\"rms_norm_eps\":\"x\""},
        {"", "\"rope_theta\":0"},
        {"", "\"rope_theta\":-1"},
        {"", "\"rope_scaling\":[]"},
        {"", "\"rope_scaling\":{\"type\":3}"},
        {"", "\"vocab_size\":100"}, /* twice */
    };
    static const char *const whole[] = {
        "",
        "[]",
        "{",
        "nul",
        "{\"model_type\":\"armt\"}",
        "{\"model_type\":\"armt\",\"base_model_config\":[]}",
        "{\"model_type\":\"armt\",\"base_model_config\":{}}",
        "{\"model_type\":\"armt\",\"base_model_config\":"
        "{\"model_type\":\"llama\"}}",
        "{\"model_type\":\"armt\",\"base_model_config\":"
        "{\"model_type\":\"llama\",\"vocab_size\":10,\"hidden_size\":48,"
        "\"intermediate_size\":5,\"num_hidden_layers\":1,"
        "\"num_attention_heads\":5}}"};
    model_config cfg = {.n_layer = 77};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        EXPECT_ST(config_rig_parse(&cfg, cases[i].top, cases[i].base), ST_ARG);
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        EXPECT_ST(config_parse(&cfg, whole[i], strlen(whole[i]), "x"), ST_ARG);
    assert_int_equal(cfg.n_layer, 77); /* nothing is written on failure */
}

/* Two spellings of one switch, and two variants that the class tells apart. */
static void
windows(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(config_rig_parse(
        &cfg,
        "\"sliding_window_enabled\":true,\"sliding_window\":"
        "false,\"architectures\":[\"InnerLoopARMTForCausalLM\"]",
        ""));
    assert_true(cfg.window && !cfg.window_outer);
    assert_int_equal(cfg.generation, CONFIG_ROLLOVER);
    EXPECT_OK(
        config_rig_parse(&cfg,
                         "\"sliding_window\":true,\"generation\":\"rollover\","
                         "\"architectures\":[\"ARMTForCausalLM\"]",
                         ""));
    assert_true(cfg.window && cfg.window_outer);
    assert_int_equal(cfg.generation, CONFIG_ROLLOVER);
    EXPECT_OK(config_rig_parse(&cfg, "\"segment_alignment\":\"center\"", ""));
    assert_true(cfg.align == CONFIG_ALIGN_CENTER && !cfg.window);
}

static void
wrapped_layers(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(config_rig_parse(&cfg, "\"wrap_layers\":[true,false,true]", ""));
    assert_true(!config_is_bare(&cfg, 0) && config_is_bare(&cfg, 1));
    assert_false(config_is_bare(&cfg, 2));
}

static void
trained_norms(void **state)
{
    model_config cfg;

    (void)state;
    EXPECT_OK(config_rig_parse(&cfg, "", ""));
    assert_int_equal(cfg.n_trained_norm, 0);
    EXPECT_OK(
        config_rig_parse(&cfg, "\"trained_state_norms\":[0,1.5,200]", ""));
    assert_int_equal(cfg.n_trained_norm, 3);
    assert_true(cfg.trained_norm[0] == 0 && cfg.trained_norm[1] == 1.5F);
    assert_true(cfg.trained_norm[2] == 200);
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases_parse),
        cmocka_unit_test(golden_options),
        cmocka_unit_test(windows),
        cmocka_unit_test(wrapped_layers),
        cmocka_unit_test(trained_norms),
        cmocka_unit_test(defaults),
        cmocka_unit_test(key_norm),
        cmocka_unit_test(rope_scaling),
        cmocka_unit_test(options_refused_by_name),
        cmocka_unit_test(harmless_options),
        cmocka_unit_test(bad_values),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
