/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of running jobs, from a world's parts to a file and its row.
 *
 * No memory for one is no reason to end what is read: it is given up, with the
 * parts of it that are still to come, and the world may make the next. */
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "daemon/service_state.h"

static void
end_file(service_checkpoint *k)
{
    disk_checkpoint_end(k->file); /* whole, or never to be */
    k->file = NULL;
}

void
service_checkpoint_drop(service_checkpoint *k)
{
    end_file(k);
    k->untold = false;
    k->lost_segment = 0;
}

static status
open_file(service_checkpoint *k, service *v, const core_action *a)
{
    const job *j = a->job;
    uint64_t segment = a->world->u.checkpoint.segment;
    snapshot_info info = {.n_layer = v->model.n_layer,
                          .state_bytes = a->place.states,
                          .n_segment = segment};
    status st = ST_OK;

    memcpy(info.fingerprint, j->fingerprint, sizeof(info.fingerprint));
    if (FAULT_FAILS(SHARD_NEW))
        TRY(status_fail(ST_NOMEM, "out of memory for a part of it"));
    if (!k->file)
        TRY(disk_checkpoint_new(&k->file, v->writer, j, segment, &info));
fail:
    return st;
}

static status
add_part(service_checkpoint *k, service *v, const core_action *a)
{
    const world_message *m = a->world;
    disk_shard at = {.place = a->place.at,
                     .offset = m->u.checkpoint.offset,
                     .total = m->u.checkpoint.total,
                     .layer = m->u.checkpoint.layer,
                     .crc = m->u.checkpoint.crc};
    status st;

    if (k->file && disk_checkpoint_segment(k->file) != m->u.checkpoint.segment)
        end_file(k);
    TRY(open_file(k, v, a));
    TRY(disk_checkpoint_add(k->file, &at, a->raw.data, a->raw.len));
fail:
    return st;
}

static void
give_up(service_checkpoint *k, const core_action *a, const char *why)
{
    end_file(k);
    k->lost_segment = a->world->u.checkpoint.segment;
    k->lost_attempt = a->job->attempt;
    k->untold = true;
    (void)snprintf(k->why, sizeof(k->why), "%s", why);
}

void
service_checkpoint_add(service *v, const core_action *a)
{
    holding *h = service_holding_find(v, a->job->id);

    if (!h || h->checkpoint.lost_segment == a->world->u.checkpoint.segment ||
        add_part(&h->checkpoint, v, a) == ST_OK)
        return;
    give_up(&h->checkpoint, a, status_text());
    v->has_failed = true;
}

bool
service_checkpoint_settle(service_checkpoint *k, service *v, uint64_t id)
{
    job_checkpoint row = {.segment = k->lost_segment,
                          .attempt = k->lost_attempt};
    char why[sizeof(k->why)];

    if (!k->untold)
        return false;
    k->untold = false;
    memcpy(why, k->why, sizeof(why)); /* the core may drop the job */
    core_checkpointed(v->core, id, &row, ST_NOMEM, why);
    return true;
}

static status
note_row(service *v, const disk_report *r)
{
    if (FAULT_FAILS(CHECKPOINT_NOTE))
        return status_fail(ST_NOMEM, "out of memory for a checkpoint's row");
    return journal_checkpoint(v->journal, &r->checkpoint, r->crcs);
}

void
service_checkpoint_written(service *v, const disk_report *r)
{
    job_checkpoint k = {.segment = r->number,
                        .bytes = r->checkpoint.bytes,
                        .attempt = r->attempt};
    status st = r->st;
    const char *text = r->text;

    if (st == ST_OK) {
        st = note_row(v, r);
        text = status_text();
    }
    if (st == ST_OK)
        return;
    core_checkpointed(v->core, r->id, &k, st, text);
    if (r->st == ST_OK) /* of a file without a row nobody knows */
        service_note(disk_checkpoint_remove(v->writer, r->id, &k),
                     "a checkpoint's end");
}
