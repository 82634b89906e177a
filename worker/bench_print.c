/* SPDX-License-Identifier: Apache-2.0 */
/* What longwave-bench says: for people, and in JSON. */
#include "worker/bench_print.h"

#include <stdio.h>

#include "base/jsonout.h"
#include "sched/segment.h"

const char *const bench_print_schedules[BENCH_N_SCHEDULE] = {
    [WAVEFRONT_DIAGONAL] = "diagonal", [WAVEFRONT_SEQUENTIAL] = "sequential"};

static void
print_shape(const bench *b)
{
    printf("%s, %u layers of %u, segments of %llu + %llu, %llu tokens in %llu "
           "segments%s\n",
           b->preset, b->cfg.n_layer, b->cfg.d_model,
           (unsigned long long)b->segment, (unsigned long long)b->mem,
           (unsigned long long)b->tokens,
           (unsigned long long)segment_count(b->tokens, b->cfg.segment_size),
           b->reading ? ", only rows that a reading needs" : "");
}

/* Of what each schedule left: the kinds of tensors, and the last segment's rows
 * behind the last layer. */
static void
print_norms(const bench *b)
{
    printf("\n");
    for (uint32_t i = 0; i < BENCH_N_SCHEDULE; i++) {
        const bench_run_left *left = &b->result[i].left;
        if (!b->wanted[i])
            continue;
        printf("%s: norms of", bench_print_schedules[i]);
        for (uint32_t k = 0; k < left->n_norm; k++)
            printf(" %s %.6g,", left->norm_name[k], left->norm[k]);
        printf(" rows %.6g\n", left->rows_norm);
    }
}

static void
print_table(const bench *b)
{
    printf("%s on %u cores; bare product %.1f GFLOP/s by %s (before %.1f, "
           "after %.1f; the library's %.1f), reads %.1f GB/s\n\n",
           b->info.name, b->info.n_core, b->product.flops * 1e-9, b->product.by,
           b->product_before * 1e-9, b->product_after * 1e-9,
           b->product.library * 1e-9, b->read * 1e-9);
    printf("%-12s%10s%10s%12s%8s%10s%12s%14s%10s\n", "schedule", "seconds",
           "warm-up", "tokens/s", "groups", "GFLOP/s", "of product",
           "state norm", "MB");
    for (uint32_t i = 0; i < BENCH_N_SCHEDULE; i++) {
        const bench_run_result *r = &b->result[i];
        if (!b->wanted[i])
            continue;
        printf("%-12s%10.4f%10.4f%12.0f%8llu%10.1f%11.1f%%%14.6g%10.1f\n",
               bench_print_schedules[i], r->seconds, r->warm,
               (double)b->tokens / r->seconds, (unsigned long long)r->n_group,
               r->flops / r->seconds * 1e-9,
               100 * r->flops / r->seconds / b->product.flops,
               r->left.states_norm,
               (double)(r->taken > 0 ? r->taken : r->bytes) * 1e-6);
    }
    print_norms(b);
}

static void
print_check(const bench *b)
{
    const bench_check_result *r = &b->checked;

    printf("%s; seed %llu, %llu numbers against double; relative norms of the "
           "difference:\n\n%-18s%12s%18s\n",
           b->info.name, (unsigned long long)b->seed,
           (unsigned long long)r->n_number, "", "of all", "of the worst");
    for (bench_check_what i = 0; i < BENCH_CHECK_N; i++)
        printf("%-18s%12.2e%18.2e\n", bench_check_name(i), r->error[i],
               r->worst[i]);
    printf("\n%s: at most %g\n", r->ok ? "right" : "WRONG", r->limit);
}

static double
tokens_of(const bench *b)
{
    return (double)b->answer.n_step * (double)b->jobs / b->answer.seconds;
}

static double
bytes_of(const bench *b)
{
    return b->answer.bytes * (double)b->answer.n_step / b->answer.seconds;
}

static void
print_answer(const bench *b)
{
    printf("%s on %u cores; reads %.1f GB/s\n\n", b->info.name, b->info.n_core,
           b->read * 1e-9);
    printf("%llu jobs: %.1f tokens/s, %.4f ms a step of %.4f GB, %.1f GB/s: "
           "%.1f%% of what the device reads; warm-up %.4f s; norms of the "
           "last job's states %.6g, its row %.6g\n",
           (unsigned long long)b->jobs, tokens_of(b),
           b->answer.seconds / (double)b->answer.n_step * 1e3,
           b->answer.bytes * 1e-9, bytes_of(b) * 1e-9,
           100 * bytes_of(b) / b->read, b->answer.warm, b->answer.states_norm,
           b->answer.rows_norm);
}

