/* SPDX-License-Identifier: Apache-2.0 */
/* Opening longwaved: parts, what an earlier run left, sockets, threads. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/service_state.h"
#include "model/fingerprint.h"

static status
open_signals(service *v)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return status_fail(ST_IO, "signals: %s", strerror(errno));
    v->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (v->signals < 0)
        return status_fail(ST_IO, "signalfd: %s", strerror(errno));
    return ST_OK;
}

/* The last part of the model directory's path is its name. */
static status
name_of(char **out, const char *dir)
{
    size_t end = strlen(dir);
    size_t start;
    status st;

    while (end > 1 && dir[end - 1] == '/')
        end--;
    start = end;
    while (start > 0 && dir[start - 1] != '/')
        start--;
    TRY(mem_new(out, end - start + 1, 1));
    memcpy(*out, dir + start, end - start);
fail:
    return st;
}

static status
open_model(service *v)
{
    status st;

    TRY(config_load_given(&v->model, v->set->model, &v->set->given));
    if (v->model.align != CONFIG_ALIGN_LEFT)
        TRY(status_fail(ST_UNSUPPORTED,
                        "segment_alignment other than \"left\" is not "
                        "supported by the daemon: every cut depends on the "
                        "length of the whole input"));
    TRY(name_of(&v->name, v->set->model));
    st = tokenizer_open(&v->tok, v->set->model);
    if (st == ST_NOTFOUND) {
        log_info("'%s' has no tokenizer.json: token ids only", v->set->model);
        st = ST_OK;
    }
    TRY(st);
    TRY(template_open(&v->chat, v->set->template, v->set->model, v->tok));
fail:
    return st;
}

static status
restore_document(void *ctx, const document *doc)
{
    service *v = ctx;
    document copy = *doc;

    if (doc->damaged) {
        log_error("document '%s' is damaged: its row in the journal",
                  doc->name);
    } else if (datadir_check_document(v->dir, doc) != ST_OK) {
        log_error("document '%s' is damaged: %s", doc->name, status_text());
        copy.damaged = true;
    }
    return core_restore_document(v->core, &copy);
}

/* Last ids of a document from before they had a hash are believed as they are.
 */
static status
hash_ids(service *v)
{
    const catalog *docs = core_catalog(v->core);
    store *s = datadir_store(v->dir);
    status st;

    TRY(store_begin(s));
    for (size_t i = 0; i < catalog_count(docs); i++) {
        document *doc = catalog_at(docs, i);

        if (doc->damaged || !hash_is_zero(doc->ids_hash))
            continue;
        if (datadir_hash_ids(v->dir, doc) == ST_OK)
            TRY(store_note_hashes(s, doc));
        else
            log_error("the last ids of document '%s': %s", doc->name,
                      status_text());
    }
    TRY(store_commit(s));
fail:
    return st;
}

/* Once: its row stays as it is, and at the next start it is no news. */
static status
tell_damage(service *v, const store_job *row)
{
    store *s = datadir_store(v->dir);
    bool first;
    status st;

    TRY(store_note_damaged(s, row->id, &first));
    if (!first)
        return ST_OK;
    log_error("job %" PRIu64 " of '%s' counts as failed: %s", row->id,
              row->owner, row->text);
    TRY(store_add_incident(s, clock_wall_ms(), row->id, row->text));
fail:
    return st;
}

static status
restore_finished(void *ctx, const store_job *row)
{
    service *v = ctx;
    status st;

    if (row->damaged)
        TRY(tell_damage(v, row));
    TRY(core_restore_finished(v->core, row));
fail:
    return st;
}

/* One job's rotten row is no reason to keep all others waiting. */
static status
restore_unfinished(void *ctx, const store_record *r)
{
    service *v = ctx;

    return r->row.damaged ? restore_finished(v, &r->row)
                          : core_restore_unfinished(v->core, r);
}

/* Readings go on from another checkpoint, or from the start. */
static status
drop_damaged_checkpoints(service *v)
{
    store *s = datadir_store(v->dir);
    char text[128];
    size_t n;
    status st;

    TRY(store_drop_damaged_checkpoints(s, &n));
    if (n == 0)
        return ST_OK;
    (void)snprintf(text, sizeof(text),
                   "what the journal had of %zu checkpoint%s was damaged", n,
                   n == 1 ? "" : "s");
    log_error("%s", text);
    TRY(store_add_incident(s, clock_wall_ms(), 0, text));
fail:
    return st;
}

