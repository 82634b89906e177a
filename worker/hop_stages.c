/* SPDX-License-Identifier: Apache-2.0 */
/* Stages between a device's memory and MPI. */
#include "worker/hop_stages.h"

#include "base/mem.h"

typedef enum stage_step { FREE = 0, TAKEN, DRAINING } stage_step;

struct hop_stage {
    stage_step step;
    kernel_event *copied; /* behind its last copy */
    uint64_t number;      /* DRAINING: in their order */
};

status
hop_stages_init(hop_stages *s, kernel_queue *queue, uint32_t n, size_t room)
{
    size_t all = 0;
    status st = ST_OK;

    *s = (hop_stages){.queue = queue, .room = room, .n = n};
    TRY(mem_new(&s->stage, n, sizeof *s->stage));
    if (queue == NULL)
        return mem_new(&s->data, n, room);
    kernel_device *dev = kernel_queue_device(queue);
    TRY(size_mul(&all, n, room));
    TRY(kernel_host_new(&s->data, dev, all));
    for (uint32_t i = 0; i < n; i++)
        TRY(kernel_event_new(&s->stage[i].copied, dev));
fail:
    return st;
}

void
hop_stages_fini(hop_stages *s)
{
    for (uint32_t i = 0; s->stage != NULL && i < s->n; i++) {
        kernel_event *copied = s->stage[i].copied;
        /* The copies of a lost device are over, too. */
        status st = copied != NULL ? kernel_event_wait(copied) : ST_OK;
        (void)st;
        kernel_event_free(copied);
    }
    if (s->queue != NULL)
        kernel_host_free(kernel_queue_device(s->queue), s->data);
    else
        mem_free(s->data);
    mem_free(s->stage);
    *s = (hop_stages){0};
}

status
hop_stages_find(hop_stages *s, int *i)
{
    status st = ST_OK;
    hop_stage *oldest = NULL;
    bool reached = false;

    *i = -1;
    for (uint32_t k = 0; k < s->n; k++) {
        hop_stage *at = &s->stage[k];
        if (at->step == FREE) {
            *i = (int)k;
            return ST_OK;
        }
        if (at->step == DRAINING &&
            (oldest == NULL || at->number < oldest->number))
            oldest = at;
    }
    /* The queue makes copies in order: if not this one, none. */
    if (oldest == NULL)
        return ST_OK;
    TRY(kernel_event_query(oldest->copied, &reached));
    if (reached) {
        oldest->step = FREE;
        *i = (int)(oldest - s->stage);
    }
fail:
    return st;
}

void
hop_stages_take(hop_stages *s, int i)
{
    ASSERT(s->stage[i].step == FREE);
    s->stage[i].step = TAKEN;
}

void
hop_stages_give(hop_stages *s, int i)
{
    ASSERT(s->stage[i].step == TAKEN);
    s->stage[i].step = FREE;
}

uint8_t *
hop_stages_data(const hop_stages *s, int i)
{
    return (uint8_t *)s->data + (size_t)i * s->room;
}

status
hop_stages_fill(hop_stages *s, int i, const engine_place *from)
{
    status st = ST_OK;

    ASSERT(s->stage[i].step == TAKEN && from->len <= s->room);
    TRY(kernel_copy_out(s->queue, hop_stages_data(s, i), from->buf,
                        from->offset, from->len));
    TRY(kernel_event_record(s->stage[i].copied, s->queue));
fail:
    return st;
}

status
hop_stages_filled(const hop_stages *s, int i, bool *filled)
{
    return kernel_event_query(s->stage[i].copied, filled);
}

status
hop_stages_drain(hop_stages *s, int i, const engine_place *to)
{
    status st = ST_OK;

    ASSERT(s->stage[i].step == TAKEN && to->len <= s->room);
    TRY(kernel_copy_in(s->queue, to->buf, to->offset, hop_stages_data(s, i),
                       to->len));
    TRY(kernel_event_record(s->stage[i].copied, s->queue));
    s->stage[i].step = DRAINING;
    s->stage[i].number = s->n_drain++;
fail:
    return st;
}
