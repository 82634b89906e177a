/* SPDX-License-Identifier: Apache-2.0 */
/* What is held for jobs, by their numbers, and what has failed of it.
 *
 * The core is at work when functions called for its actions run, and must not
 * be called back: what fails is noted in the holding and told by
 * service_holding_settle(). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/service_state.h"

/* Numbers of jobs follow each other: the lists are about equally long. */
static holding **
list_of(service *v, uint64_t id)
{
    return &v->held[id % SERVICE_LISTS];
}

holding *
service_holding_find(service *v, uint64_t id)
{
    for (holding *h = *list_of(v, id); h; h = h->next)
        if (h->job == id)
            return h;
    return NULL;
}

void
service_holding_fail(service *v, holding *h, uint32_t attempt, status st,
                     const char *text)
{
    if (h->failed != ST_OK)
        return;
    v->has_failed = true;
    h->failed = st;
    h->failed_attempt = attempt;
    (void)snprintf(h->text_of_failure, sizeof(h->text_of_failure), "%s", text);
}

status
service_holding_keep(service *v, holding **out, uint64_t id)
{
    holding *h = service_holding_find(v, id);
    status st = ST_OK;

    if (!h) {
        TRY(mem_new(&h, 1, sizeof(*h)));
        h->job = id;
        h->next = *list_of(v, id);
        *list_of(v, id) = h;
    }
    *out = h;
fail:
    return st;
}

static void
drop_attempt(holding *h)
{
    feed_free(h->feed);
    h->feed = NULL;
    disk_snapshot_drop(h->snapshot);
    h->snapshot = NULL;
    service_checkpoint_drop(&h->checkpoint);
    h->damaged = false;
}

void
service_holding_drop_attempt(service *v, uint64_t id)
{
    holding *h = service_holding_find(v, id);

    if (h)
        drop_attempt(h);
}

void
service_holding_drop(service *v, uint64_t id)
{
    holding **at = list_of(v, id);
    holding *h;

    while (*at && (*at)->job != id)
        at = &(*at)->next;
    h = *at;
    if (!h)
        return;
    *at = h->next;
    drop_attempt(h);
    disk_input_end(h->file, false);
    mem_free(h->buffer);
    mem_free(h->pending);
    tokens_input_cancel(h->input);
    spool_free(h->ids);
    mem_free(h);
}

void
service_holding_drop_all(service *v)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        while (v->held[i])
            service_holding_drop(v, v->held[i]->job);
}

void
service_holding_again(service *v)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        for (holding *h = v->held[i]; h; h = h->next) {
            if (again_is_due(&h->again))
                service_input_again(v, h);
            if (h->input && tokens_input_waits(h->input))
                tokens_input_again(h->input);
            if (h->feed && feed_waits(h->feed))
                feed_again(h->feed);
        }
}

static holding *
find_failed(service *v)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        for (holding *h = v->held[i]; h; h = h->next)
            if (h->failed != ST_OK || h->checkpoint.untold)
                return h;
    return NULL;
}

bool
service_holding_settle(service *v)
{
    holding *h = v->has_failed ? find_failed(v) : NULL;
    char text[sizeof(h->text_of_failure)];
    bool damaged;
    status st;

    v->has_failed = h != NULL; /* perhaps there are more of them */
    if (!h)
        return false;
    if (service_checkpoint_settle(&h->checkpoint, v, h->job))
        return true;
    st = h->failed;
    damaged = h->damaged;
    memcpy(text, h->text_of_failure, sizeof(text));
    h->failed = ST_OK;
    h->damaged = false;
    if (damaged)
        core_checkpoint_damaged(v->core, h->job, h->failed_attempt, text);
    else
        core_job_failed(v->core, h->job, h->failed_attempt, st, text);
    return true;
}
