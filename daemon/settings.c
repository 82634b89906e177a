/* SPDX-License-Identifier: Apache-2.0 */
/* The table of longwaved's flags and the defaults that depend on the user. */
#include "daemon/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/option.h"
#include "sched/place.h"

static const char SUMMARY[] =
    "Usage: longwaved --model DIR [--workers N | --launch COMMAND] ...\n"
    "\n"
    "The coordinator: takes documents and questions from clients (longwave),\n"
    "tokenizes them, and shares them out to worlds of workers\n"
    "(longwave-worker).  Runs in the foreground until SIGTERM, SIGINT or\n"
    "'longwave shutdown'.";

static const char FOOTER[] =
    "The default endpoints are sockets in a directory of this user alone.  A\n"
    "TCP endpoint needs --key and --authorized; without them loopback needs\n"
    "--allow-local-users, and any other address is refused (exit status 78).";

#define AT(field) offsetof(settings, field)

/* As option_entry; a value's place in the settings stands for the value. */
static const struct {
    const char *name;
    option_kind kind;
    size_t at;
    const char *argument, *help;
    double min, max;
} FLAG[] = {
    {"model", OPTION_TEXT, AT(model), "DIR",
     "model directory: config.json, *.safetensors, tokenizer.json", 0, 0},
    {"workers", OPTION_U64, AT(workers), "N",
     "start and watch a local world of N ranks with mpirun; 0: none", 0, 4096},
    {"launch", OPTION_TEXT, AT(launch), "COMMAND",
     "start and watch a world with this shell command", 0, 0},
    {"data", OPTION_TEXT, AT(data), "DIR",
     "where documents live (default ~/.local/state/longwave)", 0, 0},
    {"template", OPTION_TEXT, AT(template), "HOW",
     "around documents and questions: plain, auto (the model's chat "
     "template) or a file",
     0, 0},
    {"Endpoints", OPTION_HEAD, 0, NULL, NULL, 0, 0},
    {"listen", OPTION_TEXT, AT(listen), "ENDPOINT",
     "for clients (default ipc://... in the runtime directory)", 0, 0},
    {"listen-worlds", OPTION_TEXT, AT(listen_worlds), "ENDPOINT",
     "for worlds (default ipc://... in the runtime directory)", 0, 0},
    {"allow-local-users", OPTION_FLAG, AT(allow_local_users), NULL,
     "allow tcp://127.0.0.1:... for every user of this machine", 0, 0},
    {"key", OPTION_TEXT, AT(key), "FILE",
     "the daemon's own key, made by 'longwave keygen'; TCP endpoints then "
     "let in only holders of keys on the list",
     0, 0},
    {"authorized", OPTION_TEXT, AT(authorized), "FILE",
     "list of the keys that may come in, kept by 'longwave authorize'", 0, 0},
    {"Passed on to the local world", OPTION_HEAD, 0, NULL, NULL, 0, 0},
    {"device", OPTION_TEXT, AT(device), "NAME",
     "auto, cpu or cuda (default auto)", 0, 0},
    {"placement", OPTION_TEXT, AT(placement), "NAME",
     "auto, layers (layers:5,3: so many each) or segments (default auto)", 0,
     0},
    {"threads", OPTION_U64, AT(threads), "N",
     "threads of each rank; 0: its share of the cores", 0, 1024},
    {"weights", OPTION_TEXT, AT(weights), "HOW",
     "stored, or int8 (the CPU alone: half the memory of bf16) (default "
     "stored)",
     0, 0},
    {"max-context", OPTION_U64, AT(max_context), "TOKENS",
     "of a job in all, drawn ones too, for which room is kept where the "
     "model keeps every token; 0: 8192",
     0, 1 << 30},
    {"Output", OPTION_HEAD, 0, NULL, NULL, 0, 0},
    {"json", OPTION_FLAG, AT(json), NULL,
     "one JSON object with the endpoints on stdout when ready", 0, 0},
    {"verbose", OPTION_FLAG, AT(verbose), NULL, "say more on stderr", 0, 0},
    {"In place of config.json, for the worlds too", OPTION_HEAD, 0, NULL, NULL,
     0, 0},
    {"segment", OPTION_U64, AT(given.segment_size), "TOKENS", "of a segment", 1,
     1 << 20},
    {"key-norm", OPTION_TEXT, AT(given.key_norm), "HOW", "none or l2", 0, 0},
    {"lora-alpha", OPTION_F64, AT(given.lora_alpha), "X",
     "of LoRA parts; 0: as the files say", 0, 1e6},
    {"state-type", OPTION_TEXT, AT(given.state_type), "TYPE",
     "of an associative memory between segments: f32 or bf16", 0, 0},
    {"Limits", OPTION_HEAD, 0, NULL, NULL, 0, 0},
    {"max-question", OPTION_U64, AT(max_question), "TOKENS",
     "longest question (default 65536)", 1, 1e9},
    {"max-input", OPTION_U64, AT(max_input), "BYTES",
     "longest document (default 17179869184)", 1, 1e15},
    {"max-queue", OPTION_U64, AT(max_queue), "JOBS",
     "jobs that are not finished (default 4096)", 1, 1e6},
    {"max-queued-bytes", OPTION_U64, AT(max_queued_bytes), "BYTES",
     "input of jobs that are not finished (default 68719476736)", 1, 1e15},
    {"max-tokens", OPTION_U64, AT(max_tokens), "TOKENS",
     "tokens of one job; 0: any number", 0, 1e15},
    {"key-share", OPTION_U64, AT(key_share), "PERCENT",
     "of queue, queued bytes and documents that one client's key may fill "
     "(default 50)",
     1, 100},
    {"Durability", OPTION_HEAD, 0, NULL, NULL, 0, 0},
    {"keep", OPTION_U64, AT(keep), "DAYS",
     "running time for which results and keys are kept (default 7)", 0, 36500},
    {"checkpoint-segments", OPTION_U64, AT(checkpoint_segments), "N",
     "segments between two checkpoints of a document that is read, at "
     "least (default 64); 0: none",
     0, 1e9},
    {"checkpoint-seconds", OPTION_F64, AT(checkpoint_seconds), "SECONDS",
     "time between two checkpoints, at least (default 5)", 0, 86400},
    {"hang-seconds", OPTION_F64, AT(hang_seconds), "SECONDS",
     "time after which a world that makes no step is ended (default 10, "
     "and 20 times its slowest step)",
     0.1, 86400},
    {"start-seconds", OPTION_F64, AT(start_seconds), "SECONDS",
     "time in which a world must have loaded and joined (default 120)", 0.1,
     86400},
    {"drain-seconds", OPTION_F64, AT(drain_seconds), "SECONDS",
     "time for running work to be put away at the end (default 30)", 0, 86400},
    {"exit-without-world", OPTION_FLAG, AT(exit_without_world), NULL,
     "exit with status 1 when the world cannot be kept up (5 ends in "
     "10 minutes without progress) or not be used at all",
     0, 0},
};
enum { N_FLAG = sizeof(FLAG) / sizeof(*FLAG) };

