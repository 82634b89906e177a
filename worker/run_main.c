/* SPDX-License-Identifier: Apache-2.0 */
/* longwave-run: one input, no daemon.  Results to files and stdout. */
#include <stdio.h>

#include "base/clock.h"
#include "base/jsonout.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/inspect.h"
#include "worker/run_pass.h"
#include "worker/setup.h"

typedef struct run {
    setup setup;
    run_options opt;
    /* the lead's */
    tokenizer *tok;
    template *chat;
    run_input in;
    run_files logits;
    run_answer answer;
    double seconds, read_seconds, first_token_seconds;
    world_totals totals, *each; /* each[ranks] */
} run;

static status
open_tokenizer(run *r)
{
    status st = tokenizer_open(&r->tok, r->setup.opt.model);
    if (st == ST_NOTFOUND) /* works with ids */
        st = ST_OK;
    return st;
}

/* Everything that can be wrong with input and outputs, before work begins. */
static status
prepare(run *r)
{
    const model_config *cfg = &r->setup.cfg;
    FILE *live = r->opt.json ? NULL : stdout;
    status st = ST_OK;

    TRY(run_options_outputs(&r->opt, r->setup.opt.model));
    TRY(open_tokenizer(r));
    TRY(template_open(&r->chat, r->opt.template, r->setup.opt.model, r->tok));
    TRY(run_input_init(&r->in, r->opt.input, r->opt.question, r->tok, r->chat,
                       cfg->n_vocab));
    TRY(run_pass_check(cfg, r->in.n_id, &r->opt));
    if (r->opt.generate > 0)
        TRY(run_answer_init(&r->answer, &r->opt, cfg, r->tok, live));
    if (r->opt.logits != NULL)
        TRY(run_files_open(&r->logits, r->opt.logits, "logits", r->in.n_id,
                           cfg->n_vocab));
fail:
    return st;
}

static run_pass
pass_of(run *r)
{
    return (run_pass){.world = r->setup.world,
                      .cfg = &r->setup.cfg,
                      .compute = r->setup.info.compute,
                      .in = &r->in,
                      .opt = &r->opt,
                      .answer = &r->answer,
                      .logits = r->opt.logits != NULL ? &r->logits : NULL};
}

/* A failure of an output, as the caller of the pass sees it. */
static status
outcome(const run_pass *p)
{
    return p->st == ST_OK ? ST_OK : status_fail(p->st, "%s", p->failure);
}

static status
write_generated(run *r)
{
    const run_answer *a = &r->answer;
    run_files f = {0};
    status st = ST_OK;

    TRY(run_files_open(&f, r->opt.generated_logits, "gen_logits", a->n_id,
                       r->setup.cfg.n_vocab));
    TRY(run_files_add(&f, a->logits, a->n_id));
    TRY(run_files_finish(&f));
fail:
    run_files_close(&f);
    return st;
}

/* The lead's work.  *out: how it went, where the ranks can still agree. */
static status
lead(run *r, status *out)
{
    status st = ST_OK;
    double start = clock_seconds();

    *out = ST_OK;
    if (run_options_score(&r->opt)) {
        run_pass p = pass_of(r);
        TRY(run_pass_score(&p));
        *out = outcome(&p);
        r->read_seconds = p.read_seconds;
    }
    if (*out == ST_OK && r->opt.generate > 0) {
        run_pass p = pass_of(r);
        TRY(run_pass_answer(&p));
        *out = outcome(&p);
        r->first_token_seconds = p.read_seconds;
    }
    r->seconds = clock_seconds() - start;
    if (*out == ST_OK && r->opt.generated_logits != NULL)
        *out = write_generated(r);
    TRY(world_stop(r->setup.world));
fail:
    return st;
}

static void
add_logprob(jsonout *j, int32_t id, float logprob)
{
    jsonout_i64(j, "id", id);
    jsonout_f64(j, "logprob", (double)logprob);
}

