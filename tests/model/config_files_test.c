/* SPDX-License-Identifier: Apache-2.0 */
/* What stands beside config.json, in files and in what is given, and the fields
 * that nothing reads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/expect.h"
#include "tests/model/config_rig.h"

static void
end_tokens(void **state)
{
    char dir[] = "/tmp/longwave-config-XXXXXX";
    char path[512];
    model_config cfg;

    (void)state;
    EXPECT_OK(
        config_rig_parse(&cfg, "", "\"eos_token_id\":5,\"bos_token_id\":6"));
    assert_true(cfg.n_eos == 1 && cfg.eos[0] == 5 && cfg.bos == 6);
    EXPECT_OK(
        config_rig_parse(&cfg, "\"eos_token_id\":[7,8]", "\"eos_token_id\":5"));
    assert_true(cfg.n_eos == 2 && cfg.eos[0] == 7 && cfg.eos[1] == 8);

    assert_non_null(mkdtemp(dir));
    EXPECT_ST(config_load(&cfg, dir), ST_NOTFOUND);
    config_rig_write(dir, "config.json",
                     config_rig_text("\"eos_token_id\":1", ""));
    EXPECT_OK(config_load(&cfg, dir));
    assert_true(cfg.n_eos == 1 && cfg.eos[0] == 1);
    config_rig_write(dir, "generation_config.json", "{\"eos_token_id\":[2,3]}");
    EXPECT_OK(config_load(&cfg, dir));
    assert_true(cfg.n_eos == 2 && cfg.eos[0] == 2 && cfg.eos[1] == 3);
    config_rig_write(dir, "generation_config.json",
                     "{\"eos_token_id\":[2000]}");
    EXPECT_ST(config_load(&cfg, dir), ST_ARG);

    (void)snprintf(path, sizeof(path), "%s/config.json", dir);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/generation_config.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    EXPECT_ST(config_load(&cfg, dir), ST_NOTFOUND);
}

/* Fields that nothing reads are named, those of the base model as such. */
static void
unread_fields(void **state)
{
    char dir[] = "/tmp/longwave-config-XXXXXX";
    char path[512], top[2600] = "\"d_mem\":8,\"a\\n\":1,\"use_denom\":null,"
                                "\"gating\":false,\"freeze_mem\":false";
    model_config cfg;
    config_unread unread;

    (void)state;
    assert_non_null(mkdtemp(dir));
    config_rig_write(
        dir, "config.json",
        config_rig_text(top, "\"use_cache\":true,\"rope_theta\":5"));
    EXPECT_OK(config_load_unread(&cfg, &unread, dir, NULL));
    assert_string_equal(unread.list,
                        "a?, freeze_mem, base_model_config.use_cache");
    assert_int_equal(unread.n, 3);
    for (int i = 0; i < 150; i++)
        (void)snprintf(top + strlen(top), sizeof(top) - strlen(top),
                       ",\"field%d\":0", i);
    config_rig_write(dir, "config.json", config_rig_text(top, ""));
    EXPECT_OK(config_load_unread(&cfg, &unread, dir, NULL));
    assert_int_equal(unread.n, 152);
    assert_true(unread.n_listed > 90 && unread.n_listed < 152);
    assert_true(strlen(unread.list) > 980);
    (void)snprintf(path, sizeof(path), "%s/config.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* What is said beside the files wins, and may be what they leave out. */
static void
given_beside_the_files(void **state)
{
    static const char *const raw[] = {
        "{\"base_model_config\":{" CONFIG_RIG_BASE "},",
        "\"num_mem_tokens\":4,\"d_mem\":8,\"correction\":true,"
        "\"use_denom\":true,\"segment_alignment\":\"left\","
        "\"generation\":\"frozen\"}"};
    char dir[] = "/tmp/longwave-config-XXXXXX";
    char path[512], text[4096];
    const config_given given = {
        .segment_size = 24, .key_norm = "l2", .lora_alpha = 5};
    const config_given bad = {.segment_size = 24, .key_norm = "l3"};
    const config_given narrow = {.segment_size = 24, .state_type = "bf16"};
    const config_given f16 = {.segment_size = 24, .state_type = "f16"};
    model_config cfg;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(text, sizeof(text), "%s%s", raw[0], raw[1]);
    config_rig_write(dir, "config.json", text);
    config_rig_expect(config_load(&cfg, dir), ST_ARG, "segment_size");
    EXPECT_OK(config_load_given(&cfg, dir, &given));
    assert_int_equal(cfg.segment_size, 24);
    assert_true(cfg.l2_norm);
    assert_true(cfg.lora_alpha == 5);
    assert_int_equal(cfg.state_type, CONFIG_F32);
    config_rig_expect(config_load_given(&cfg, dir, &bad), ST_UNSUPPORTED, "l3");
    EXPECT_OK(config_load_given(&cfg, dir, &narrow));
    assert_int_equal(cfg.state_type, CONFIG_BF16);
    config_rig_expect(config_load_given(&cfg, dir, &f16), ST_ARG, "f16");
    (void)snprintf(text, sizeof(text), "%s\"segment_size\":16,%s", raw[0],
                   raw[1]);
    config_rig_write(dir, "config.json", text);
    EXPECT_OK(config_load(&cfg, dir));
    assert_int_equal(cfg.segment_size, 16);
    assert_false(cfg.l2_norm);
    EXPECT_OK(config_load_given(&cfg, dir, &given));
    assert_int_equal(cfg.segment_size, 24);
    config_rig_write(dir, "config.json", "{" CONFIG_RIG_BASE "}");
    config_rig_expect(config_load_given(&cfg, dir, &given), ST_ARG, "key_norm");
    config_rig_expect(config_load_given(&cfg, dir, &narrow), ST_ARG,
                      "--state-type");
    (void)snprintf(path, sizeof(path), "%s/config.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void
lora_alpha(void **state)
{
    char dir[] = "/tmp/longwave-config-XXXXXX";
    char path[512];
    model_config cfg;

    (void)state;
    EXPECT_OK(config_rig_parse(&cfg, "", ""));
    assert_true(cfg.lora_alpha == 0);
    EXPECT_OK(config_rig_parse(&cfg, "\"lora_alpha\":32", ""));
    assert_true(cfg.lora_alpha == 32);
    assert_non_null(mkdtemp(dir));
    config_rig_write(dir, "config.json", config_rig_text("", ""));
    config_rig_write(dir, "adapter_config.json", "{\"lora_alpha\":16,\"r\":8}");
    EXPECT_OK(config_load(&cfg, dir));
    assert_true(cfg.lora_alpha == 16);
    config_rig_write(dir, "adapter_config.json",
                     "{\"lora_alpha\":16,\"use_rslora\":true}");
    config_rig_expect(config_load(&cfg, dir), ST_UNSUPPORTED, "use_rslora");
    (void)snprintf(path, sizeof(path), "%s/config.json", dir);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/adapter_config.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}
int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(end_tokens),
        cmocka_unit_test(unread_fields),
        cmocka_unit_test(given_beside_the_files),
        cmocka_unit_test(lora_alpha),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
