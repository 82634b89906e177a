/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a checkpoint's shards: no name leads out of its directory. */
#include "model/safetensors_index.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    safetensors_index *index = NULL;
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    CHECK(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (safetensors_index_open(&index, path) == ST_OK) {
        for (uint32_t i = 0; i < index->n_shard; i++)
            CHECK(*index->shard[i] && *index->shard[i] != '.' &&
                  !strchr(index->shard[i], '/'));
        for (size_t i = 0; i < index->n_tensor; i++)
            CHECK(index->tensor[i].shard < index->n_shard);
        safetensors_index_close(index);
    }
    (void)close(fd);
    return 0;
}