static status
parse(settings *s, int argc, char **argv, bool *done)
{
    option_entry entry[N_FLAG];
    const option_set set = {.program = "longwaved",
                            .summary = SUMMARY,
                            .footer = FOOTER,
                            .entry = entry,
                            .n_entry = N_FLAG};
    size_t n_argument = 0;

    for (size_t i = 0; i < N_FLAG; i++)
        entry[i] = (option_entry){.name = FLAG[i].name,
                                  .kind = FLAG[i].kind,
                                  .value = (char *)s + FLAG[i].at,
                                  .argument = FLAG[i].argument,
                                  .help = FLAG[i].help,
                                  .min = FLAG[i].min,
                                  .max = FLAG[i].max};
    return option_parse(&set, argc, argv, NULL, &n_argument, done);
}

static status
default_endpoint(settings *s, int i, const char **endpoint, const char *name)
{
    char *dir = NULL;
    char text[512];
    int n;
    status st = ST_OK;

    if (*endpoint)
        return ST_OK;
    TRY(file_runtime_dir(&dir));
    n = snprintf(text, sizeof(text), "ipc://%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(text))
        TRY(status_fail(ST_ARG, "the runtime directory's path is too long"));
    TRY(mem_strdup(&s->owned[i], text));
    *endpoint = s->owned[i];
fail:
    mem_free(dir);
    return st;
}

static bool
is(const char *value, const char *name)
{
    return strcmp(value, name) == 0;
}

/* What every world would refuse, start after start. */
static status
check_world(const settings *s)
{
    place any = {.n_layer = 1, .size = 1};
    const place_state none = {0};

    if (s->device && !is(s->device, "auto") && !is(s->device, "cpu") &&
        !is(s->device, "cuda"))
        return status_fail(ST_ARG, "--device is auto, cpu or cuda, not %s",
                           s->device);
    if (s->weights && !is(s->weights, "stored") && !is(s->weights, "int8"))
        return status_fail(ST_ARG, "--weights is stored or int8, not %s",
                           s->weights);
    return s->placement ? place_parse(&any, s->placement, &none) : ST_OK;
}

static status
check(const settings *s)
{
    if (!s->model || !*s->model)
        return status_fail(ST_ARG, "--model DIR is needed");
    if (s->workers > 0 && s->launch)
        return status_fail(ST_ARG, "--workers and --launch exclude each other");
    return check_world(s);
}

status
settings_parse(settings *out, int argc, char **argv, bool *done)
{
    settings s = {.template = "plain",
                  .max_question = 65536,
                  .max_input = UINT64_C(16) << 30,
                  .max_queue = 4096,
                  .key_share = 50,
                  .max_queued_bytes = UINT64_C(64) << 30,
                  .keep = 7,
                  .checkpoint_segments = 64,
                  .checkpoint_seconds = 5,
                  .hang_seconds = 10,
                  .start_seconds = 120,
                  .drain_seconds = 30};
    status st;

    TRY(parse(&s, argc, argv, done));
    if (*done)
        return ST_OK;
    TRY(check(&s));
    TRY(default_endpoint(&s, 0, &s.listen, "client.sock"));
    TRY(default_endpoint(&s, 1, &s.listen_worlds, "world.sock"));
    if (!s.data) {
        TRY(file_state_dir(&s.owned[2]));
        s.data = s.owned[2];
    }
    *out = s;
    return ST_OK;
fail:
    settings_fini(&s);
    return st;
}

void
settings_fini(settings *s)
{
    for (size_t i = 0; i < sizeof(s->owned) / sizeof(*s->owned); i++)
        mem_free(s->owned[i]);
    *s = (settings){0};
}
