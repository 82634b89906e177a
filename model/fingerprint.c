/* SPDX-License-Identifier: Apache-2.0 */
/* The fingerprint of a checkpoint: samples of its files. */
#include "model/fingerprint.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

/* Samples of each file; about a megabyte, however large it is. */
enum { N_SAMPLE = 256, SAMPLE = 4096, MAX_CONFIG = 1 << 20 };

static int
is_weights(const struct dirent *e)
{
    const char *end = ".safetensors";
    size_t len = strlen(e->d_name), len_end = strlen(end);
    return len > len_end && strcmp(e->d_name + len - len_end, end) == 0;
}

/* Byte order, whatever the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static status
add_config(hash *h, const char *dir, const char *name)
{
    char *path = NULL, *text = NULL;
    size_t len = 0;
    status st = ST_OK;

    TRY(file_join(&path, dir, name));
    TRY(file_read(&text, &len, path, MAX_CONFIG));
    uint64_t size = len;
    hash_add(h, &size, sizeof size);
    hash_add(h, text, len);
fail:
    mem_free(text);
    mem_free(path);
    return st;
}

/* What lies beside config.json and changes results. */
static status
add_adapter(hash *h, const char *dir)
{
    static const char name[] = "adapter_config.json";
    char *path = NULL;
    status st = ST_OK;

    TRY(file_join(&path, dir, name));
    if (file_exists(path)) {
        hash_add(h, name, sizeof name);
        TRY(add_config(h, dir, name));
    }
fail:
    mem_free(path);
    return st;
}

/* Bytes of the i-th sample of a file. */
static size_t
sample_at(uint64_t size, uint64_t i)
{
    uint64_t left = size - size / N_SAMPLE * i;
    return left < SAMPLE ? (size_t)left : SAMPLE;
}

/* Size, header (its length is in the first 8 bytes), evenly spaced samples. */
static void
add_map(hash *h, const file_map *map)
{
    const unsigned char *data = map->data;
    uint64_t size = map->len, n_head = 0;
    hash_add(h, &size, sizeof size);
    /* All are asked of the disk before the first is waited for: one by one
     * they take as long as reading two gigabytes. */
    for (uint64_t i = 0; i < N_SAMPLE; i++)
        file_map_expect(data + size / N_SAMPLE * i, sample_at(size, i));
    for (size_t i = 0; i < 8 && map->len >= 8; i++)
        n_head |= (uint64_t)data[i] << 8 * i;
    n_head = n_head <= size ? n_head : size;
    hash_add(h, data, n_head);
    for (uint64_t i = 0; i < N_SAMPLE; i++) {
        uint64_t at = size / N_SAMPLE * i;
        hash_add(h, data + at, sample_at(size, i));
        /* The kernel may have mapped megabytes around it. */
        file_map_forget(data, at + sample_at(size, i));
    }
}

static status
add_file(hash *h, const char *dir, const char *name)
{
    file_map map = {0};
    char *path = NULL;
    status st = ST_OK;

    TRY(file_join(&path, dir, name));
    TRY(file_map_open(&map, path));
    add_map(h, &map);
fail:
    file_map_close(&map);
    mem_free(path);
    return st;
}

static void
add_given(hash *h, const config_given *g)
{
    if (g->segment_size > 0) {
        hash_add(h, "segment", sizeof "segment");
        hash_add(h, &g->segment_size, sizeof g->segment_size);
    }
    if (g->key_norm != NULL) {
        hash_add(h, "key_norm", sizeof "key_norm");
        hash_add(h, g->key_norm, strlen(g->key_norm) + 1);
    }
    if (g->lora_alpha != 0) {
        hash_add(h, "lora_alpha", sizeof "lora_alpha");
        hash_add(h, &g->lora_alpha, sizeof g->lora_alpha);
    }
    /* What is the default anyway makes no other model. */
    if (g->state_type != NULL && strcmp(g->state_type, "bf16") == 0)
        hash_add(h, "state_bf16", sizeof "state_bf16");
}

static status
add_configs(hash *h, const char *dir)
{
    status st = ST_OK;

    TRY(add_config(h, dir, "config.json"));
    TRY(add_adapter(h, dir));
fail:
    return st;
}

/* How the model runs. */
static void
add_way(hash *h, fingerprint_variant variant, const config_given *given)
{
    if (variant == FINGERPRINT_INT8)
        hash_add(h, "int8", 4);
    if (given != NULL)
        add_given(h, given);
}

status
fingerprint_read(uint8_t out[32], size_t *n_file, const char *dir,
                 fingerprint_variant variant, const config_given *given)
{
    struct dirent **entry = NULL;
    hash h;
    status st = ST_OK;

    hash_init(&h);
    int n = scandir(dir, &entry, is_weights, by_name);
    if (n < 0)
        return status_fail(ST_NOTFOUND, "cannot list %s: %s", dir,
                           strerror(errno));
    TRY(add_configs(&h, dir));
    for (int i = 0; i < n; i++)
        TRY(add_file(&h, dir, entry[i]->d_name));
    add_way(&h, variant, given);
    hash_end(&h, out);
    if (n_file != NULL)
        *n_file = (size_t)n;
fail:
    for (int i = 0; i < n; i++)
        free(entry[i]);
    free((void *)entry);
    return st;
}

status
fingerprint_config(uint8_t out[32], const char *dir,
                   fingerprint_variant variant, const config_given *given)
{
    hash h;
    status st = ST_OK;

    hash_init(&h);
    TRY(add_configs(&h, dir));
    add_way(&h, variant, given);
    hash_end(&h, out);
fail:
    return st;
}
