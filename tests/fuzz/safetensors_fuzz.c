/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint file: every tensor that it offers lies inside it.
 *
 * A file is the input as it is, or, so that the fuzzer need not find out how
 * long a header is, the input up to a NUL as header and the rest as data. */
#include "model/safetensors.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

enum { MAX_READ = 4096 };

static void
read_tensor(const safetensors *s, const safetensors_tensor *t)
{
    float f[4];
    int32_t i[4];
    size_t n = 1;
    uint8_t sum = 0;

    CHECK(safetensors_find(s, t->name) != NULL);
    CHECK(t->n_dim <= SAFETENSORS_MAX_DIM);
    for (uint32_t d = 0; d < t->n_dim; d++)
        n *= t->dim[d];
    for (size_t b = 0; b < t->bytes && b < MAX_READ; b++)
        sum ^= ((const uint8_t *)t->data)[b];
    if (t->bytes > 0) /* the last byte is there too */
        sum ^= ((const uint8_t *)t->data)[t->bytes - 1];
    (void)sum;
    n = n < 4 ? n : 4;
    if (safetensors_read_f32(t, f, 0, n) == ST_OK)
        CHECK(t->bytes >= n);
    if (safetensors_read_i32(t, i, 0, n) == ST_OK)
        CHECK(t->bytes >= n);
}

static void
try_file(int fd)
{
    safetensors *s = NULL;
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (safetensors_open(&s, path) != ST_OK)
        return;
    for (size_t i = 0; i < safetensors_count(s); i++)
        read_tensor(s, safetensors_at(s, i));
    safetensors_close(s);
}

static void
put(int fd, const void *data, size_t len)
{
    CHECK(len == 0 || write(fd, data, len) == (ssize_t)len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    uint64_t len = end ? (uint64_t)(end - data) : size;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    CHECK(fd >= 0);
    put(fd, data, size);
    try_file(fd);
    CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    put(fd, &len, sizeof(len));
    put(fd, data, len);
    if (end)
        put(fd, end + 1, size - len - 1);
    try_file(fd);
    (void)close(fd);
    return 0;
}
