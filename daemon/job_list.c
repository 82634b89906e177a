/* SPDX-License-Identifier: Apache-2.0 */
/* An array with room at both ends, found by bisection. */
#include "daemon/job_list.h"

#include <string.h>

#include "base/mem.h"

void
job_list_fini(job_list *l)
{
    mem_free(l->item);
    *l = (job_list){.item = NULL};
}

/* Twice the room: moving all to the front is paid for by as many insertions.
 */
status
job_list_reserve(job_list *l, size_t n)
{
    size_t cap = l->cap > 0 ? 2 * l->cap : 32;
    status st;

    if (n <= l->cap / 2)
        return ST_OK;
    while (cap / 2 < n)
        TRY(size_mul(&cap, cap, 2));
    TRY(mem_resize(&l->item, cap, sizeof(job *)));
    l->cap = cap;
    return ST_OK;
fail:
    return st;
}

job *
job_list_at(const job_list *l, size_t i)
{
    return l->item[l->first + i];
}

size_t
job_list_place(const job_list *l, uint64_t id)
{
    size_t low = 0;
    size_t high = l->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (job_list_at(l, mid)->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

job *
job_list_find(const job_list *l, uint64_t id)
{
    size_t i = job_list_place(l, id);

    return i < l->n && job_list_at(l, i)->id == id ? job_list_at(l, i) : NULL;
}

static void
move(job_list *l, size_t to, size_t from, size_t n)
{
    memmove(l->item + to, l->item + from, n * sizeof(job *));
}

void
job_list_insert(job_list *l, job *j)
{
    size_t i = l->n > 0 && job_list_at(l, l->n - 1)->id < j->id
                   ? l->n
                   : job_list_place(l, j->id);

    ASSERT(l->n < l->cap);
    if (l->first > 0 && i < l->n / 2) {
        move(l, l->first - 1, l->first, i);
        l->first--;
    } else {
        if (l->first + l->n == l->cap) {
            move(l, 0, l->first, l->n);
            l->first = 0;
        }
        move(l, l->first + i + 1, l->first + i, l->n - i);
    }
    l->item[l->first + i] = j;
    l->n++;
}

void
job_list_remove(job_list *l, size_t i)
{
    if (i < l->n / 2) {
        move(l, l->first + 1, l->first, i);
        l->first++;
    } else {
        move(l, l->first + i, l->first + i + 1, l->n - i - 1);
    }
    l->n--;
}
