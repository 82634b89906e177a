/* SPDX-License-Identifier: Apache-2.0 */
/* One table of flags, and what of them cannot be together. */
#include "worker/run_options.h"

#include <string.h>

#include "base/file.h"

enum { MAX_GENERATE = 1 << 20 };

static const char summary[] =
    "Usage: longwave-run --model DIR --input X [--question TEXT]\n"
    "                    [--generate N] [--logits F] [--state F]\n"
    "       mpirun -n N longwave-run ...\n\n"
    "Reads one input through a model, without a daemon.  X is text (UTF-8; -\n"
    "is the standard input) or a safetensors file whose tensor input_ids "
    "holds\n"
    "token ids.";

static const char footer[] =
    "With --logits or --state, or without --generate, the input is scored:\n"
    "every segment reads and writes the memory.  --generate starts afresh:\n"
    "all segments but the last are read and written, the last one and what is\n"
    "drawn only read.  The answer goes to stdout as it comes; with --json,\n"
    "into the one line at the end.";

#define TEXT(flag, to, arg, text)                                              \
    {                                                                          \
        .name = (flag), .kind = OPTION_TEXT, .value = (to), .argument = (arg), \
        .help = (text)                                                         \
    }
#define HEAD(text)                                                             \
    {                                                                          \
        .name = (text), .kind = OPTION_HEAD                                    \
    }
#define NUMBER(flag, type, to, arg, text, most)                                \
    {                                                                          \
        .name = (flag), .kind = (type), .value = (to), .argument = (arg),      \
        .help = (text), .min = 0, .max = (most)                                \
    }
#define BETWEEN(flag, to, arg, text, least, most)                              \
    {                                                                          \
        .name = (flag), .kind = OPTION_F64, .value = (to), .argument = (arg),  \
        .help = (text), .min = (least), .max = (most)                          \
    }
#define FLAG(flag, to, text)                                                   \
    {                                                                          \
        .name = (flag), .kind = OPTION_FLAG, .value = (to), .help = (text)     \
    }

static status
check_output(const char *flag, const char *path, bool possible)
{
    if (path != NULL && path[0] == '\0')
        return status_fail(ST_ARG, "--%s: no file is named", flag);
    if (path != NULL && !possible)
        return status_fail(ST_ARG, "--%s needs --generate", flag);
    return ST_OK;
}

static const char *const align_names[] = {[CONFIG_ALIGN_LEFT] = "left",
                                          [CONFIG_ALIGN_RIGHT] = "right",
                                          [CONFIG_ALIGN_CENTER] = "center"};

static status
parse_align(config_align *out, const char *name)
{
    for (uint32_t i = 0; i < sizeof align_names / sizeof *align_names; i++) {
        if (strcmp(align_names[i], name) == 0) {
            *out = (config_align)i;
            return ST_OK;
        }
    }
    return status_fail(ST_ARG,
                       "alignment \"%s\" is none of left, right, center", name);
}

status
run_options_model(const run_options *o, model_config *cfg)
{
    status st = ST_OK;
    if (o->alignment == NULL)
        return ST_OK;
    TRY(parse_align(&cfg->align, o->alignment));
    TRY(config_check(cfg));
fail:
    return st;
}

static status
check(const run_options *o)
{
    config_align align;
    status st = ST_OK;

    if (o->check && !o->inspect)
        TRY(status_fail(ST_ARG, "--check needs --inspect"));
    if (o->input == NULL && !o->inspect)
        TRY(status_fail(ST_ARG, "--input is missing"));
    if (o->alignment != NULL)
        TRY(parse_align(&align, o->alignment));
    if (o->question != NULL && o->question[0] == '\0')
        TRY(status_fail(ST_ARG, "the question is empty"));
    if (o->top_p == 0)
        TRY(status_fail(ST_ARG, "--top-p: 0 leaves no token to draw"));
    if (o->stop.n > 0 && o->generate == 0)
        TRY(status_fail(ST_ARG, "--stop needs --generate"));
    for (size_t i = 0; i < o->stop.n; i++)
        if (o->stop.item[i][0] == '\0')
            TRY(status_fail(ST_ARG, "--stop: the text is empty"));
    TRY(check_output("logits", o->logits, true));
    TRY(check_output("state", o->state, true));
    TRY(check_output("generated-logits", o->generated_logits, o->generate > 0));
fail:
    return st;
}

