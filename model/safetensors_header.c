/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a safetensors header: nothing of it is believed before that.
 *
 * The file is 8 bytes of header length, little-endian, a JSON object
 * {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {...}},
 * and the data.  The tensors must tile the data: no gap, no overlap, nothing
 * before, between or behind them (a file that hides something there is not
 * what it seems). */
#include "model/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the data of a safetensors file is little-endian");

static const struct {
    const char *name;
    safetensors_type type;
    size_t width;
} dtypes[] = {
    {"F32", SAFETENSORS_F32, 4},       {"F16", SAFETENSORS_F16, 2},
    {"BF16", SAFETENSORS_BF16, 2},     {"I32", SAFETENSORS_I32, 4},
    {"I64", SAFETENSORS_I64, 8},       {"F64", SAFETENSORS_OTHER, 8},
    {"U64", SAFETENSORS_OTHER, 8},     {"U32", SAFETENSORS_OTHER, 4},
    {"I16", SAFETENSORS_OTHER, 2},     {"U16", SAFETENSORS_OTHER, 2},
    {"I8", SAFETENSORS_OTHER, 1},      {"U8", SAFETENSORS_OTHER, 1},
    {"BOOL", SAFETENSORS_OTHER, 1},    {"F8_E4M3", SAFETENSORS_OTHER, 1},
    {"F8_E5M2", SAFETENSORS_OTHER, 1},
};

size_t
safetensors_width(safetensors_type type)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (dtypes[i].type == type && type != SAFETENSORS_OTHER)
            return dtypes[i].width;
    return 0;
}

/* What the walk over the header's members carries. */
typedef struct reader {
    safetensors_file *file;
    const char *path;
    const char *data; /* first byte behind the header */
    size_t data_len;
    size_t text_cap;
    status st;
} reader;

static status
malformed(const reader *r, const char *tensor, const char *what)
{
    return status_fail(ST_ARG, "%s: tensor %.120s: %s", r->path, tensor, what);
}

/* The text holds every name of the header once, so it cannot outgrow it: JSON
 * spends at least two quotes on a name where this spends one NUL. */
static const char *
keep(reader *r, const char *name)
{
    size_t size = strlen(name) + 1;
    char *copy = r->file->text + r->file->text_len;

    ASSERT(size <= r->text_cap - r->file->text_len);
    memcpy(copy, name, size);
    r->file->text_len += size;
    return copy;
}

static status
read_dtype(const reader *r, safetensors_tensor *t, size_t *width,
           const json *value)
{
    const char *name = json_text(value, NULL);

    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            t->type = dtypes[i].type;
            *width = dtypes[i].width;
            return ST_OK;
        }
    return malformed(r, t->name, "unknown dtype");
}

/* *bytes = what a tensor of this shape must have. */
static status
read_shape(const reader *r, safetensors_tensor *t, size_t *bytes,
           const json *shape)
{
    if (!json_is_array(shape) || json_size(shape) > SAFETENSORS_MAX_DIM)
        return malformed(r, t->name, "shape is no list of at most 8 sizes");
    t->n_dim = (uint32_t)json_size(shape);
    for (uint32_t i = 0; i < t->n_dim; i++) {
        const json *dim = json_at(shape, i);

        if (!json_is_integer(dim) || json_int(dim) < 0)
            return malformed(r, t->name, "shape has a bad size");
        t->dim[i] = (size_t)json_int(dim);
        if (size_mul(bytes, *bytes, t->dim[i]) != ST_OK)
            return malformed(r, t->name, "shape overflows");
    }
    return ST_OK;
}

static status
read_offsets(const reader *r, safetensors_tensor *t, const json *offsets)
{
    const json *begin = json_at(offsets, 0);
    const json *end = json_at(offsets, 1);

    if (!json_is_array(offsets) || json_size(offsets) != 2 ||
        !json_is_integer(begin) || !json_is_integer(end))
        return malformed(r, t->name, "data_offsets are no two integers");
    if (json_int(begin) < 0 || json_int(end) < json_int(begin) ||
        (uint64_t)json_int(end) > r->data_len)
        return malformed(r, t->name, "data_offsets are outside the file");
    t->data = r->data + json_int(begin);
    t->bytes = (size_t)(json_int(end) - json_int(begin));
    t->fd = r->file->map.fd;
    t->at = (uint64_t)((const char *)t->data - (const char *)r->file->map.data);
    return ST_OK;
}

static status
read_tensor(reader *r, const char *name, const json *value)
{
    safetensors_file *file = r->file;
    safetensors_tensor *t = &file->tensor[file->n_tensor];
    size_t bytes;
    status st;

    t->name = keep(r, name);
    if (json_size(value) != 3 || !json_is_object(value))
        return malformed(r, name, "not dtype, shape and data_offsets");
    TRY(read_dtype(r, t, &bytes, json_get(value, "dtype")));
    TRY(read_shape(r, t, &bytes, json_get(value, "shape")));
    TRY(read_offsets(r, t, json_get(value, "data_offsets")));
    if (bytes != t->bytes)
        return malformed(r, name, "shape and data_offsets do not agree");
    file->n_tensor++;
    return ST_OK;

fail:
    return st;
}

