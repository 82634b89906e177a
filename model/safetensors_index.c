/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the index of a checkpoint in shards. */
#include "model/safetensors_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/safetensors_header.h"

typedef struct reader {
    safetensors_index *index;
    const char **shard_of; /* by tensor, before the shards have numbers */
    const char *path;
    status st;
} reader;

static bool
plain_name(const char *name, size_t len)
{
    return len > 0 && strlen(name) == len && name[0] != '.' &&
           strchr(name, '/') == NULL;
}

static bool
member(void *ctx, const char *key, const json *value)
{
    reader *r = ctx;
    safetensors_index *index = r->index;
    size_t len;
    const char *shard = json_text(value, &len);

    if (!plain_name(shard, len)) {
        r->st = status_fail(ST_ARG,
                            "%s: the shard of tensor %.120s is no file name",
                            r->path, key);
        return false;
    }
    r->shard_of[index->n_tensor] = shard;
    index->tensor[index->n_tensor++].name = key;
    return true;
}

static int
by_text(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

static status
number_shards(reader *r)
{
    safetensors_index *index = r->index;
    size_t n = index->n_tensor;
    size_t n_shard = 0;
    status st;

    TRY(mem_new(&index->shard, n, sizeof(*index->shard)));
    memcpy(index->shard, r->shard_of, n * sizeof(*index->shard));
    qsort(index->shard, n, sizeof(*index->shard), by_text);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(index->shard[n_shard - 1], index->shard[i]) != 0)
            index->shard[n_shard++] = index->shard[i];
    if (n_shard > SAFETENSORS_MAX_SHARD)
        return status_fail(ST_ARG, "%s: over %d shards", r->path,
                           SAFETENSORS_MAX_SHARD);
    index->n_shard = (uint32_t)n_shard;
    for (size_t i = 0; i < n; i++) {
        const char **at = bsearch(&r->shard_of[i], index->shard, n_shard,
                                  sizeof(*index->shard), by_text);

        index->tensor[i].shard = (uint32_t)(at - index->shard);
    }
    return ST_OK;

fail:
    return st;
}

static status
read_map(reader *r)
{
    safetensors_index *index = r->index;
    const json *map = json_get(json_root(index->doc), "weight_map");
    size_t n = json_size(map);
    status st;

    if (!json_is_object(map) || n == 0 || n > SAFETENSORS_MAX_TENSOR)
        return status_fail(ST_ARG,
                           "%s: weight_map is no object of 1 to %d tensors",
                           r->path, SAFETENSORS_MAX_TENSOR);
    TRY(mem_new(&index->tensor, n, sizeof(*index->tensor)));
    TRY(mem_new(&r->shard_of, n, sizeof(*r->shard_of)));
    json_each(map, member, r);
    TRY(r->st);
    TRY(number_shards(r));

fail:
    return st;
}

status
safetensors_index_open(safetensors_index **out, const char *path)
{
    reader r = {.path = path, .st = ST_OK};
    status st;

    TRY(mem_new(&r.index, 1, sizeof(*r.index)));
    TRY(json_read(&r.index->doc, path, SAFETENSORS_MAX_HEADER, path));
    TRY(read_map(&r));
    *out = r.index;
    r.index = NULL;

fail:
    mem_free(r.shard_of);
    safetensors_index_close(r.index);
    return st;
}

void
safetensors_index_close(safetensors_index *index)
{
    if (index == NULL)
        return;
    mem_free(index->shard);
    mem_free(index->tensor);
    json_free(index->doc);
    mem_free(index);
}
