/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one model from another, without reading all of it.  Text library:
 * the daemon compares with it what its worlds have loaded. */
#ifndef MODEL_FINGERPRINT_H
#define MODEL_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/config.h"

/* How the weights run: in 8 bits it is another model. */
typedef enum fingerprint_variant {
    FINGERPRINT_STORED = 0,
    FINGERPRINT_INT8,
    FINGERPRINT_N_VARIANT
} fingerprint_variant;

/* BLAKE2b-256 over config.json, adapter_config.json if it is there and, of
 * every safetensors file in name order, its size, its header and samples of its
 * data (fine-tuned models of one shape differ in nothing else); 32 bytes.
 * *n_file: the safetensors files (NULL: not asked); without one it is of
 * config.json alone.  `given` beside the files (NULL: nothing) makes another
 * model, too. */
status fingerprint_read(uint8_t out[32], size_t *n_file, const char *dir,
                        fingerprint_variant variant,
                        const config_given *given) MUST_USE;
/* The same of what does not lie in safetensors files: which weights a model
 * needs, at the price of a small file. */
status fingerprint_config(uint8_t out[32], const char *dir,
                          fingerprint_variant variant,
                          const config_given *given) MUST_USE;

#endif
