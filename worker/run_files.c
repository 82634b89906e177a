/* SPDX-License-Identifier: Apache-2.0 */
/* Logits row by row, and the states of all layers at once. */
#include "worker/run_files.h"

#include <stdio.h>

status
run_files_open(run_files *f, const char *path, const char *name, uint64_t n_row,
               uint32_t n_vocab)
{
    const size_t dim[2] = {n_row, n_vocab};
    status st = ST_OK;

    *f = (run_files){.n_vocab = n_vocab};
    TRY(safetensors_writer_new(&f->logits, path));
    TRY(safetensors_writer_add(f->logits, name, SAFETENSORS_F32, dim, 2));
    TRY(safetensors_writer_begin(f->logits));
    return ST_OK;
fail:
    run_files_close(f);
    return st;
}

status
run_files_add(run_files *f, const float *rows, uint32_t n_row)
{
    return safetensors_writer_data(f->logits, rows,
                                   (size_t)n_row * f->n_vocab * sizeof *rows);
}

status
run_files_finish(run_files *f)
{
    return safetensors_writer_finish(f->logits);
}

void
run_files_close(run_files *f)
{
    safetensors_writer_free(f->logits);
    *f = (run_files){0};
}

static status
add_layer(safetensors_writer *w, const model_config *cfg, uint32_t layer)
{
    const size_t dim[2] = {config_d_key(cfg), cfg->d_model};
    char name[32];
    status st = ST_OK;

    (void)snprintf(name, sizeof name, "layers.%u.W_mem", layer);
    TRY(safetensors_writer_add(w, name, SAFETENSORS_F32, dim, 2));
    (void)snprintf(name, sizeof name, "layers.%u.z", layer);
    TRY(safetensors_writer_add(w, name, SAFETENSORS_F32, dim, 1));
fail:
    return st;
}

status
run_files_state(const char *path, const model_config *cfg, const float *states)
{
    safetensors_writer *w = NULL;
    status st = ST_OK;

    TRY(safetensors_writer_new(&w, path));
    for (uint32_t layer = 0; layer < cfg->n_layer; layer++)
        TRY(add_layer(w, cfg, layer));
    TRY(safetensors_writer_begin(w));
    /* A state is W_mem, then z: already the order of the file. */
    TRY(safetensors_writer_data(
        w, states, cfg->n_layer * config_state_size(cfg) * sizeof *states));
    TRY(safetensors_writer_finish(w));
fail:
    safetensors_writer_free(w);
    return st;
}
