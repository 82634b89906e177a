/* SPDX-License-Identifier: Apache-2.0 */
/* OpenMP teams and the pinning of their threads. */
#include "kernels/cpu/parallel.h"

#include <omp.h>
#include <sched.h>

#include "base/mem.h"

enum { PARALLEL_MAX_THREAD = 1024 };

struct parallel {
    uint32_t n_thread;
    uint32_t n_core;
    cpu_set_t allowed; /* of the thread that opened the device */
    uint32_t core[];   /* of each thread */
};

/* Chooses the cores: those of the allowed set in order, from the first that
 * ranks before this one leave free. */
static void
place(parallel *p, uint32_t local_rank, uint32_t n_allowed)
{
    uint32_t allowed[CPU_SETSIZE];
    uint32_t n = 0;

    for (uint32_t c = 0; c < CPU_SETSIZE && n < n_allowed; c++)
        if (CPU_ISSET(c, &p->allowed))
            allowed[n++] = c;
    for (uint32_t t = 0; t < p->n_thread; t++)
        p->core[t] =
            allowed[((size_t)local_rank * p->n_thread + t) % n_allowed];
    p->n_core = p->n_thread < n_allowed ? p->n_thread : n_allowed;
}

status
parallel_new(parallel **out, uint32_t n_thread, uint32_t local_rank)
{
    parallel *p = NULL;
    cpu_set_t allowed;
    uint32_t n_allowed;
    status st;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return status_fail(ST_DEVICE, "cannot read the set of allowed cores");
    n_allowed = (uint32_t)CPU_COUNT(&allowed);
    if (n_thread == 0)
        n_thread = n_allowed;
    if (n_thread > PARALLEL_MAX_THREAD)
        return status_fail(ST_ARG, "%u threads are more than %d", n_thread,
                           PARALLEL_MAX_THREAD);
    st = mem_new(&p, 1, sizeof(*p) + n_thread * sizeof(p->core[0]));
    if (st != ST_OK)
        return st;
    p->n_thread = n_thread;
    p->allowed = allowed;
    place(p, local_rank, n_allowed);
    *out = p;
    return ST_OK;
}

void
parallel_free(parallel *p)
{
    mem_free(p);
}

uint32_t
parallel_threads(const parallel *p)
{
    return p->n_thread;
}

uint32_t
parallel_cores(const parallel *p)
{
    return p->n_core;
}

/* Threads of the OpenMP pool may come new or from another team, so each looks
 * where it sits.  A refusal costs speed only. */
static void
pin(uint32_t core)
{
    static _Thread_local uint32_t pinned = UINT32_MAX;
    cpu_set_t one;

    if (pinned == core)
        return;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (sched_setaffinity(0, sizeof(one), &one) == 0)
        pinned = core;
}

static void
pin_caller(uint32_t core)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(core, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

void
parallel_run(parallel *p, parallel_fn *fn, void *ctx)
{
    cpu_set_t before;
    int known = sched_getaffinity(0, sizeof(before), &before);

    pin_caller(p->core[0]);
    if (p->n_thread == 1) {
        fn(ctx, 0);
    } else {
#pragma omp parallel num_threads(p->n_thread)
        {
            uint32_t t = (uint32_t)omp_get_thread_num();

            if (t > 0)
                pin(p->core[t]);
            fn(ctx, t);
        }
    }
    if (known == 0)
        (void)sched_setaffinity(0, sizeof(before), &before);
}

void
parallel_relax(uint32_t turn)
{
    /* Waits are short where each thread has a core; where it has not, the
     * others need this one.  To yield early would hand a core that somebody
     * else wants too to him for milliseconds, and the group waits for it. */
    if (turn > 1U << 14)
        (void)sched_yield();
#if defined(__x86_64__)
    else
        __builtin_ia32_pause();
#endif
}
