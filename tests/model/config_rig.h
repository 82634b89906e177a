/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of config.json for tests. */
#ifndef TESTS_MODEL_CONFIG_RIG_H
#define TESTS_MODEL_CONFIG_RIG_H

#include "model/config.h"

#define CONFIG_RIG_BASE                                                        \
    "\"model_type\":\"llama\",\"vocab_size\":100,\"hidden_size\":48,"          \
    "\"intermediate_size\":56,\"num_hidden_layers\":3,"                        \
    "\"num_attention_heads\":4,\"rms_norm_eps\":1e-6"

/* A configuration with `top` and `base` added to the least that is needed;
 * valid until the next call. */
const char *config_rig_text(const char *top, const char *base);
status config_rig_parse(model_config *cfg, const char *top, const char *base);
/* `code`, in a sentence with `name` in it. */
void config_rig_expect(status st, status code, const char *name);
/* A file of a directory. */
void config_rig_write(const char *dir, const char *name, const char *text);

#endif
