/* SPDX-License-Identifier: Apache-2.0 */
/* Parts to a temporary file; checked as a whole before it gets its name. */
#include "daemon/intake.h"

#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "proto/snapshot.h"

enum { PIECE = 1 << 16 };

struct intake {
    file_writer writer;
    hash sum;
    uint8_t hash[HASH_BYTES]; /* of the whole, once it was compared */
    uint64_t len;
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
    in->len += len;
    return file_writer_add(&in->writer, part, len);
}

status
intake_check(intake *in, const uint8_t expected[HASH_BYTES])
{
    hash_end(&in->sum, in->hash);
    if (memcmp(in->hash, expected, sizeof(in->hash)) != 0)
        return status_fail(ST_WIRE, "the snapshot was damaged on its way");
    return ST_OK;
}

static status
read_at(const intake *in, uint8_t *out, size_t len, uint64_t at)
{
    if (FAULT_FAILS(INTAKE_READ))
        return file_failed("read", in->writer.tmp);
    return file_read_at(in->writer.fd, out, len, at);
}

/* The payload, in pieces. */
static status
scan(const intake *in, snapshot_scan *s)
{
    uint8_t piece[PIECE];
    uint64_t at = SNAPSHOT_HEADER;
    status st = ST_OK;

    while (at < in->len) {
        size_t n = in->len - at < PIECE ? (size_t)(in->len - at) : PIECE;

        TRY(read_at(in, piece, n, at));
        snapshot_scan_add(s, piece, n);
        at += n;
    }
    st = snapshot_scan_end(s);
fail:
    return st;
}

/* Read and not mapped: an error of the disk is one of this file, not the end of
 * the daemon. */
static status
check(const intake *in, document *doc)
{
    uint8_t head[SNAPSHOT_HEADER];
    snapshot_scan s;
    status st;

    if (in->len < sizeof(head))
        TRY(status_fail(ST_WIRE, "this is not a snapshot"));
    TRY(read_at(in, head, sizeof(head), 0));
    TRY(snapshot_scan_begin(&s, head, in->len));
    if (s.info.n_segment != doc->segments - 1 ||
        memcmp(s.info.fingerprint, doc->fingerprint,
               sizeof(s.info.fingerprint)) != 0)
        TRY(status_fail(ST_WIRE, "the snapshot is of another model or place"));
    if (doc->n_norm != s.info.n_layer)
        doc->n_norm = 0;
    if (doc->n_norm > 0)
        s.norm = doc->norm;
    TRY(scan(in, &s));
fail:
    return st;
}

status
intake_finish(intake *in, document *doc)
{
    status st;

    TRY(check(in, doc));
    TRY(file_writer_finish(&in->writer, true));
    memcpy(doc->hash, in->hash, sizeof(doc->hash));
fail:
    return st;
}
