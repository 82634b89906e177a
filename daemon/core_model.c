/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that are bound to a model, because it read their document or has begun
 * to: another one neither runs nor changes them. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_state.h"

bool
core_model_is_ours(const core *c, const uint8_t fingerprint[32])
{
    for (uint32_t i = 0; i < c->cfg.n_fingerprint; i++)
        if (memcmp(c->cfg.fingerprint[i], fingerprint, 32) == 0)
            return true;
    return c->cfg.n_fingerprint == 0;
}

/* NULL: any model may run it. */
static const uint8_t *
needed(const core *c, const job *j)
{
    const document *doc;

    if (j->kind == JOB_ADD)
        return j->n_checkpoint > 0 && job_has_model(j) ? j->fingerprint : NULL;
    if (j->kept > 0 && job_has_model(j))
        return j->fingerprint;
    doc = catalog_by_id(c->docs, j->document_id);
    return doc && document_has_model(doc) ? doc->fingerprint : NULL;
}

/* Until a world has come it may not be known what will be served. */
static bool
is_served(const core *c, const uint8_t fingerprint[32])
{
    if (c->has_fingerprint)
        return memcmp(c->fingerprint, fingerprint, 32) == 0;
    return core_model_is_ours(c, fingerprint);
}

bool
core_model_is_open(const core *c, const job *j)
{
    return j->attempt > 0 && !c->has_fingerprint && c->cfg.n_fingerprint == 0 &&
           needed(c, j) != NULL;
}

status
core_model_suits(const core *c, const job *j)
{
    const uint8_t *model = needed(c, j);
    const document *doc;

    if (model && !is_served(c, model))
        return status_fail(ST_STATE,
                           "document '%s' was read by another model "
                           "than '%s'",
                           j->document, c->cfg.model);
    if (j->kind == JOB_ADD || j->input != CLIENT_TEXT)
        return ST_OK;
    doc = catalog_by_id(c->docs, j->document_id);
    if (doc && document_has_template(doc) &&
        memcmp(doc->template, c->cfg.template, sizeof(doc->template)) != 0)
        return status_fail(ST_STATE,
                           "document '%s' was read with another template than "
                           "the daemon has now (--template)",
                           doc->name);
    return ST_OK;
}

status
core_model_resumes(const core *c, const job *j)
{
    char why[512];
    status st = core_model_suits(c, j);

    if (st == ST_OK)
        return ST_OK;
    (void)snprintf(why, sizeof(why), "%s", status_text());
    return status_fail(st, "job %llu waits: %s", (unsigned long long)j->id,
                       why);
}

void
core_model_wait(core *c, job *j)
{
    core_action drop = {.kind = CORE_JOB_DROP, .job = j};
    status st = core_model_resumes(c, j);

    if (st == ST_OK || j->waits)
        return;
    j->waits = true;
    job_table_unqueue(c->jobs, j);
    (void)snprintf(j->text, sizeof(j->text), "%s", status_text());
    core_incident(c, j, "%s", j->text);
    if (j->stage != JOB_RAW) {
        core_job_stage(c, j, JOB_RAW);
        core_act(c, &drop);
    }
    for (size_t i = j->n_seat; i > 0; i--)
        core_refuse(c, &j->seat[i - 1].who, status_fail(st, "%s", j->text));
    job_table_unwatch(c->jobs, j, NULL);
}