static bool
metadata_member(void *ctx, const char *key, const json *value)
{
    reader *r = ctx;
    size_t len;
    const char *text = json_text(value, &len);

    if (!json_is_string(value)) {
        r->st = malformed(r, "__metadata__", "a value is no string");
        return false;
    }
    /* A value that holds a NUL is no tensor's name. */
    if (strlen(text) == len) {
        safetensors_alias *a = &r->file->alias[r->file->n_alias++];

        a->name = keep(r, key);
        a->kept = keep(r, text);
    }
    return true;
}

static status
read_metadata(reader *r, const json *value)
{
    status st;

    if (!json_is_object(value))
        return malformed(r, "__metadata__", "not an object");
    if (json_size(value) > SAFETENSORS_MAX_TENSOR)
        return malformed(r, "__metadata__", "too many entries");
    TRY(mem_new(&r->file->alias, json_size(value), sizeof(safetensors_alias)));
    json_each(value, metadata_member, r);
    return r->st;

fail:
    return st;
}

static bool
member(void *ctx, const char *key, const json *value)
{
    reader *r = ctx;

    if (strcmp(key, "__metadata__") == 0)
        r->st = read_metadata(r, value);
    else
        r->st = read_tensor(r, key, value);
    return r->st == ST_OK;
}

/* By place, and the empty ones at a place before the one that fills it. */
static int
by_place(const void *a, const void *b)
{
    const safetensors_tensor *x = a;
    const safetensors_tensor *y = b;
    uintptr_t i = (uintptr_t)x->data;
    uintptr_t j = (uintptr_t)y->data;

    if (i != j)
        return i < j ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static status
check_tiling(const reader *r)
{
    safetensors_file *file = r->file;
    const char *at = r->data;

    qsort(file->tensor, file->n_tensor, sizeof(*file->tensor), by_place);
    for (size_t i = 0; i < file->n_tensor; i++) {
        const safetensors_tensor *t = &file->tensor[i];

        if (t->data != at)
            return malformed(r, t->name,
                             (const char *)t->data < at
                                 ? "overlaps another tensor"
                                 : "there is a gap before its data");
        at += t->bytes;
    }
    if (at != r->data + r->data_len)
        return status_fail(ST_ARG, "%s: %zu bytes behind the last tensor",
                           r->path, (size_t)(r->data + r->data_len - at));
    return ST_OK;
}

/* The header's text, inside the file. */
static status
find_header(const file_map *map, const char *path, const char **text,
            size_t *len)
{
    uint64_t n;

    if (map->len < sizeof(n))
        return status_fail(ST_ARG, "%s: too short for a safetensors file",
                           path);
    memcpy(&n, map->data, sizeof(n));
    if (n > SAFETENSORS_MAX_HEADER)
        return status_fail(ST_ARG,
                           "%s: a header of %llu bytes, at most %d are read",
                           path, (unsigned long long)n, SAFETENSORS_MAX_HEADER);
    if (n > map->len - sizeof(n))
        return status_fail(ST_ARG, "%s: the header is longer than the file",
                           path);
    *text = (const char *)map->data + sizeof(n);
    *len = (size_t)n;
    if (n == 0 || **text != '{')
        return status_fail(ST_ARG, "%s: the header is no JSON object", path);
    return ST_OK;
}

static status
read_header(reader *r)
{
    const file_map *map = &r->file->map;
    const char *text = NULL;
    size_t len = 0;
    json_doc *doc = NULL;
    const json *root;
    status st;

    TRY(find_header(map, r->path, &text, &len));
    TRY(json_parse(&doc, text, len, r->path));
    root = json_root(doc);
    if (json_size(root) > SAFETENSORS_MAX_TENSOR + 1)
        TRY(status_fail(ST_ARG, "%s: over %d tensors", r->path,
                        SAFETENSORS_MAX_TENSOR));
    r->data = text + len;
    r->data_len = map->len - sizeof(uint64_t) - len;
    r->text_cap = len;
    TRY(mem_new(&r->file->text, len, 1));
    TRY(mem_new(&r->file->tensor, json_size(root), sizeof(safetensors_tensor)));
    json_each(root, member, r);
    TRY(r->st);
    TRY(check_tiling(r));

fail:
    json_free(doc);
    return st;
}

status
safetensors_file_open(safetensors_file *out, const char *path)
{
    safetensors_file file = {0};
    reader r = {.file = &file, .path = path, .st = ST_OK};
    status st;

    TRY(file_map_open(&file.map, path));
    TRY(read_header(&r));
    *out = file;
    return ST_OK;

fail:
    safetensors_file_close(&file);
    return st;
}

void
safetensors_file_close(safetensors_file *file)
{
    mem_free(file->alias);
    mem_free(file->tensor);
    mem_free(file->text);
    file_map_close(&file->map);
    memset(file, 0, sizeof(*file));
}