/* For each token how likely it was, and which were the likeliest. */
static void
add_logprobs(jsonout *j, const run_answer *a)
{
    jsonout_array(j, "logprobs");
    for (uint32_t i = 0; i < a->n_id; i++) {
        const engine_token *t = &a->tokens[i];
        jsonout_object(j, NULL);
        add_logprob(j, t->id, t->logprob);
        jsonout_array(j, "top");
        for (uint32_t k = 0; k < t->n_top; k++) {
            jsonout_object(j, NULL);
            add_logprob(j, t->top_id[k], t->top_logprob[k]);
            jsonout_close_object(j);
        }
        jsonout_close_array(j);
        jsonout_close_object(j);
    }
    jsonout_close_array(j);
}

static void
add_answer(jsonout *j, const run *r)
{
    const run_answer *a = &r->answer;
    jsonout_f64(j, "seconds_to_first_token", r->first_token_seconds);
    jsonout_array(j, "generated_ids");
    for (uint32_t i = 0; i < a->n_id; i++)
        jsonout_i64(j, NULL, a->ids[i]);
    jsonout_close_array(j);
    if (a->tokens != NULL)
        add_logprobs(j, a);
    if (r->tok != NULL)
        jsonout_bytes(j, "text", a->text != NULL ? a->text : "", a->text_len);
}

static double
rate(const run *r)
{
    double read =
        run_options_score(&r->opt) ? r->read_seconds : r->first_token_seconds;
    return read > 0 ? (double)r->in.n_id / read : 0;
}

/* What each rank did, and how fast. */
static void
add_work(jsonout *j, const run *r)
{
    jsonout_array(j, "work");
    for (uint32_t i = 0; i < comm_size(r->setup.comm); i++) {
        const world_totals *t = &r->each[i];
        jsonout_object(j, NULL);
        jsonout_u64(j, "cells", t->n_cell);
        jsonout_f64(j, "flops", t->flops);
        jsonout_f64(j, "seconds", t->work_seconds);
        jsonout_f64(j, "cpu_seconds", t->work_cpu_seconds);
        jsonout_close_object(j);
    }
    jsonout_close_array(j);
}

static status
print_json(const run *r)
{
    const setup *s = &r->setup;
    jsonout j;

    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_u64(&j, "tokens", r->in.n_id);
    jsonout_u64(&j, "segments", run_pass_cut(&s->cfg, r->in.n_id).n_segment);
    jsonout_u64(&j, "groups", r->totals.n_group);
    jsonout_u64(&j, "groups_most", r->totals.n_group_most);
    jsonout_u64(&j, "groups_all", r->totals.n_group_all);
    jsonout_u64(&j, "cells", r->totals.n_cell);
    jsonout_u64(&j, "steps_ahead", r->totals.n_ahead);
    jsonout_u64(&j, "bytes_moved", r->totals.n_byte);
    jsonout_f64(&j, "hop_seconds", r->totals.hop_seconds);
    jsonout_f64(&j, "hop_hidden_seconds", r->totals.hop_hidden_seconds);
    jsonout_f64(&j, "flops", r->totals.flops);
    jsonout_f64(&j, "seconds", r->seconds);
    jsonout_f64(&j, "tokens_per_second", rate(r));
    jsonout_u64(&j, "peak_rss_bytes", r->totals.peak_rss_bytes);
    jsonout_u64(&j, "ranks", comm_size(s->comm));
    jsonout_u64(&j, "ranks_working", place_active(&s->place));
    jsonout_u64(&j, "replicas", place_replicas(&s->place));
    jsonout_text(&j, "schedule", setup_schedule(s));
    jsonout_text(&j, "placement", place_name(s->place.kind));
    jsonout_text(&j, "device", s->info.device);
    jsonout_text(&j, "device_name", s->info.name);
    jsonout_u64(&j, "threads", s->info.n_thread);
    jsonout_u64(&j, "cores", s->info.n_core);
    add_work(&j, r);
    choice_add_json(&s->choice, &j);
    if (r->opt.generate > 0)
        add_answer(&j, r);
    jsonout_close_object(&j);
    status st = jsonout_print(&j, stdout);
    jsonout_fini(&j);
    return st;
}

/* Why the ranks are placed as they are. */
static void
print_choice(const choice *c)
{
    const plan *p = c->plan;

    if (c->automatic)
        log_info("auto: measured in %.2f s; %.3g s foretold with layers, %.3g "
                 "s with segments",
                 c->seconds, p[PLACE_LAYERS].result.seconds,
                 p[PLACE_SEGMENTS].result.seconds);
}

