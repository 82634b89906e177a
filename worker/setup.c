/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the parts of a world in order, together on all ranks. */
#include "worker/setup.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "model/weights.h"
#include "worker/build.h"
#include "worker/decode.h"

/* Cells of several streams that go into one group: enough to fill any number
 * of cores, and few enough for the scratch of a GPU. */
enum { MAX_CELL = 64 };
enum { N_GIVEN = 4, N_SHARE = 3 };

status
setup_agree(const setup *s, status st)
{
    return comm_agree(s->comm, st);
}

bool
setup_is_lead(const setup *s)
{
    return s->comm == NULL || comm_rank(s->comm) == 0;
}

const char *
setup_schedule(const setup *s)
{
    if (s->order == WAVEFRONT_SEQUENTIAL)
        return "sequential";
    return memory_of(&s->cfg)->chained ? "chained" : "diagonal";
}

status
setup_open(setup *s, const char *program, int *argc, char ***argv)
{
    status st = ST_OK;

    *s = (setup){.program = program};
    log_init(program, LOG_LEVEL_INFO);
    TRY(comm_open(&s->comm, argc, argv));
    TRY(build_same(s->comm));
    /* Results are rank 0's, --help too. */
    if (!setup_is_lead(s) && freopen("/dev/null", "w", stdout) == NULL)
        st = status_fail(ST_IO, "/dev/null cannot be opened");
    TRY(setup_agree(s, st));
fail:
    return st;
}

static void
given_entries(config_given *g, option_entry out[N_GIVEN])
{
    const option_entry entry[N_GIVEN] = {
        {.name = "segment",
         .kind = OPTION_U64,
         .value = &g->segment_size,
         .argument = "TOKENS",
         .help = "of a segment, in place of config.json's",
         .min = 1,
         .max = 1 << 20},
        {.name = "key-norm",
         .kind = OPTION_TEXT,
         .value = &g->key_norm,
         .argument = "HOW",
         .help = "none or l2, in place of config.json's"},
        {.name = "lora-alpha",
         .kind = OPTION_F64,
         .value = &g->lora_alpha,
         .argument = "X",
         .help = "of LoRA parts, in place of the files'; 0: as they say",
         .max = 1e6},
        {.name = "state-type",
         .kind = OPTION_TEXT,
         .value = &g->state_type,
         .argument = "TYPE",
         .help = "of an associative memory between segments: f32 or bf16"}};
    memcpy(out, entry, sizeof entry);
}

/* What ranks share. */
static void
share_entries(setup_options *o, option_entry out[N_SHARE])
{
    const option_entry entry[N_SHARE] = {
        {.name = "placement",
         .kind = OPTION_TEXT,
         .value = &o->placement,
         .argument = "HOW",
         .help = "what ranks share: auto, layers (layers:5,3: so many each) or "
                 "segments"},
        {.name = "memory-gb",
         .kind = OPTION_F64,
         .value = &o->memory_gb,
         .argument = "X",
         .help = "that a rank may use, for --placement auto; 0: what the "
                 "device has",
         .max = 1e6},
        {.name = "replicas",
         .kind = OPTION_U64,
         .value = &o->replicas,
         .argument = "N",
         .help = "groups with a model and jobs of their own; 0: one, or what "
                 "auto finds",
         .max = 1 << 20}};
    memcpy(out, entry, sizeof entry);
}

void
setup_entries(setup *s, option_entry out[SETUP_N_OPTION])
{
    setup_options *o = &s->opt;
    *o = (setup_options){.device = "auto",
                         .placement = "auto",
                         .schedule = "diagonal",
                         .weights = "stored"};
    const option_entry entry[SETUP_N_OPTION - N_GIVEN - N_SHARE] = {
        {.name = "model",
         .kind = OPTION_TEXT,
         .value = &o->model,
         .argument = "DIR",
         .help = "config.json, *.safetensors and tokenizer.json"},
        {.name = "device",
         .kind = OPTION_TEXT,
         .value = &o->device,
         .argument = "NAME",
         .help = "auto, cpu or cuda"},
        {.name = "threads",
         .kind = OPTION_U64,
         .value = &o->threads,
         .argument = "N",
         .help = "threads of each rank; 0: its share of the cores",
         .max = 1024},
        {.name = "schedule",
         .kind = OPTION_TEXT,
         .value = &o->schedule,
         .argument = "HOW",
         .help = "diagonal, or sequential (one cell at a time)"},
        {.name = "weights",
         .kind = OPTION_TEXT,
         .value = &o->weights,
         .argument = "HOW",
         .help = "stored, or int8 (the CPU alone: half the memory of bf16)"},
        {.name = "verbose",
         .kind = OPTION_FLAG,
         .value = &o->verbose,
         .help = "say more on stderr"}};
    memcpy(out, entry, sizeof entry);
    share_entries(o, out + SETUP_N_OPTION - N_GIVEN - N_SHARE);
    given_entries(&o->given, out + SETUP_N_OPTION - N_GIVEN);
}

