/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a safetensors file whose bytes depend on its tensors alone. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/jsonout.h"
#include "base/mem.h"
#include "model/safetensors.h"
#include "model/safetensors_header.h"

typedef struct tensor {
    char *name;
    safetensors_type type;
    size_t dim[SAFETENSORS_MAX_DIM];
    uint32_t n_dim;
    size_t bytes;
} tensor;

struct safetensors_writer {
    file_writer file;
    bool begun;
    tensor *tensor;
    size_t n, cap;
    size_t left; /* bytes of data that are still to come */
};

status
safetensors_writer_new(safetensors_writer **out, const char *path)
{
    safetensors_writer *w = NULL;
    status st;

    TRY(mem_new(&w, 1, sizeof(*w)));
    TRY(file_writer_open(&w->file, path));
    *out = w;
    return ST_OK;

fail:
    safetensors_writer_free(w);
    return st;
}

void
safetensors_writer_free(safetensors_writer *w)
{
    if (w == NULL)
        return;
    file_writer_close(&w->file);
    for (size_t i = 0; i < w->n; i++)
        mem_free(w->tensor[i].name);
    mem_free(w->tensor);
    mem_free(w);
}

/* NULL: it is not written. */
static const char *
name_of(safetensors_type type)
{
    if (type == SAFETENSORS_BF16)
        return "BF16";
    return type == SAFETENSORS_F32   ? "F32"
           : type == SAFETENSORS_I32 ? "I32"
                                     : NULL;
}

static status
check_new(const safetensors_writer *w, const char *name, safetensors_type type,
          uint32_t n_dim)
{
    if (w->begun)
        return status_fail(ST_STATE, "tensor %.120s comes after the header",
                           name);
    if (name_of(type) == NULL)
        return status_fail(
            ST_ARG, "tensor %.120s: only F32, BF16 and I32 are written", name);
    if (n_dim > SAFETENSORS_MAX_DIM)
        return status_fail(ST_ARG, "tensor %.120s has over %d sizes", name,
                           SAFETENSORS_MAX_DIM);
    if (w->n == SAFETENSORS_MAX_TENSOR)
        return status_fail(ST_LIMIT, "over %d tensors in one file",
                           SAFETENSORS_MAX_TENSOR);
    return ST_OK;
}

status
safetensors_writer_add(safetensors_writer *w, const char *name,
                       safetensors_type type, const size_t *dim, uint32_t n_dim)
{
    tensor t = {.type = type, .n_dim = n_dim};
    size_t total;
    status st;

    TRY(check_new(w, name, type, n_dim));
    t.bytes = safetensors_width(type);
    for (uint32_t i = 0; i < n_dim; i++) {
        t.dim[i] = dim[i];
        TRY(size_mul(&t.bytes, t.bytes, dim[i]));
    }
    TRY(size_add(&total, w->left, t.bytes));
    if (w->n == w->cap) {
        size_t cap = w->cap > 0 ? 2 * w->cap : 16;

        TRY(mem_resize(&w->tensor, cap, sizeof(*w->tensor)));
        w->cap = cap;
    }
    TRY(mem_strdup(&t.name, name));
    w->tensor[w->n++] = t;
    w->left = total;
    return ST_OK;

fail:
    return st;
}

static int
by_name(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

static status
check_names(const safetensors_writer *w)
{
    const char **name = NULL;
    status st;

    TRY(mem_new(&name, w->n, sizeof(*name)));
    for (size_t i = 0; i < w->n; i++)
        name[i] = w->tensor[i].name;
    qsort(name, w->n, sizeof(*name), by_name);
    for (size_t i = 1; i < w->n; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            TRY(status_fail(ST_ARG, "tensor %.120s is there twice", name[i]));

fail:
    mem_free(name);
    return st;
}

static void
put_tensor(jsonout *j, const tensor *t, size_t at)
{
    jsonout_object(j, t->name);
    jsonout_text(j, "dtype", name_of(t->type));
    jsonout_array(j, "shape");
    for (uint32_t i = 0; i < t->n_dim; i++)
        jsonout_u64(j, NULL, t->dim[i]);
    jsonout_close_array(j);
    jsonout_array(j, "data_offsets");
    jsonout_u64(j, NULL, at);
    jsonout_u64(j, NULL, at + t->bytes);
    jsonout_close_array(j);
    jsonout_close_object(j);
}

status
safetensors_writer_begin(safetensors_writer *w)
{
    jsonout j;
    size_t at = 0;
    uint64_t len;
    status st;

    jsonout_init(&j);
    if (w->begun)
        return status_fail(ST_STATE, "the header is already written");
    TRY(check_names(w));
    jsonout_object(&j, NULL);
    for (size_t i = 0; i < w->n; i++) {
        put_tensor(&j, &w->tensor[i], at);
        at += w->tensor[i].bytes;
    }
    jsonout_close_object(&j);
    TRY(j.st);
    /* Spaces behind the header put the data at a multiple of 8. */
    len = (j.len + 7) & ~(size_t)7;
    TRY(file_writer_add(&w->file, &len, sizeof(len)));
    TRY(file_writer_add(&w->file, j.text, j.len));
    TRY(file_writer_add(&w->file, "       ", len - j.len));
    w->begun = true;

fail:
    jsonout_fini(&j);
    return st;
}

status
safetensors_writer_data(safetensors_writer *w, const void *data, size_t bytes)
{
    status st;

    if (!w->begun || bytes > w->left)
        return status_fail(ST_STATE,
                           "%zu bytes of data, the tensors take %zu more",
                           bytes, w->begun ? w->left : 0);
    TRY(file_writer_add(&w->file, data, bytes));
    w->left -= bytes;
    return ST_OK;

fail:
    return st;
}

status
safetensors_writer_finish(safetensors_writer *w)
{
    if (!w->begun || w->left > 0)
        return status_fail(ST_STATE, "%zu bytes of data are missing", w->left);
    return file_writer_finish(&w->file, false);
}
