/* SPDX-License-Identifier: Apache-2.0 */
/* Small questions about a job. */
#include "daemon/job.h"

#include <string.h>

const char *
job_kind_name(job_kind kind)
{
    return kind == JOB_ADD ? "add" : "ask";
}

bool
job_same_peer(const zsocket_peer *a, const zsocket_peer *b)
{
    return a->len == b->len && memcmp(a->id, b->id, a->len) == 0;
}

bool
job_is_active(const job *j)
{
    return j->state == CLIENT_RECEIVING || j->state == CLIENT_QUEUED ||
           j->state == CLIENT_RUNNING;
}

bool
job_is_open(const job *j)
{
    return job_is_active(j) && !j->ending && !j->storing;
}

bool
job_has_model(const job *j)
{
    static const uint8_t none[sizeof(j->fingerprint)];

    return memcmp(j->fingerprint, none, sizeof(none)) != 0;
}

uint64_t
job_feed_segments(const job *j)
{
    return j->n_write + (j->kind == JOB_ASK);
}

uint64_t
job_segments(const job *j)
{
    bool known = j->n_write > 0 || j->stage == JOB_READY ||
                 j->state == CLIENT_STATE_DONE;

    return known ? j->n_write + 1 : 0;
}

uint64_t
job_segments_through(const job *j)
{
    return j->state == CLIENT_STATE_DONE ? job_segments(j) : j->segments_done;
}

double
job_tokens_per_second(const job *j, uint64_t now_ns, uint32_t segment)
{
    uint64_t until = j->ended_ns ? j->ended_ns : now_ns;
    double seconds = (double)(until - j->begun_ns) * 1e-9;

    if (!j->begun_ns || until <= j->begun_ns)
        return 0;
    return (double)(j->segments_done - j->base) * segment / seconds;
}
