/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: when, from the world's shards, in parts to the daemon. */
#include <string.h>

#include "base/clock.h"
#include "base/crc.h"
#include "base/mem.h"
#include "worker/errand_impl.h"

enum { PART_BYTES = 1 << 20 };

static size_t
layer_bytes(const errand *e, uint32_t layer)
{
    return e->keep.place[layer + 1] - e->keep.place[layer];
}

/* A state that grows is not captured: it is bounded by what the world has room
 * for, so what was read is soon read again, and copying all of it again and
 * again is not cheap. */
static bool
can_be_captured(const errand *e)
{
    return !memory_of(e->shape.model)->grows && e->shape.state_bytes > 0;
}

void
errand_checkpoint_init(errand *e, const world_message *begin)
{
    uint64_t now = clock_ns();

    e->keep = (errand_checkpoints){
        .every = e->want_snapshot && can_be_captured(e)
                     ? begin->u.begin.checkpoint_segments
                     : 0,
        .every_ns = (uint64_t)begin->u.begin.checkpoint_ms * 1000 * 1000,
        .ns = now,
        .durable_ns = now};
}

void
errand_checkpoint_fini(errand *e)
{
    mem_free(e->keep.states);
    mem_free(e->keep.place);
    mem_free(e->keep.crc);
    mem_free(e->keep.here);
    e->keep = (errand_checkpoints){.every = 0};
}

static status
make_room(errand *e)
{
    status st = ST_OK;
    errand_checkpoints *k = &e->keep;
    uint32_t n = e->shape.model->n_layer;

    if (k->states == NULL) {
        TRY(mem_new(&k->crc, n, sizeof *k->crc));
        TRY(mem_new(&k->here, n, sizeof *k->here));
        TRY(mem_new(&k->place, n + 1, sizeof *k->place));
        for (uint32_t i = 0; i < n; i++)
            k->place[i + 1] = k->place[i] + errand_layer_bytes(&e->shape, i);
        TRY(mem_new(&k->states, k->place[n], 1));
    }
    /* Of a layer without a state there is nothing to wait for. */
    for (uint32_t i = 0; i < n; i++)
        k->here[i] = layer_bytes(e, i) == 0;
    k->layer = 0;
    k->at = 0;
fail:
    return st;
}

/* So many segments and so long, whichever is later. */
static bool
interval_is_over(const errand *e, uint64_t taken, uint64_t ns, uint32_t n)
{
    return e->n_taken + 1 - taken >= (uint64_t)n * e->keep.every &&
           clock_ns() - ns >= n * e->keep.every_ns;
}

status
errand_checkpoint_before(errand *e)
{
    status st = ST_OK;
    errand_checkpoints *k = &e->keep;
    bool last = e->n_taken + 1 >= e->n_segment; /* the snapshot follows */

    if (k->every == 0 || k->busy || last ||
        !interval_is_over(e, k->taken, k->ns, 1))
        return ST_OK;
    TRY(make_room(e));
    k->busy = true;
    k->taken = e->n_taken + 1;
    k->ns = clock_ns();
    world_capture(e->w, e->stream);
fail:
    return st;
}

bool
errand_checkpoint_late(const errand *e)
{
    const errand_checkpoints *k = &e->keep;
    return k->every > 0 && k->busy &&
           interval_is_over(e, k->durable, k->durable_ns, 2);
}

status
errand_checkpoint_shard(errand *e, const world_event *ev)
{
    errand_checkpoints *k = &e->keep;
    uint32_t layer = ev->u.shard.layer;

    if (!k->busy || ev->seg + 1 != e->first_segment + k->taken)
        return ST_OK;
    if (layer >= e->shape.model->n_layer ||
        ev->u.shard.len != layer_bytes(e, layer))
        return status_fail(ST_WIRE, "a shard of layer %u with %zu bytes", layer,
                           ev->u.shard.len);
    if (ev->u.shard.len > 0)
        memcpy(k->states + k->place[layer], ev->u.shard.state, ev->u.shard.len);
    k->crc[layer] = ev->u.shard.crc;
    k->here[layer] = true;
    return ST_OK;
}

status
errand_checkpoint_whole(errand *e, const world_event *ev)
{
    status st = ST_OK;
    errand_checkpoints *k = &e->keep;
    TRY(make_room(e));
    ASSERT(ev->u.snapshot.len == e->shape.state_bytes);
    memcpy(k->states, ev->u.snapshot.states, ev->u.snapshot.len);
    for (uint32_t layer = 0; layer < e->shape.model->n_layer; layer++) {
        k->crc[layer] =
            crc_add(0, k->states + k->place[layer], layer_bytes(e, layer));
        k->here[layer] = true;
    }
    k->busy = true;
    k->taken = e->n_done;
    k->ns = clock_ns();
fail:
    return st;
}

static status
tell_part(errand *e, bool *sent)
{
    errand_checkpoints *k = &e->keep;
    size_t total = layer_bytes(e, k->layer);
    size_t left = total - (size_t)k->at;
    size_t len = left < PART_BYTES ? left : PART_BYTES;
    world_message m = {.kind = WORLD_CHECKPOINT};
    status st = ST_OK;

    m.u.checkpoint.segment = e->first_segment + k->taken;
    m.u.checkpoint.layer = k->layer;
    m.u.checkpoint.offset = k->at;
    m.u.checkpoint.total = total;
    m.u.checkpoint.crc = k->crc[k->layer];
    if (total > 0)
        TRY(errand_tell(e, &m, k->states + k->place[k->layer] + k->at, len,
                        sent));
    if (*sent)
        k->at += len;
    if (k->at == total) {
        k->layer++;
        k->at = 0;
    }
fail:
    return st;
}

status
errand_checkpoint_tell(errand *e)
{
    status st = ST_OK;
    errand_checkpoints *k = &e->keep;
    bool sent = true;

    while (sent && k->busy && k->states != NULL &&
           k->layer < e->shape.model->n_layer && k->here[k->layer])
        TRY(tell_part(e, &sent));
fail:
    return st;
}

void
errand_kept(errand *e, uint64_t segment)
{
    errand_checkpoints *k = &e->keep;

    if (!k->busy)
        return;
    if (segment != 0 && segment != e->first_segment + k->taken)
        return;
    k->busy = false;
    if (segment == 0)
        return; /* the next one may be */
    k->durable = k->taken;
    k->durable_ns = k->ns;
}

/* First what is under way is read and put away; then it ends. */
status
errand_checkpoint_drain(errand *e, bool *busy)
{
    status st = ST_OK;
    errand_checkpoints *k = &e->keep;

    if (k->busy || e->n_done < e->n_taken)
        return ST_OK;
    *busy = true;
    if (k->durable == e->n_done || e->snapshot_asked) {
        errand_fail(e, status_fail(ST_CANCELED, "the world was drained"));
        return ST_OK;
    }
    TRY(world_snapshot(e->w, e->stream));
    e->snapshot_asked = true;
    k->busy = true; /* until it is kept */
    k->taken = e->n_done;
    k->layer = e->shape.model->n_layer; /* nothing is there yet */
fail:
    return st;
}
