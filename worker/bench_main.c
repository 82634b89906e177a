/* SPDX-License-Identifier: Apache-2.0 */
/* longwave-bench: the speed of a synthetic model on this device, beside the
 * speed of a bare matrix product. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/option.h"
#include "sched/segment.h"
#include "worker/bench_print.h"
#include "worker/draw.h"

enum {
    MAX_TOKEN = 1 << 28,
    TOKENS = 16384,
    MAX_DECODE = 4096,
    N_HOT = 5,
    LARGE = 8192,
    READ_CPU = 256 << 20,
    READ_GPU = 2000 << 20
};

static const char summary[] =
    "Usage: longwave-bench [--preset NAME] [--segment S] [--mem M]\n"
    "                      [--tokens N] [--check]\n\n"
    "Times a model with random weights: from token ids in host memory until\n"
    "the last state is written, without a head; the median of the repeats\n"
    "after one run that does not count.";

static const char footer[] =
    "Useful FLOPs, two for a multiply-add, of a cell with r rows, m of them\n"
    "memory rows; d width, h heads of e, k key/value heads, f MLP, w memory\n"
    "width, g = 6 w:\n"
    "  r (2 d (h + 2 k) e + 2 h e d + 6 d f) projections and MLP\n"
    "  + 2 r (r + 1) h e                     causal half of attention\n"
    "  + r (2 d w + 2 g d + 2 g)             read, none in the first segment\n"
    "  + m (2 d w + 2 d d + 2 d + 4 g d + 4 g)  write\n"
    "--read: as the daemon reads, without the rows of the last layer that no\n"
    "state needs; less 2 h e d + 6 d f + 2 (r - m + 1) h e for each of r - m.\n"
    "\"of product\" is their rate beside that of [r, d] x [d, f] by the same\n"
    "threads, the best of 5 hot runs before or after, by the BLAS or by the\n"
    "engine's own products, whichever is faster; on a GPU beside that of\n"
    "8192 x 8192 x 8192 for a second.  MB: device memory beside the "
    "weights.\n"
    "There is no result unless after each run A and z of every layer and the\n"
    "last segment's rows behind the last layer are finite and not all zero;\n"
    "their norms are printed.\n\n"
    "--decode: jobs that have read a segment answer a prompt of 16 tokens,\n"
    "greedily; a step reads the weights once (not those of a write, and of "
    "the\n"
    "embedding a row) and A and z of each job.\n\n"
    "--check: instead, the engine on this device beside the same model in "
    "double\n"
    "on the host, at the full width, with fresh weights and ids, whose seed "
    "is\n"
    "printed: all of A and z of each layer, logits of some tokens and inner "
    "rows\n"
    "of each segment.  Exit status 1 if the relative norm of a difference is\n"
    "above 1e-4 in fp32, 3e-2 in bf16, of weights or states.";

/* ------------------------------------------------------------- options --- */

static const bench defaults = {.preset = "s512",
                               .weights = "stored",
                               .state_type = "f32",
                               .device = "auto",
                               .compute = "auto",
                               .schedule = "both",
                               .segment = 256,
                               .mem = 16,
                               .repeat = 3,
                               .jobs = 1,
                               .deterministic = true};

static status
parse(bench *b, int argc, char **argv, bool *done)
{
    const char *argument[1];
    size_t n_argument = 0;
    *b = defaults;
    const option_entry entry[] = {
        {"preset", OPTION_TEXT, &b->preset, "NAME",
         "tiny, s256, s512, armt-llama-160m, -1b, -3b, -8b", 0, 0},
        {"layers", OPTION_U64, &b->layers, "N", "layers; 0: the preset's", 0,
         CONFIG_MAX_LAYER},
        {"d-model", OPTION_U64, &b->d_model, "N",
         "width, and heads and MLP with it; 0: the preset's", 0,
         CONFIG_MAX_WIDTH},
        {"segment", OPTION_U64, &b->segment, "S", "tokens of a segment", 1,
         CONFIG_MAX_SEGMENT},
        {"mem", OPTION_U64, &b->mem, "M", "memory tokens", 1,
         CONFIG_MAX_MEM_TOKENS},
        {"tokens", OPTION_U64, &b->tokens, "N",
         "length of the input; 0: 16384, or 2 1/2 segments to check", 0,
         MAX_TOKEN},
        {"schedule", OPTION_TEXT, &b->schedule, "HOW",
         "diagonal, sequential or both", 0, 0},
        {"weights", OPTION_TEXT, &b->weights, "HOW",
         "stored, or int8 (the CPU alone)", 0, 0},
        {"state-type", OPTION_TEXT, &b->state_type, "TYPE",
         "of the memory between segments: f32 or bf16", 0, 0},
        {"device", OPTION_TEXT, &b->device, "NAME", "auto, cpu or cuda", 0, 0},
        {"compute", OPTION_TEXT, &b->compute, "TYPE",
         "of weights and activations: auto, f32 or, on a GPU, bf16", 0, 0},
        {"threads", OPTION_U64, &b->threads, "N", "0: all cores", 0, 1024},
        {"repeat", OPTION_U64, &b->repeat, "N", "timed runs", 1,
         BENCH_RUN_MAX_REPEAT},
        {"score", OPTION_FLAG, &b->score, NULL,
         "compute every row of every layer, as for logits: the default", 0, 0},
        {"read", OPTION_FLAG, &b->reading, NULL,
         "leave out rows of the last layer that no state needs", 0, 0},
        {"decode", OPTION_U64, &b->decode, "N",
         "instead: tokens of an answer, one step each; 0: read", 0, MAX_DECODE},
        {"jobs", OPTION_U64, &b->jobs, "N", "that answer together", 1,
         BENCH_DECODE_MAX_JOB},
        {"check", OPTION_FLAG, &b->check, NULL,
         "instead: compare with a model in double", 0, 0},
        {"seed", OPTION_U64, &b->seed, "N",
         "of what is checked; 0: another one each time", 0, 0},
        {"deterministic", OPTION_FLAG, &b->deterministic, NULL,
         "the same bits whatever the schedule: always so", 0, 0},
        {"json", OPTION_FLAG, &b->json, NULL, "one line of JSON", 0, 0}};
    const option_set set = {.program = "longwave-bench",
                            .summary = summary,
                            .footer = footer,
                            .entry = entry,
                            .n_entry = sizeof entry / sizeof *entry};
    return option_parse(&set, argc, argv, argument, &n_argument, done);
}