status
setup_parse(setup *s, const option_set *set, int argc, char **argv, bool *done)
{
    const char *argument[1];
    size_t n_argument = 0;
    status st = option_parse(set, argc, argv, argument, &n_argument, done);

    TRY(setup_agree(s, st));
    if (s->opt.verbose)
        log_init(s->program, LOG_LEVEL_DEBUG);
    if (!*done && s->opt.model == NULL)
        TRY(status_fail(ST_ARG, "--model is missing"));
fail:
    return st;
}

static status
parse_schedule(wavefront_order *out, const char *name)
{
    if (strcmp(name, "diagonal") == 0)
        *out = WAVEFRONT_DIAGONAL;
    else if (strcmp(name, "sequential") == 0)
        *out = WAVEFRONT_SEQUENTIAL;
    else
        return status_fail(
            ST_ARG, "schedule \"%s\" is none of diagonal, sequential", name);
    return ST_OK;
}

static const char *
placement_of(const setup *s)
{
    bool named = strchr(s->opt.placement, ':') != NULL;
    return s->fewer && named ? "auto" : s->opt.placement;
}

/* What a rank can find out alone. */
static status
read_model(setup *s)
{
    status st = ST_OK;
    uint32_t n_replica = s->opt.replicas > 0 ? (uint32_t)s->opt.replicas : 1;
    uint32_t size = comm_size(s->comm), rank = comm_rank(s->comm);

    TRY(parse_schedule(&s->order, s->opt.schedule));
    TRY(weights_want_parse(&s->want, s->opt.weights));
    TRY(config_load_given(&s->cfg, s->opt.model, &s->opt.given));
    const memory *mem = memory_of(&s->cfg);
    s->place = (place){.n_layer = s->cfg.n_layer};
    if (s->fewer)
        n_replica = place_replicas_left(n_replica, size);
    TRY(place_deal(&s->place, n_replica, size, rank));
    const place_state state = {.chained = mem->chained, .grows = mem->grows};
    TRY(place_parse(&s->place, placement_of(s), &state));
fail:
    return st;
}

/* Threads of this rank when --threads says nothing: a share of the cores when
 * all ranks may use the same ones, otherwise the launcher has dealt them out.
 * Collective. */
static uint32_t
threads_of(const setup *s)
{
    uint32_t n_local = comm_local_size(s->comm);
    cpu_set_t allowed;

    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        CPU_ZERO(&allowed);
    bool shared =
        comm_same(s->comm, "cores", &allowed, sizeof allowed) == ST_OK;
    uint32_t n_core = (uint32_t)CPU_COUNT(&allowed);
    if (s->opt.threads > 0 || !shared || n_local <= 1)
        return (uint32_t)s->opt.threads;
    return n_core > n_local ? n_core / n_local : 1;
}

static status
open_device(setup *s, uint32_t n_thread)
{
    status st = ST_OK;
    kernel_config cfg = {.device = s->opt.device,
                         .n_thread = n_thread,
                         .local_rank = comm_local_rank(s->comm),
                         .n_local = comm_local_size(s->comm)};
    TRY(kernel_open(&s->dev, &cfg));
    kernel_info_get(s->dev, &s->info);
    if (s->info.n_core < s->info.n_thread && cfg.local_rank == 0)
        log_warn("%u threads share %u cores: slower, not wrong",
                 s->info.n_thread, s->info.n_core);
    if (s->info.any_shape && s->info.compute == KERNEL_BF16 &&
        cfg.local_rank == 0)
        log_warn("%s has no launches of its own: slower, not wrong",
                 s->info.name);
fail:
    return st;
}

/* All ranks must run one model in one way; kernels may differ, which costs
 * the equality of the last bits between placements and is only said. */
static status
compare(setup *s)
{
    uint8_t hash[32];
    status st =
        weights_fingerprint_config(hash, s->opt.model, s->want, &s->opt.given);
    uint32_t way[] = {(uint32_t)s->place.kind, (uint32_t)s->order,
                      s->place.n_replica};

    TRY(setup_agree(s, st));
    TRY(comm_same(s->comm, "model", hash, sizeof hash));
    TRY(comm_same(s->comm, "placement or schedule", way, sizeof way));
    if (comm_same(s->comm, "kernels", s->info.name, sizeof s->info.name) !=
            ST_OK &&
        setup_is_lead(s))
        log_warn("%s: results may depend on the placement in the last bits",
                 status_text());
fail:
    return st;
}