static void
print_people(const run *r)
{
    const setup *s = &r->setup;
    uint64_t n_segment = run_pass_cut(&s->cfg, r->in.n_id).n_segment;
    log_info("%llu token%s in %llu segment%s, %.2f s, %.0f tokens/s; %u rank%s "
             "(%u working), %s, %s, %s, %u thread%s, peak %llu MiB",
             (unsigned long long)r->in.n_id, r->in.n_id == 1 ? "" : "s",
             (unsigned long long)n_segment, n_segment == 1 ? "" : "s",
             r->seconds, rate(r), comm_size(s->comm),
             comm_size(s->comm) == 1 ? "" : "s", place_active(&s->place),
             place_name(s->place.kind), setup_schedule(s), s->info.device,
             s->info.n_thread, s->info.n_thread == 1 ? "" : "s",
             (unsigned long long)r->totals.peak_rss_bytes >> 20);
    if (r->totals.hop_seconds > 0)
        log_info("%llu MiB between ranks, %.3f s under way, %.0f %% of it "
                 "behind computing",
                 (unsigned long long)r->totals.n_byte >> 20,
                 r->totals.hop_seconds,
                 100 * r->totals.hop_hidden_seconds / r->totals.hop_seconds);
    print_choice(&s->choice);
    if (r->opt.generate > 0)
        log_info("%u tokens drawn, the first after %.3f s", r->answer.n_id,
                 r->first_token_seconds);
}

/* Behind setup_start(): ranks that serve, and the one that leads. */
static status
work(run *r)
{
    setup *s = &r->setup;
    status st = ST_OK, result = ST_OK;

    st = setup_is_lead(s) ? lead(r, &result) : world_serve(s->world);
    if (st != ST_OK)
        setup_abort(s, st);
    TRY(setup_agree(s, result));
    if (setup_is_lead(s))
        st = mem_new(&r->each, comm_size(s->comm), sizeof *r->each);
    TRY(setup_agree(s, st));
    TRY(world_totals_get(s->world, &r->totals, r->each));
    if (setup_is_lead(s) && !r->opt.json)
        print_people(r);
    TRY(setup_agree(s,
                    setup_is_lead(s) && r->opt.json ? print_json(r) : ST_OK));
fail:
    return st;
}

static status
all(run *r, int argc, char **argv)
{
    setup *s = &r->setup;
    bool done = false;
    status st = ST_OK;

    TRY(run_options_parse(&r->opt, s, argc, argv, &done));
    if (done)
        return ST_OK;
    if (r->opt.inspect) {
        TRY(setup_agree(s, weights_want_parse(&s->want, s->opt.weights)));
        TRY(setup_agree(s, setup_is_lead(s) ? inspect_run(s, &r->opt) : ST_OK));
        return ST_OK;
    }
    TRY(setup_model(s));
    TRY(setup_agree(s, run_options_model(&r->opt, &s->cfg)));
    TRY(setup_agree(s, setup_is_lead(s) ? prepare(r) : ST_OK));
    setup_world args = {.n_stream = 1, .n_answer = (uint32_t)r->opt.generate};
    args.n_token = r->in.n_id + r->opt.generate;
    args.job =
        (choice_job){.n_stream = 1,
                     .n_seg = run_pass_cut(&s->cfg, r->in.n_id).n_segment,
                     .logits = r->opt.logits != NULL,
                     .all_rows = r->opt.all_rows};
    TRY(comm_share(s->comm, &args, sizeof args));
    TRY(setup_start(s, &args));
    TRY(work(r));
fail:
    return st;
}

int
main(int argc, char **argv)
{
    run r = {0};
    status st = setup_open(&r.setup, "longwave-run", &argc, &argv);
    if (st == ST_OK)
        st = all(&r, argc, argv);
    mem_free(r.each);
    run_answer_fini(&r.answer);
    run_files_close(&r.logits);
    run_input_fini(&r.in);
    template_close(r.chat);
    tokenizer_close(r.tok);
    return setup_close(&r.setup, st);
}
