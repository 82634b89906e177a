/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint: the tensors of one file or of all shards, found by name. */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "model/safetensors_header.h"
#include "model/safetensors_index.h"

/* A name that finds a tensor: its own, or one from the metadata. */
typedef struct entry {
    const char *name;
    const safetensors_tensor *tensor;
    uint32_t file;
} entry;

struct safetensors {
    safetensors_file *file;
    uint32_t n_file;
    entry *entry; /* by name */
    size_t n_entry;
    entry *alias; /* by name, none of them in `entry` */
    size_t n_alias;
};

/* The file breaks ties, so that one set of files always gives one order. */
static int
by_name(const void *a, const void *b)
{
    const entry *x = a;
    const entry *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : (x->file > y->file) - (x->file < y->file);
}

static const entry *
find(const entry *list, size_t n, const char *name)
{
    size_t low = 0;

    while (n > 0) {
        size_t half = n / 2;
        int order = strcmp(list[low + half].name, name);

        if (order == 0)
            return &list[low + half];
        if (order < 0) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return NULL;
}

static status
gather_tensors(safetensors *s)
{
    size_t n = 0;
    status st;

    for (uint32_t i = 0; i < s->n_file; i++)
        n += s->file[i].n_tensor;
    if (n > SAFETENSORS_MAX_TENSOR)
        return status_fail(ST_ARG, "the shards have over %d tensors",
                           SAFETENSORS_MAX_TENSOR);
    TRY(mem_new(&s->entry, n, sizeof(entry)));
    for (uint32_t i = 0; i < s->n_file; i++)
        for (size_t j = 0; j < s->file[i].n_tensor; j++) {
            const safetensors_tensor *t = &s->file[i].tensor[j];

            s->entry[s->n_entry++] = (entry){t->name, t, i};
        }
    qsort(s->entry, s->n_entry, sizeof(entry), by_name);
    for (size_t i = 1; i < s->n_entry; i++)
        if (strcmp(s->entry[i - 1].name, s->entry[i].name) == 0)
            return status_fail(ST_ARG, "tensor %.120s is in two shards",
                               s->entry[i].name);
    return ST_OK;

fail:
    return st;
}

/* Metadata also holds entries that are no aliases: only those that name a
 * tensor, and not under a tensor's own name, count. */
static status
gather_aliases(safetensors *s)
{
    size_t n = 0;
    status st;

    for (uint32_t i = 0; i < s->n_file; i++)
        n += s->file[i].n_alias;
    TRY(mem_new(&s->alias, n, sizeof(entry)));
    for (uint32_t i = 0; i < s->n_file; i++)
        for (size_t j = 0; j < s->file[i].n_alias; j++) {
            const safetensors_alias *a = &s->file[i].alias[j];
            const entry *kept = find(s->entry, s->n_entry, a->kept);

            if (kept == NULL || find(s->entry, s->n_entry, a->name) != NULL)
                continue;
            s->alias[s->n_alias++] = (entry){a->name, kept->tensor, i};
        }
    qsort(s->alias, s->n_alias, sizeof(entry), by_name);
    for (size_t i = 1; i < s->n_alias; i++)
        if (strcmp(s->alias[i - 1].name, s->alias[i].name) == 0 &&
            s->alias[i - 1].tensor != s->alias[i].tensor)
            return status_fail(ST_ARG, "the alias %.120s names two tensors",
                               s->alias[i].name);
    return ST_OK;

fail:
    return st;
}

static status
open_one(safetensors *s, const char *path)
{
    status st;

    TRY(mem_new(&s->file, 1, sizeof(safetensors_file)));
    TRY(safetensors_file_open(&s->file[0], path));
    s->n_file = 1;
    return ST_OK;

fail:
    return st;
}

/* Each tensor that the index names must be in the very shard it says. */
static status
check_index(const safetensors *s, const safetensors_index *index)
{
    for (size_t i = 0; i < index->n_tensor; i++) {
        const safetensors_place *p = &index->tensor[i];
        const entry *e = find(s->entry, s->n_entry, p->name);

        if (e == NULL)
            e = find(s->alias, s->n_alias, p->name);
        if (e == NULL || e->file != p->shard)
            return status_fail(ST_ARG,
                               "the index names tensor %.120s, which %.120s "
                               "does not have",
                               p->name, index->shard[p->shard]);
    }
    return ST_OK;
}

static status
open_shards(safetensors *s, const safetensors_index *index, const char *dir)
{
    char *path = NULL;
    status st;

    TRY(mem_new(&s->file, index->n_shard, sizeof(safetensors_file)));
    for (uint32_t i = 0; i < index->n_shard; i++) {
        TRY(file_join(&path, dir, index->shard[i]));
        TRY(safetensors_file_open(&s->file[i], path));
        s->n_file = i + 1;
        mem_free(path);
        path = NULL;
    }
    return ST_OK;

fail:
    mem_free(path);
    return st;
}

static status
gather(safetensors *s)
{
    status st;

    TRY(gather_tensors(s));
    TRY(gather_aliases(s));

fail:
    return st;
}

static status
open_dir(safetensors *s, const char *dir)
{
    safetensors_index *index = NULL;
    char *single = NULL;
    char *path = NULL;
    status st;

    TRY(file_join(&single, dir, "model.safetensors"));
    TRY(file_join(&path, dir, "model.safetensors.index.json"));
    if (file_exists(single) || !file_exists(path)) {
        TRY(open_one(s, single));
        TRY(gather(s));
    } else {
        TRY(safetensors_index_open(&index, path));
        TRY(open_shards(s, index, dir));
        TRY(gather(s));
        TRY(check_index(s, index));
    }

fail:
    safetensors_index_close(index);
    mem_free(single);
    mem_free(path);
    return st;
}

static bool
is_dir(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

status
safetensors_open(safetensors **out, const char *path)
{
    safetensors *s = NULL;
    status st;

    TRY(mem_new(&s, 1, sizeof(*s)));
    if (is_dir(path)) {
        TRY(open_dir(s, path));
    } else {
        TRY(open_one(s, path));
        TRY(gather(s));
    }
    *out = s;
    return ST_OK;

fail:
    safetensors_close(s);
    return st;
}

void
safetensors_close(safetensors *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->n_file; i++)
        safetensors_file_close(&s->file[i]);
    mem_free(s->alias);
    mem_free(s->entry);
    mem_free(s->file);
    mem_free(s);
}

size_t
safetensors_count(const safetensors *s)
{
    return s->n_entry;
}

const safetensors_tensor *
safetensors_at(const safetensors *s, size_t i)
{
    ASSERT(i < s->n_entry);
    return s->entry[i].tensor;
}

const safetensors_tensor *
safetensors_find(const safetensors *s, const char *name)
{
    const entry *e = find(s->entry, s->n_entry, name);

    if (e == NULL)
        e = find(s->alias, s->n_alias, name);
    return e != NULL ? e->tensor : NULL;
}
