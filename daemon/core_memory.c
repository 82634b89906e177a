/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory of a world's model declares, and what follows from it.
 * Nothing else is believed of how large a document becomes. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/core_state.h"
#include "proto/snapshot.h"

/* What is added up later stays far below 64 bits. */
enum { MAX_BITS = 48 };

static bool
is_large(uint64_t bytes)
{
    return bytes >> MAX_BITS != 0;
}

/* *sum: of the states of all layers. */
static status
check_layers(const world_hello *h, uint64_t *sum)
{
    *sum = 0;
    for (size_t i = 0; i < h->n_layer_bytes; i++) {
        if (is_large(h->layer_bytes[i]))
            return status_fail(ST_LIMIT, "a state of 2^%d bytes", MAX_BITS);
        *sum += h->layer_bytes[i];
    }
    return ST_OK;
}

status
core_memory_check(const world_hello *h)
{
    uint64_t states = h->snapshot_bytes - SNAPSHOT_HEADER;
    uint64_t sum;
    status st = ST_OK;

    if (h->snapshot_bytes < SNAPSHOT_HEADER || is_large(h->snapshot_bytes))
        return status_fail(ST_WIRE, "a world whose snapshots have %llu bytes",
                           (unsigned long long)h->snapshot_bytes);
    TRY(check_layers(h, &sum));
    if (h->n_layer_bytes > 0 ? sum != states : states % h->n_layer != 0)
        return status_fail(ST_WIRE, "a world whose states do not add up to its "
                                    "snapshot");
    if ((h->token_bytes > 0) != (h->max_context > 0))
        return status_fail(ST_WIRE, "a world whose states grow has a limit, "
                                    "and no other has one");
    if (is_large(h->token_bytes) || is_large(h->max_context) ||
        (h->token_bytes > 0 &&
         h->max_context > (UINT64_C(1) << MAX_BITS) / h->token_bytes))
        return status_fail(ST_LIMIT, "a world with room for 2^%d bytes",
                           MAX_BITS);
fail:
    return st;
}

status
core_memory_init(core_memory *m, const world_hello *h)
{
    status st = ST_OK;

    *m = (core_memory){.snapshot_bytes = h->snapshot_bytes,
                       .token_bytes = h->token_bytes,
                       .max_context = h->max_context,
                       .n_layer = h->n_layer};
    if (h->n_layer_bytes == 0)
        return ST_OK;
    TRY(mem_new(&m->layer_bytes, h->n_layer, sizeof(*m->layer_bytes)));
    memcpy(m->layer_bytes, h->layer_bytes,
           h->n_layer * sizeof(*m->layer_bytes));
fail:
    return st;
}

void
core_memory_fini(core_memory *m)
{
    mem_free(m->layer_bytes);
    *m = (core_memory){0};
}

uint64_t
core_memory_snapshot(const core_memory *m, uint64_t n_token)
{
    return m->snapshot_bytes + n_token * m->token_bytes;
}

core_place
core_memory_layer(const core_memory *m, uint32_t layer)
{
    core_place p = {.states = m->snapshot_bytes - SNAPSHOT_HEADER};

    if (!m->layer_bytes) {
        p.len = p.states / m->n_layer;
        p.at = layer * p.len;
        return p;
    }
    for (uint32_t i = 0; i < layer; i++)
        p.at += m->layer_bytes[i];
    p.len = m->layer_bytes[layer];
    return p;
}

/* Ids are known before they are looked at; text is when it was counted. */
static uint64_t
own_tokens(const job *j)
{
    return j->input == CLIENT_IDS ? j->pending + j->bytes / sizeof(int32_t)
                                  : j->tokens;
}

uint64_t
core_memory_tokens(const core *c, const job *j)
{
    uint64_t before = j->first_segment * c->cfg.segment_size;
    uint64_t drawn = j->kind == JOB_ASK ? j->sampling.max_tokens : 0;

    return before + own_tokens(j) + drawn;
}

enum { SIZE_TEXT = 32 };

static const char *
size_text(char out[SIZE_TEXT], uint64_t bytes)
{
    if (bytes < 1 << 20)
        (void)snprintf(out, SIZE_TEXT, "%.1f KiB", (double)bytes / 0x1p10);
    else
        (void)snprintf(out, SIZE_TEXT, "%.1f MiB", (double)bytes / 0x1p20);
    return out;
}

static status
no_room(const core_memory *m, uint64_t n)
{
    char need[SIZE_TEXT], have[SIZE_TEXT];

    return status_fail(
        ST_LIMIT,
        "the model keeps every token: %llu of them, the answer's too, need %s, "
        "and a worker has room for %llu, %s (--max-context)",
        (unsigned long long)n, size_text(need, n * m->token_bytes),
        (unsigned long long)m->max_context,
        size_text(have, m->max_context * m->token_bytes));
}

status
core_memory_suits(const core *c, const core_memory *m, const job *j)
{
    uint64_t n = core_memory_tokens(c, j);
    uint64_t read = j->first_segment * c->cfg.segment_size;

    if (m->token_bytes > 0 && n > m->max_context)
        return no_room(m, n);
    if (j->kind == JOB_ASK && j->snapshot_bytes > 0 &&
        j->snapshot_bytes != core_memory_snapshot(m, read))
        return status_fail(ST_STATE,
                           "the document's snapshot is of another model");
    return ST_OK;
}