status
run_options_parse(run_options *o, setup *s, int argc, char **argv, bool *done)
{
    status st = ST_OK;
    *o = (run_options){.template = "plain", .top_p = 1, .penalty = 1};
    option_entry entry[] = {
        [SETUP_N_OPTION] = HEAD("Input"),
        TEXT("input", &o->input, "X", "text, or safetensors with input_ids"),
        TEXT("question", &o->question, "TEXT", "put behind the input"),
        TEXT("template", &o->template, "HOW",
             "around both: plain, auto (the model's), or a file"),
        TEXT("alignment", &o->alignment, "HOW",
             "how it is cut: left, right, center (default: as config.json "
             "says)"),
        HEAD("Answer"),
        NUMBER("generate", OPTION_U64, &o->generate, "N",
               "continue by at most N tokens; 0: not at all", MAX_GENERATE),
        NUMBER("temperature", OPTION_F64, &o->temperature, "T",
               "0: the most probable token each time", 100),
        NUMBER("top-k", OPTION_U64, &o->top_k, "K",
               "draw from the K most probable; 0: all", INT32_MAX),
        NUMBER("top-p", OPTION_F64, &o->top_p, "P",
               "draw from those that make up P", 1),
        NUMBER("min-p", OPTION_F64, &o->min_p, "P",
               "drop those below P times the most probable; 0: none", 1),
        BETWEEN("repetition-penalty", &o->penalty, "P",
                "of tokens that the last segment or the answer has; 1: none",
                0.01, 100),
        NUMBER("seed", OPTION_U64, &o->seed, "N",
               "the same seed draws the same answer", 0),
        {.name = "stop",
         .kind = OPTION_LIST,
         .value = &o->stop,
         .argument = "TEXT",
         .help = "end before this text; up to 16 times"},
        NUMBER("logprobs", OPTION_U64, &o->logprobs, "N",
               "with --json: logprobs of tokens and the N likeliest; 0: none",
               KERNEL_SAMPLE_TOP),
        FLAG("ignore-eos", &o->ignore_eos, "go on past an end-of-text token"),
        HEAD("Output"),
        TEXT("logits", &o->logits, "F", "safetensors: logits [n, vocab]"),
        TEXT("state", &o->state, "F", "safetensors: layers.N.W_mem and .z"),
        TEXT("generated-logits", &o->generated_logits, "F",
             "safetensors: gen_logits [N, vocab]"),
        FLAG("all-rows", &o->all_rows, "compute what only logits need, too"),
        FLAG("inspect", &o->inspect, "print what the model is, and end"),
        FLAG("check", &o->check, "with --inspect: what 8-bit weights lose"),
        FLAG("json", &o->json, "the summary as one line of JSON on stdout")};
    option_set set = {.program = s->program,
                      .summary = summary,
                      .footer = footer,
                      .entry = entry,
                      .n_entry = sizeof entry / sizeof *entry};

    setup_entries(s, entry);
    TRY(setup_parse(s, &set, argc, argv, done));
    if (!*done)
        TRY(setup_agree(s, check(o)));
fail:
    return st;
}

typedef struct output {
    const char *flag, *path;
} output;

/* `in` NULL, or not what is read: fine. */
static status
check_input(const output *out, const char *flag, const char *in)
{
    if (in == NULL || !file_same(out->path, in))
        return ST_OK;
    return status_fail(ST_ARG, "--%s %s: that is the file of --%s", out->flag,
                       out->path, flag);
}

static status
check_place(const output *out, const run_options *o, const char *dir)
{
    /* What the standard input was opened with may be the file. */
    const char *input = strcmp(o->input, "-") == 0 ? "/dev/stdin" : o->input;
    status st = ST_OK;

    TRY(check_input(out, "input", input));
    TRY(check_input(out, "template", o->template));
    if (file_same_within(out->path, dir))
        TRY(status_fail(ST_ARG, "--%s %s: that is a file of the model's",
                        out->flag, out->path));
fail:
    return st;
}

status
run_options_outputs(const run_options *o, const char *dir)
{
    const output all[] = {{"logits", o->logits},
                          {"state", o->state},
                          {"generated-logits", o->generated_logits}};
    status st = ST_OK;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].path == NULL)
            continue;
        TRY(check_place(&all[i], o, dir));
        for (size_t k = 0; k < i; k++)
            TRY(check_input(&all[i], all[k].flag, all[k].path));
    }
fail:
    return st;
}

bool
run_options_score(const run_options *o)
{
    return o->generate == 0 || o->logits != NULL || o->state != NULL;
}