static status
restore_checkpoint(void *ctx, const store_checkpoint *k)
{
    service *v = ctx;
    bool known;
    status st = ST_OK;

    core_restore_checkpoint(v->core, k, &known);
    if (known)
        TRY(datadir_name_checkpoint(v->dir, k));
fail:
    return st;
}

/* Whether a file belongs to something that is there. */
static bool
is_known(void *ctx, const char *kind, uint64_t id, uint64_t segment,
         uint32_t attempt)
{
    service *v = ctx;
    const job *j = job_table_find(core_jobs(v->core), id);

    if (strcmp(kind, "snap") == 0 || strcmp(kind, "ids") == 0)
        return catalog_by_id(core_catalog(v->core), id) != NULL;
    if (j && j->damaged) /* the rest of it is for people to look at */
        return strcmp(kind, "in") == 0;
    if (!j || !job_is_active(j))
        return false;
    for (size_t i = 0; i < j->n_checkpoint; i++)
        if (j->checkpoint[i].segment == segment &&
            j->checkpoint[i].attempt == attempt)
            return true;
    return strcmp(kind, "in") == 0;
}

/* Counts this start, so that what belongs to an earlier one is known. */
static status
count_start(service *v, uint64_t *epoch)
{
    store *s = datadir_store(v->dir);
    status st;

    TRY(store_number(s, epoch, "epoch"));
    ++*epoch;
    TRY(store_number(s, &v->age_s, "age"));
    TRY(store_begin(s));
    TRY(store_set_number(s, "epoch", *epoch));
    TRY(store_commit(s));
    v->start_ns = clock_ns();
fail:
    return st;
}

static status
restore(service *v)
{
    store *s = datadir_store(v->dir);
    char error[512];
    status st;

    TRY(store_each_document(s, restore_document, v));
    TRY(hash_ids(v));
    /* Ids rise: what ended lies before and between what did not. */
    TRY(store_each_finished(s, JOB_TABLE_KEEP, restore_finished, v));
    TRY(store_each_unfinished(s, restore_unfinished, v));
    TRY(drop_damaged_checkpoints(v));
    TRY(store_each_checkpoint(s, restore_checkpoint, v));
    TRY(store_last_incident(s, error, sizeof(error)));
    core_restore_error(v->core, error);
    TRY(datadir_sweep(v->dir, is_known, v));
fail:
    return st;
}

/* Associations are F32 and alike in all layers; with a window or bare layers
 * the states are of several kinds. */
static uint32_t
measured_layers(const model_config *m)
{
    bool alike = m->memory == CONFIG_MEMORY_ASSOC && !m->window &&
                 m->n_layer <= CLIENT_MAX_LAYER;

    for (uint32_t l = 0; l < m->n_layer; l++)
        alike = alike && !config_is_bare(m, l);
    return alike ? m->n_layer : 0;
}

/* What stands around a text, whatever it is called. */
static void
hash_template(uint8_t out[HASH_BYTES], const template *t)
{
    hash h;

    hash_init(&h);
    for (int place = 0; place < TEMPLATE_N_PLACE; place++) {
        size_t n = 0;
        const int32_t *ids = template_ids(t, (template_place)place, &n);
        const uint64_t count = n;

        hash_add(&h, &count, sizeof(count));
        if (n > 0)
            hash_add(&h, ids, n * sizeof(*ids));
    }
    hash_end(&h, out);
}

