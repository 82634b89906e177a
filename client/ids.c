/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a safetensors file, as far as one tensor needs it. */
#include "client/ids.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"

enum { LENGTH_BYTES = 8, MAX_HEADER = 16 << 20 };

static status
bad(const char *why)
{
    return status_fail(ST_ARG, "the file of ids: %s", why);
}

static status
read_at(int fd, uint64_t at, void *out, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n =
            pread(fd, (char *)out + done, len - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return status_fail(ST_IO, "the file of ids: %s", strerror(errno));
        if (n == 0)
            return bad("it is cut off");
        done += (size_t)n;
    }
    return ST_OK;
}

static status
read_header(char **out, size_t *len, int fd, uint64_t size)
{
    uint8_t head[LENGTH_BYTES];
    uint64_t n = 0;
    char *text = NULL;
    status st;

    if (size < LENGTH_BYTES)
        return bad("it is no safetensors file");
    TRY(read_at(fd, 0, head, sizeof(head)));
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        n = n << 8 | head[i];
    if (n > size - LENGTH_BYTES)
        return bad("it is no safetensors file, or it is cut off");
    if (n > MAX_HEADER)
        return status_fail(ST_LIMIT, "the file of ids: its header has more "
                                     "than 16 MiB");
    TRY(mem_new(&text, (size_t)n, 1));
    TRY(read_at(fd, LENGTH_BYTES, text, (size_t)n));
    *out = text;
    *len = (size_t)n;
    return ST_OK;
fail:
    mem_free(text);
    return st;
}

/* An array of `n` whole numbers that are not negative. */
static status
numbers(uint64_t *out, size_t n, const json *array, const char *what)
{
    if (!json_is_array(array) || json_size(array) != n)
        return status_fail(ST_ARG, "the file of ids: '%s' is no list of %zu",
                           what, n);
    for (size_t i = 0; i < n; i++) {
        const json *v = json_at(array, i);

        if (!json_is_integer(v) || json_int(v) < 0)
            return status_fail(ST_ARG, "the file of ids: '%s' is wrong", what);
        out[i] = (uint64_t)json_int(v);
    }
    return ST_OK;
}

/* `room`: bytes behind the header. */
static status
find(ids_place *out, const json *root, uint64_t room)
{
    const json *tensor = json_get(root, "input_ids");
    const char *type = json_text(json_get(tensor, "dtype"), NULL);
    bool wide = strcmp(type, "I64") == 0;
    uint64_t shape, offset[2];
    status st;

    if (!json_is_object(tensor))
        return bad("it has no tensor 'input_ids'");
    if (!wide && strcmp(type, "I32") != 0)
        return bad("'input_ids' is neither I32 nor I64");
    TRY(numbers(&shape, 1, json_get(tensor, "shape"), "shape"));
    TRY(numbers(offset, 2, json_get(tensor, "data_offsets"), "data_offsets"));
    if (offset[0] > offset[1] || offset[1] > room)
        return bad("'input_ids' lies outside the file");
    if (shape > UINT64_MAX / 8 ||
        offset[1] - offset[0] != shape * (wide ? 8 : 4))
        return bad("the shape of 'input_ids' and its bytes differ");
    *out = (ids_place){.start = offset[0], .n = shape, .wide = wide};
fail:
    return st;
}

status
ids_find(ids_place *out, int fd, uint64_t size)
{
    ids_place place;
    json_doc *doc = NULL;
    char *text = NULL;
    size_t len = 0;
    status st;

    TRY(read_header(&text, &len, fd, size));
    TRY(json_parse(&doc, text, len, "the header of the file of ids"));
    TRY(find(&place, json_root(doc), size - LENGTH_BYTES - len));
    place.start += LENGTH_BYTES + len;
    *out = place;
fail:
    json_free(doc);
    mem_free(text);
    return st;
}