/* Another width keeps the proportions of the presets: heads of 64 where that
 * divides it, as many key/value heads, an MLP of 11/4. */
static void
set_width(model_config *cfg, uint32_t d_model)
{
    cfg->d_model = d_model;
    cfg->d_head = d_model % 64 == 0 ? 64 : d_model % 32 == 0 ? 32 : 16;
    cfg->rope.d_rot = cfg->d_head;
    cfg->n_head = d_model / cfg->d_head;
    cfg->n_kv_head = cfg->n_head;
    cfg->d_ffn = d_model * 11 / 4;
}

static status
configure(bench *b)
{
    status st = ST_OK;
    bool found = strcmp(b->schedule, "both") == 0;

    TRY(weights_want_parse(&b->want, b->weights));
    for (uint32_t i = 0; i < BENCH_N_SCHEDULE; i++) {
        b->wanted[i] = strcmp(b->schedule, "both") == 0 ||
                       strcmp(b->schedule, bench_print_schedules[i]) == 0;
        found = found || b->wanted[i];
    }
    if (!found)
        TRY(status_fail(ST_ARG,
                        "schedule \"%s\" is none of diagonal, sequential, both",
                        b->schedule));
    TRY(config_preset(&b->cfg, b->preset));
    if (b->d_model > 0 || b->layers > 0)
        b->preset = "custom"; /* no longer what the name stands for */
    if (b->d_model > 0)
        set_width(&b->cfg, (uint32_t)b->d_model);
    if (b->layers > 0)
        b->cfg.n_layer = (uint32_t)b->layers;
    b->cfg.segment_size = (uint32_t)b->segment;
    b->cfg.n_mem = (uint32_t)b->mem;
    TRY(config_set_state_type(&b->cfg, b->state_type));
    TRY(config_check(&b->cfg));
    if (b->score && b->reading)
        TRY(status_fail(ST_ARG, "--score and --read are two runs"));
    if (b->check && b->decode > 0)
        TRY(status_fail(ST_ARG, "--check and --decode are two runs"));
    if (b->tokens == 0)
        b->tokens = b->check ? 2 * b->segment + (b->segment + 1) / 2 : TOKENS;
    if (!b->deterministic)
        log_warn("there is no other mode than --deterministic");
    if (b->decode > 0 && b->tokens < b->segment + b->jobs)
        TRY(status_fail(ST_ARG, "--decode needs as many --tokens as a segment "
                                "and --jobs"));
fail:
    return st;
}

/* ------------------------------------------------------------- measure --- */

static status
open_device(bench *b)
{
    kernel_config cfg = {.device = b->device,
                         .n_thread = (uint32_t)b->threads,
                         .compute = b->compute};
    status st = ST_OK;
    TRY(kernel_open(&b->dev, &cfg));
    kernel_info_get(b->dev, &b->info);
    if (b->info.n_core < b->info.n_thread)
        log_warn("%u threads share %u cores", b->info.n_thread, b->info.n_core);
    if (b->info.any_shape && b->info.compute == KERNEL_BF16)
        log_warn("%s has no launches of its own: slower, not wrong",
                 b->info.name);
fail:
    return st;
}

/* The bare product, as fast as it was seen so far, and whose that was. */
static status
measure_product(bench *b)
{
    size_t m = b->cfg.segment_size + b->cfg.n_mem;
    size_t n = b->cfg.d_ffn, k = b->cfg.d_model;
    kernel_rate now = {0};
    if (b->info.n_thread == 0) /* a GPU's rate is that of a large one */
        m = n = k = LARGE;
    status st = kernel_measure_linear(b->dev, m, n, k, N_HOT, &now);
    if (st != ST_OK)
        return st;
    double library =
        b->product.library > now.library ? b->product.library : now.library;
    b->product_before = b->product.flops == 0 ? now.flops : b->product_before;
    b->product_after = now.flops;
    if (now.flops > b->product.flops)
        b->product = now;
    b->product.library = library;
    return ST_OK;
}

