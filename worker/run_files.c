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

/* States being written. */
typedef struct states {
    safetensors_writer *w;
    const model_config *cfg;
    kernel_type compute;
    const memory_past *past;
} states;

static status
add_tensor(const states *s, uint32_t layer, const memory_tensor *t)
{
    static const safetensors_type types[] = {[KERNEL_F32] = SAFETENSORS_F32,
                                             [KERNEL_BF16] = SAFETENSORS_BF16,
                                             [KERNEL_F16] = SAFETENSORS_F16};
    char name[48];
    if (memory_of(s->cfg)->chained)
        (void)snprintf(name, sizeof name, "%s", t->name);
    else
        (void)snprintf(name, sizeof name, "layers.%u.%s", layer, t->name);
    return safetensors_writer_add(s->w, name, types[t->type], t->dim, t->n_dim);
}

static status
add_all(const states *s)
{
    status st = ST_OK;
    for (uint32_t layer = 0; layer < s->cfg->n_layer; layer++) {
        memory_tensor t[MEMORY_MAX_TENSOR];
        uint32_t n =
            memory_of(s->cfg)->tensors(s->cfg, s->compute, layer, s->past, t);
        for (uint32_t i = 0; i < n; i++)
            TRY(add_tensor(s, layer, &t[i]));
    }
fail:
    return st;
}

/* Between tensors of a state there may be bytes that are no numbers. */
static status
write_all(const states *s, const char *data)
{
    status st = ST_OK;
    for (uint32_t layer = 0; layer < s->cfg->n_layer; layer++) {
        memory_tensor t[MEMORY_MAX_TENSOR];
        uint32_t n =
            memory_of(s->cfg)->tensors(s->cfg, s->compute, layer, s->past, t);
        for (uint32_t i = 0; i < n; i++)
            TRY(safetensors_writer_data(s->w, data + t[i].offset,
                                        memory_tensor_bytes(&t[i])));
        data += memory_state_bytes(s->cfg, s->compute, layer, s->past);
    }
fail:
    return st;
}

status
run_files_state(const char *path, const model_config *cfg, kernel_type compute,
                const memory_past *past, const void *data)
{
    states s = {.cfg = cfg, .compute = compute, .past = past};
    status st = ST_OK;

    TRY(safetensors_writer_new(&s.w, path));
    TRY(add_all(&s));
    TRY(safetensors_writer_begin(s.w));
    TRY(write_all(&s, data));
    TRY(safetensors_writer_finish(s.w));
fail:
    safetensors_writer_free(s.w);
    return st;
}