static status
open_core(service *v)
{
    core_config cfg = {
        .model = v->name,
        .tok = v->tok,
        .n_layer = v->model.n_layer,
        .segment_size = v->model.segment_size,
        .n_vocab = v->model.n_vocab,
        .trained_norm = v->model.trained_norm,
        .n_trained_norm = v->model.n_trained_norm,
        .n_norm = measured_layers(&v->model),
        .n_eos = v->model.n_eos,
        .max_input = v->set->max_input,
        .max_queue = (uint32_t)v->set->max_queue,
        .max_tokens = v->set->max_tokens,
        .max_bytes = v->set->max_queued_bytes,
        .share = (uint32_t)v->set->key_share,
        .input_window = 8 << 20,
        .heartbeat_ms = 500,
        .timeout_ms = 5000,
        .hang_ms = (uint32_t)(v->set->hang_seconds * 1e3),
        .input_timeout_ns = UINT64_C(60) * 1000000000,
        .drain_ns = (uint64_t)(v->set->drain_seconds * 1e9),
        .checkpoint_segments = (uint32_t)v->set->checkpoint_segments,
        .checkpoint_ms = (uint32_t)(v->set->checkpoint_seconds * 1e3),
    };
    uint64_t next;
    size_t n_file = 0;
    status st;

    for (int i = 0; i < FINGERPRINT_N_VARIANT; i++)
        TRY(fingerprint_read(cfg.fingerprint[i], &n_file, v->set->model,
                             (fingerprint_variant)i, &v->set->given));
    /* A head node may lack the weights. */
    cfg.n_fingerprint = n_file > 0 ? FINGERPRINT_N_VARIANT : 0;
    hash_template(cfg.template, v->chat);
    memcpy(cfg.eos, v->model.eos, sizeof(cfg.eos));
    TRY(count_start(v, &cfg.epoch));
    TRY(store_next_job(datadir_store(v->dir), &next));
    TRY(core_new(&v->core, &cfg, next, service_act, v));
    TRY(restore(v));
fail:
    return st;
}

static status
open_sockets(service *v)
{
    const settings *set = v->set;
    door_setup setup = {.key = set->key,
                        .authorized = set->authorized,
                        .allow_local_users = set->allow_local_users};
    status st;

    TRY(zcontext_new(&v->z));
    TRY(door_open(&v->door, v->z, &setup));
    TRY(loop_new(&v->l));
    TRY(clients_open(&v->clients, v->z, v->l, set->listen, v->door));
    TRY(worlds_open(&v->worlds, v->z, v->l, set->listen_worlds, v->door));
    TRY(door_check(v->door, clients_endpoint(v->clients)));
    TRY(door_check(v->door, worlds_endpoint(v->worlds)));
    outbox_on_drained(worlds_outbox(v->worlds), service_on_drained, v);
fail:
    return st;
}

static status
open_threads(service *v)
{
    status st;

    TRY(helper_new(&v->reader));
    TRY(disk_new(&v->writer, v->dir));
    TRY(journal_new(&v->journal, datadir_store(v->dir)));
    journal_on_report(v->journal, service_on_journal, v);
    TRY(tokens_new(&v->tokens, v->tok, v->chat, v->model.n_vocab,
                   datadir_tmp(v->dir)));
    disk_on_report(v->writer, service_on_disk, v);
    tokens_on_report(v->tokens, service_input_tokenized, v);
fail:
    return st;
}

static status
open_launch(service *v)
{
    launch_setup setup = {
        .command = v->set->launch,
        .workers = (uint32_t)v->set->workers,
        .model = v->set->model,
        .endpoint = worlds_endpoint(v->worlds),
        .device = v->set->device,
        .placement = v->set->placement,
        .weights = v->set->weights,
        .given = v->set->given,
        .threads = (uint32_t)v->set->threads,
        .max_context = v->set->max_context,
        .key = v->set->key,
        .data = v->set->data,
        .start_ms = (uint64_t)(v->set->start_seconds * 1e3),
    };

    if (!setup.command && setup.workers == 0)
        return ST_OK;
    return launch_new(&v->launch, &setup, service_on_launch, v);
}

status
service_new(service **out, const settings *s)
{
    service *v = NULL;
    status st;

    TRY(mem_new(&v, 1, sizeof(*v)));
    v->set = s;
    v->signals = -1;
    TRY(open_signals(v));
    TRY(open_model(v));
    TRY(datadir_open(&v->dir, s->data));
    TRY(open_core(v));
    TRY(open_sockets(v));
    TRY(open_threads(v));
    TRY(service_join_loop(v));
    TRY(open_launch(v));
    *out = v;
    return ST_OK;
fail:
    service_free(v);
    return st;
}