status
setup_model(setup *s)
{
    status st = ST_OK;

    TRY(setup_agree(s, read_model(s)));
    uint32_t n_thread = threads_of(s);
    TRY(setup_agree(s, open_device(s, n_thread)));
    TRY(compare(s));
fail:
    return st;
}

static weights_part
part_of(const setup *s)
{
    weights_part part = {0};
    place_layers(&s->place, s->place.rank, &part.layer_first, &part.n_layer);
    part.embed = part.n_layer > 0 && part.layer_first == 0;
    part.head =
        part.n_layer > 0 && part.layer_first + part.n_layer == s->cfg.n_layer;
    return part;
}

/* The largest group: a diagonal of one stream in any case. */
static uint32_t
max_cell(uint32_t n_stream, uint32_t n_layer)
{
    uint64_t all = (uint64_t)n_stream * n_layer;
    uint32_t most = n_layer > MAX_CELL ? n_layer : MAX_CELL;
    return all < most ? (uint32_t)all : most;
}

static status
open_engine(setup *s, const setup_world *args)
{
    weights_part part = part_of(s);
    uint32_t n_replica = place_replicas(&s->place);
    weights *w = NULL;
    model *m = NULL;
    status st = ST_OK;
    engine_config cfg = {.place = s->place,
                         .order = s->order,
                         .n_stream =
                             (args->n_stream + n_replica - 1) / n_replica,
                         .n_slot = args->n_slot,
                         .max_token = args->n_token};

    if (part.n_layer == 0)
        return ST_OK;
    if (args->n_answer > 0)
        cfg.kv_cap = decode_longest(&s->cfg, args->n_answer);
    cfg.max_cell = max_cell(cfg.n_stream, part.n_layer);
    cfg.max_each = place_group(&s->place, s->info.n_thread);
    if (s->info.n_thread == 0) /* free when this rank opened its device */
        TRY(engine_fit(&s->cfg, &part, s->info.compute, &cfg,
                       s->info.memory_free / s->info.n_share));
    double start = clock_seconds();
    TRY(weights_open(&w, s->dev, &s->cfg, &part, s->opt.model, s->want));
    log_debug("rank %u: %zu MiB of weights in %.2f s", comm_rank(s->comm),
              weights_bytes_typed(&s->cfg, &part, weights_types_of(w)) >> 20,
              clock_seconds() - start);
    TRY(model_new(&m, s->dev, &s->cfg, w, cfg.max_cell));
    w = NULL; /* the model's */
    TRY(engine_new(&s->engine, s->dev, m, &cfg));
    m = NULL; /* the engine's */
    log_debug("rank %u: layers %u to %u, %zu MiB beside the weights",
              comm_rank(s->comm), part.layer_first,
              part.layer_first + part.n_layer - 1,
              engine_bytes(s->engine) >> 20);
fail:
    model_free(m);
    weights_free(w);
    return st;
}

/* After loading: of weights that were just read the samples cost nothing, and
 * before it they would leave holes for the disk to read around. */
static status
compare_weights(setup *s)
{
    status st = weights_fingerprint(s->fingerprint, s->opt.model, s->want,
                                    &s->opt.given);

    TRY(setup_agree(s, st));
    TRY(comm_same(s->comm, "weights", s->fingerprint, sizeof s->fingerprint));
fail:
    return st;
}

status
setup_start(setup *s, const setup_world *args)
{
    const choice_args how = {.comm = s->comm,
                             .dev = s->dev,
                             .cfg = &s->cfg,
                             .dir = s->opt.model,
                             .want = s->want,
                             .name = placement_of(s),
                             .memory = s->opt.memory_gb * 1e9,
                             .measure = args->measure,
                             .replicas = s->opt.replicas == 0};
    status st = ST_OK;

    TRY(choice_make(&s->choice, &s->place, &how, &args->job));
    TRY(setup_agree(s, open_engine(s, args)));
    TRY(compare_weights(s));
    TRY(setup_agree(s, world_new(&s->world, s->comm, s->engine, &s->place)));
fail:
    return st;
}

static void
report(status st)
{
    const char *text = status_text();
    log_error("%s", text[0] != '\0' ? text : status_name(st));
}

void
setup_put_away(setup *s)
{
    world_free(s->world);
    s->world = NULL;
    engine_free(s->engine);
    s->engine = NULL;
    choice_fini(&s->choice);
    s->choice = (choice){0};
    kernel_close(s->dev);
    s->dev = NULL;
}

int
setup_close(setup *s, status st)
{
    if (st != ST_OK && setup_is_lead(s))
        report(st);
    setup_put_away(s);
    comm_close(s->comm);
    return status_exit_code(st);
}

void
setup_abort(setup *s, status st)
{
    report(st);
    comm_abort(s->comm, status_exit_code(st));
}
