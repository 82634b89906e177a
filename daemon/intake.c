/* SPDX-License-Identifier: Apache-2.0 */
/* Parts to a temporary file; checked as a whole before it gets its name. */
#include "daemon/intake.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "proto/snapshot.h"

struct intake {
    file_writer writer;
    hash sum;
};

status
intake_new(intake **out, const char *path)
{
    intake *in = NULL;
    status st;

    TRY(mem_new(&in, 1, sizeof(*in)));
    in->writer.fd = -1;
    hash_init(&in->sum);
    TRY(file_writer_open(&in->writer, path));
    *out = in;
    return ST_OK;
fail:
    intake_free(in);
    return st;
}

void
intake_free(intake *in)
{
    if (!in)
        return;
    file_writer_close(&in->writer);
    mem_free(in);
}

status
intake_add(intake *in, const void *part, size_t len)
{
    hash_add(&in->sum, part, len);
    return file_writer_add(&in->writer, part, len);
}

status
intake_check(intake *in, const uint8_t expected[HASH_BYTES])
{
    uint8_t sum[HASH_BYTES];

    hash_end(&in->sum, sum);
    if (memcmp(sum, expected, sizeof(sum)) != 0)
        return status_fail(ST_WIRE, "the snapshot was damaged on its way");
    return ST_OK;
}

static status
check(const char *path, document *doc)
{
    snapshot_info info;
    file_map map = {0};
    status st;

    TRY(file_map_open(&map, path));
    TRY(snapshot_check(&info, map.data, map.len));
    if (info.n_segment != doc->segments - 1 ||
        memcmp(info.fingerprint, doc->fingerprint, sizeof(info.fingerprint)) !=
            0)
        TRY(status_fail(ST_WIRE, "the snapshot is of another model or place"));
    if (doc->n_norm != info.n_layer)
        doc->n_norm = 0;
    if (doc->n_norm > 0)
        snapshot_norms(doc->norm, map.data, &info);
fail:
    file_map_close(&map);
    return st;
}

status
intake_finish(intake *in, document *doc)
{
    status st;

    TRY(check(in->writer.tmp, doc));
    TRY(file_writer_finish(&in->writer, true));
fail:
    return st;
}