static void
add_answer(jsonout *j, const bench *b)
{
    jsonout_object(j, "decode");
    jsonout_u64(j, "jobs", b->jobs);
    jsonout_u64(j, "steps", b->answer.n_step);
    jsonout_u64(j, "steps_ahead", b->answer.n_ahead);
    jsonout_f64(j, "seconds", b->answer.seconds);
    jsonout_f64(j, "warm_seconds", b->answer.warm);
    jsonout_f64(j, "tokens_per_second", tokens_of(b));
    jsonout_f64(j, "bytes_per_step", b->answer.bytes);
    jsonout_f64(j, "bytes_per_second", bytes_of(b));
    jsonout_f64(j, "fraction_of_read", bytes_of(b) / b->read);
    jsonout_u64(j, "engine_bytes", b->answer.device_bytes);
    jsonout_f64(j, "state_norm", b->answer.states_norm);
    jsonout_f64(j, "row_norm", b->answer.rows_norm);
    jsonout_close_object(j);
}

static void
add_check(jsonout *j, const bench *b)
{
    const bench_check_result *r = &b->checked;

    jsonout_object(j, "check");
    jsonout_u64(j, "seed", b->seed);
    jsonout_u64(j, "numbers", r->n_number);
    jsonout_f64(j, "limit", r->limit);
    jsonout_bool(j, "ok", r->ok);
    for (bench_check_what i = 0; i < BENCH_CHECK_N; i++) {
        jsonout_object(j, bench_check_name(i));
        jsonout_f64(j, "error", r->error[i]);
        jsonout_f64(j, "worst", r->worst[i]);
        jsonout_close_object(j);
    }
    jsonout_close_object(j);
}

/* Of a kind of tensor each, and of the rows that come out. */
static void
add_norms(jsonout *j, const bench_run_left *left)
{
    jsonout_object(j, "norms");
    for (uint32_t i = 0; i < left->n_norm; i++)
        jsonout_f64(j, left->norm_name[i], left->norm[i]);
    jsonout_f64(j, "rows", left->rows_norm);
    jsonout_close_object(j);
}

static void
add_run(jsonout *j, const bench *b, uint32_t i)
{
    const bench_run_result *r = &b->result[i];
    jsonout_object(j, NULL);
    jsonout_text(j, "schedule", bench_print_schedules[i]);
    jsonout_f64(j, "seconds", r->seconds);
    jsonout_f64(j, "tokens_per_second", (double)b->tokens / r->seconds);
    jsonout_u64(j, "groups", r->n_group);
    jsonout_f64(j, "flops", r->flops);
    jsonout_f64(j, "flops_per_second", r->flops / r->seconds);
    jsonout_f64(j, "fraction_of_product",
                r->flops / r->seconds / b->product.flops);
    jsonout_f64(j, "state_norm", r->left.states_norm);
    add_norms(j, &r->left);
    jsonout_u64(j, "engine_bytes", r->bytes);
    jsonout_u64(j, "device_bytes", r->taken);
    jsonout_array(j, "launches");
    for (uint32_t k = 0; k < r->n_ran; k++)
        jsonout_text(j, NULL, r->ran[k]);
    jsonout_close_array(j);
    jsonout_f64(j, "warm_seconds", r->warm);
    jsonout_close_object(j);
}

status
bench_print_json(const bench *b)
{
    jsonout j;
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_text(&j, "preset", b->preset);
    jsonout_u64(&j, "layers", b->cfg.n_layer);
    jsonout_u64(&j, "d_model", b->cfg.d_model);
    jsonout_u64(&j, "segment", b->segment);
    jsonout_u64(&j, "mem", b->mem);
    jsonout_u64(&j, "tokens", b->tokens);
    jsonout_u64(&j, "segments", segment_count(b->tokens, b->cfg.segment_size));
    jsonout_text(&j, "weights", b->weights);
    jsonout_text(&j, "state_type", b->state_type);
    jsonout_text(&j, "rows", b->reading ? "read" : "score");
    jsonout_text(&j, "device", b->info.device);
    jsonout_text(&j, "device_name", b->info.name);
    jsonout_u64(&j, "threads", b->info.n_thread);
    jsonout_u64(&j, "cores", b->info.n_core);
    jsonout_f64(&j, "product_flops_per_second", b->product.flops);
    jsonout_text(&j, "product_by", b->product.by);
    jsonout_f64(&j, "product_library", b->product.library);
    jsonout_f64(&j, "product_before", b->product_before);
    jsonout_f64(&j, "product_after", b->product_after);
    jsonout_f64(&j, "read_bytes_per_second", b->read);
    if (b->decode > 0)
        add_answer(&j, b);
    if (b->check)
        add_check(&j, b);
    jsonout_array(&j, "runs");
    for (uint32_t i = 0; i < BENCH_N_SCHEDULE; i++) {
        if (b->wanted[i] && b->decode == 0 && !b->check)
            add_run(&j, b, i);
    }
    jsonout_close_array(&j);
    jsonout_close_object(&j);
    status st = jsonout_print(&j, stdout);
    jsonout_fini(&j);
    return st;
}

void
bench_print_text(const bench *b)
{
    if (b->decode == 0)
        print_shape(b);
    if (b->check)
        print_check(b);
    else if (b->decode > 0)
        print_answer(b);
    else
        print_table(b);
}