static status
measure_read(bench *b)
{
    double rate = 0;
    size_t bytes = b->info.n_thread == 0 ? READ_GPU : READ_CPU;
    status st = kernel_measure_read(b->dev, bytes, &rate);
    if (st == ST_OK && rate > b->read)
        b->read = rate;
    return st;
}

/* The step of an answer stands beside the read rate. */
static status
run_decode(bench *b)
{
    const bench_decode_args args = {.dev = b->dev,
                                    .cfg = &b->cfg,
                                    .ids = b->ids,
                                    .n_id = b->tokens,
                                    .n_job = (uint32_t)b->jobs,
                                    .n_token = (uint32_t)b->decode,
                                    .n_repeat = (uint32_t)b->repeat};
    status st = ST_OK;
    TRY(measure_read(b));
    TRY(bench_decode(&b->answer, &args));
    TRY(measure_read(b));
fail:
    return st;
}

/* The seed of weights and ids: timed runs have one, checks a fresh one. */
static status
choose_seed(bench *b)
{
    if (!b->check)
        b->seed = 1;
    if (b->seed == 0 &&
        getrandom(&b->seed, sizeof b->seed, 0) != (ssize_t)sizeof b->seed)
        return status_fail(ST_IO, "the system has no random numbers");
    b->seed &= UINT32_MAX; /* short enough to be typed */
    return ST_OK;
}

static status
make_ids(bench *b)
{
    status st = ST_OK;
    TRY(choose_seed(b));
    TRY(mem_new(&b->ids, b->tokens, sizeof *b->ids));
    for (uint64_t i = 0; i < b->tokens; i++)
        b->ids[i] =
            (int32_t)(draw_uniform(b->seed, i) * (float)(b->cfg.n_vocab - 1));
fail:
    return st;
}

static status
run_all(bench *b)
{
    status st = ST_OK;
    for (uint32_t i = 0; i < BENCH_N_SCHEDULE; i++) {
        bench_run_args args = {.dev = b->dev,
                               .cfg = &b->cfg,
                               .order = (wavefront_order)i,
                               .ids = b->ids,
                               .n_id = b->tokens,
                               .n_repeat = (uint32_t)b->repeat,
                               .want = b->want,
                               .seed = b->seed,
                               .all_rows = !b->reading};
        if (!b->wanted[i])
            continue;
        TRY(measure_product(b));
        TRY(bench_run(&b->result[i], &args));
        TRY(measure_product(b));
    }
    TRY(measure_read(b));
fail:
    return st;
}

/* One schedule: all leave the same bytes. */
static status
run_check(bench *b)
{
    const bench_run_args args = {.dev = b->dev,
                                 .cfg = &b->cfg,
                                 .order = b->wanted[WAVEFRONT_DIAGONAL]
                                              ? WAVEFRONT_DIAGONAL
                                              : WAVEFRONT_SEQUENTIAL,
                                 .ids = b->ids,
                                 .n_id = b->tokens,
                                 .want = b->want,
                                 .seed = b->seed};
    long n_core = sysconf(_SC_NPROCESSORS_ONLN);

    if (b->threads > 0 || n_core < 1)
        n_core = b->threads > 0 ? (long)b->threads : 1;
    return bench_check(&b->checked, &args, (uint32_t)n_core);
}

/* Whether all schedules that ran left the same bytes. */
static bool
same_states(const bench *b)
{
    if (b->decode > 0 || b->check || !b->wanted[0] || !b->wanted[1])
        return true;
    return memcmp(b->result[0].left.states, b->result[1].left.states,
                  b->result[0].left.states_bytes) == 0;
}

/* ----------------------------------------------------------------- all --- */

static status
all(bench *b, int argc, char **argv)
{
    bool done = false;
    status st = ST_OK;

    TRY(parse(b, argc, argv, &done));
    if (done)
        return ST_OK;
    TRY(configure(b));
    TRY(open_device(b));
    TRY(make_ids(b));
    if (b->check)
        TRY(run_check(b));
    else if (b->decode > 0)
        TRY(run_decode(b));
    else
        TRY(run_all(b));
    if (!same_states(b))
        TRY(status_fail(ST_STATE, "the schedules left different states"));
    if (b->json)
        TRY(bench_print_json(b));
    else
        bench_print_text(b);
    if (b->check && !b->checked.ok)
        TRY(status_fail(ST_STATE,
                        "the engine differs from the reference by "
                        "more than %g",
                        b->checked.limit));
fail:
    return st;
}

int
main(int argc, char **argv)
{
    bench b = {0};
    log_init("longwave-bench", LOG_LEVEL_INFO);
    status st = all(&b, argc, argv);
    if (st != ST_OK)
        log_error("%s", status_text());
    for (uint32_t i = 0; i < BENCH_N_SCHEDULE; i++)
        mem_free(b.result[i].left.states);
    mem_free(b.ids);
    kernel_close(b.dev);
    return status_exit_code(st);
}
