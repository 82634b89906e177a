/* SPDX-License-Identifier: Apache-2.0 */
/* What will happen, earliest first: a heap. */
#include "base/mem.h"
#include "sched/simulate_impl.h"

status
simulate_queue_init(simulate_queue *q, size_t cap)
{
    *q = (simulate_queue){.cap = cap};
    return mem_new(&q->event, cap, sizeof *q->event);
}

void
simulate_queue_fini(simulate_queue *q)
{
    mem_free(q->event);
    *q = (simulate_queue){0};
}

static bool
before(const simulate_event *a, const simulate_event *b)
{
    if (a->at < b->at)
        return true;
    if (b->at < a->at)
        return false;
    if (a->kind != b->kind)
        return a->kind < b->kind;
    return a->number < b->number;
}

static void
swap(simulate_event *a, simulate_event *b)
{
    simulate_event t = *a;
    *a = *b;
    *b = t;
}

void
simulate_queue_push(simulate_queue *q, const simulate_event *event)
{
    size_t i = q->n++;

    ASSERT(q->n <= q->cap);
    q->event[i] = *event;
    q->event[i].number = q->n_ever++;
    for (; i > 0 && before(&q->event[i], &q->event[(i - 1) / 2]);
         i = (i - 1) / 2)
        swap(&q->event[i], &q->event[(i - 1) / 2]);
}

void
simulate_queue_pop(simulate_queue *q, simulate_event *out)
{
    ASSERT(q->n > 0);
    *out = q->event[0];
    q->event[0] = q->event[--q->n];
    for (size_t i = 0, child; (child = 2 * i + 1) < q->n; i = child) {
        if (child + 1 < q->n && before(&q->event[child + 1], &q->event[child]))
            child++;
        if (!before(&q->event[child], &q->event[i]))
            break;
        swap(&q->event[i], &q->event[child]);
    }
}
