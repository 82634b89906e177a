/* SPDX-License-Identifier: Apache-2.0 */
/* What was recognised, twice: for people and as JSON. */
#include "worker/inspect.h"

#include <stdio.h>
#include <string.h>

#include "base/jsonout.h"
#include "base/terminal.h"
#include "model/checkpoint.h"
#include "model/memory.h"
#include "model/template.h"

enum { N_TYPE = SAFETENSORS_OTHER + 1, MANY_TOKENS = 1 << 20 };

typedef struct facts {
    const model_config *cfg;
    checkpoint file;
    weights_types stored, int8;
    size_t n_tensor[N_TYPE];
    uint64_t bytes[N_TYPE];
    const memory *memory;
    size_t first_layer, all; /* bytes of state after one segment */
    size_t many;             /* of all layers after MANY_TOKENS */
    char tokenizer[160];     /* its template, or why there is none */
    uint32_t n_bare;
    config_unread unread;
    bool checked;
    inspect_loss loss;
} facts;

static const char *const type_names[N_TYPE] = {"F32", "F16", "BF16",
                                               "I32", "I64", "other"};
static const char *const blocks[] = {"llama", "gpt2", "gpt_neox"};
static const char *const aligns[] = {"left", "right", "center"};
static const char *const ropes[] = {"default", "linear", "llama3", "yarn"};
static const char *const acts[] = {"silu", "gelu", "gelu_new"};

static const char *
kernel_name(kernel_type type)
{
    static const char *const names[] = {[KERNEL_F32] = "F32",
                                        [KERNEL_BF16] = "BF16",
                                        [KERNEL_F16] = "F16",
                                        [KERNEL_I32] = "I32",
                                        [KERNEL_I8] = "I8"};
    return names[type];
}

/* ------------------------------------------------------------ gathering --- */

static void
count_tensors(facts *f)
{
    for (size_t i = 0; i < safetensors_count(f->file.file); i++) {
        const safetensors_tensor *t = safetensors_at(f->file.file, i);
        f->n_tensor[t->type]++;
        f->bytes[t->type] += t->bytes;
    }
}

static void
measure_state(facts *f)
{
    uint32_t size = f->cfg->segment_size;
    const memory_past one = {.n_token = size, .n_last = size};
    const memory_past many = {.n_token = MANY_TOKENS, .n_last = size};
    f->memory = memory_of(f->cfg);
    f->first_layer = memory_state_bytes(f->cfg, KERNEL_F32, 0, &one);
    f->all = memory_states_bytes(f->cfg, KERNEL_F32, &one);
    f->many = memory_states_bytes(f->cfg, KERNEL_F32, &many);
    for (uint32_t l = 0; l < f->cfg->n_layer; l++)
        f->n_bare += config_is_bare(f->cfg, l);
}

/* A tokenizer that is not read is no reason to say nothing else. */
static void
read_tokenizer(facts *f, const char *dir)
{
    tokenizer *tok = NULL;
    template *chat = NULL;
    status st = tokenizer_open(&tok, dir);
    if (st == ST_OK)
        st = template_open(&chat, "auto", dir, tok);
    (void)snprintf(f->tokenizer, sizeof f->tokenizer, "%s",
                   st == ST_OK         ? template_name(chat)
                   : st == ST_NOTFOUND ? "none"
                                       : status_text());
    template_close(chat);
    tokenizer_close(tok);
}

static weights_part
whole(const model_config *cfg)
{
    return (weights_part){.n_layer = cfg->n_layer, .embed = true, .head = true};
}

static size_t
memory_bytes(const facts *f, const weights_types *types)
{
    weights_part all = whole(f->cfg);
    return weights_bytes_typed(f->cfg, &all, types);
}

/* --------------------------------------------------------------- people --- */

static void
print_block(const model_config *c)
{
    printf("block      %s: %u layers, width %u, %u heads and %u key heads of "
           "%u, MLP %u (%s), vocabulary %u\n",
           blocks[c->block], c->n_layer, c->d_model, c->n_head, c->n_kv_head,
           c->d_head, c->d_ffn, acts[c->act], c->n_vocab);
    printf("           norm epsilon %g%s%s%s%s%s%s\n", (double)c->norm_eps,
           c->tied_head ? ", tied head" : "", c->qkv_bias ? ", q k v bias" : "",
           c->out_bias ? ", output bias" : "", c->mlp_bias ? ", MLP bias" : "",
           c->qk_norm ? ", norms of heads" : "",
           c->parallel ? ", MLP beside attention" : "");
    if (c->span > 0)
        printf("           attention over the last %u tokens\n", c->span);
    if (c->n_position > 0)
        printf("positions  learned, %u%s\n", c->n_position,
               c->wrap_pos ? " and those of memory tokens" : "");
    else
        printf("positions  rotary, %s, theta %g, %u of %u numbers a head\n",
               ropes[c->rope.kind], c->rope.theta, c->rope.d_rot, c->d_head);
    if (c->rope.kind != CONFIG_ROPE_PLAIN)
        printf("           factor %g, cosines times %g\n", c->rope.factor,
               (double)config_rope_scale(c));
}

static void
print_memory(const facts *f)
{
    const model_config *c = f->cfg;
    printf("memory     %s", f->memory->name);
    if (c->n_mem > 0)
        printf(", %u memory tokens", c->n_mem);
    if (c->memory == CONFIG_MEMORY_ASSOC)
        printf(", d_mem %u (keys of %u), heads %u, key_norm %s%s%s%s", c->d_mem,
               config_d_key(c), c->n_mem_head, c->l2_norm ? "l2" : "none",
               c->correction ? ", correction" : "",
               c->denom ? "" : ", no denominators",
               c->gating ? ", gating" : "");
    printf("\nsegments   %u tokens, cut %s, generation %s%s%s%s\n",
           c->segment_size, aligns[c->align],
           c->generation == CONFIG_FROZEN ? "frozen" : "rollover",
           c->n_sink > 0 ? ", sink" : "", c->window ? ", sliding window" : "",
           c->window_outer ? " of the outer loop" : "");
    if (f->n_bare > 0)
        printf("           %u layers without a memory\n", f->n_bare);
    printf("state      %zu bytes in the first layer, %zu in all after one "
           "segment, %zu after %d tokens (fp32); %s, %s\n",
           f->first_layer, f->all, f->many, MANY_TOKENS,
           f->memory->grows ? "grows with the tokens" : "bounded",
           f->memory->chained ? "one for the document" : "layers keep apart");
}

/* These names are the files' own, and may be anything. */
static void
print_ignored(const facts *f)
{
    char name[101];

    if (f->file.n_ignored > 0) {
        (void)snprintf(name, sizeof(name), "%s", f->file.ignored);
        printf("ignored    %zu tensors that are computed here, such as ",
               f->file.n_ignored);
        terminal_text(stdout, name);
    } else {
        printf("ignored    no tensors");
    }
    if (f->unread.n > 0) {
        printf("\n           %zu fields of config.json: ", f->unread.n);
        terminal_text(stdout, f->unread.list);
        puts(f->unread.n > f->unread.n_listed ? " ..." : "");
    } else {
        printf("\n           no fields of config.json\n");
    }
}

static void
print_file(const facts *f)
{
    printf("names      %s\n", names_scheme_text(f->file.names.scheme));
    printf("tensors   ");
    for (size_t i = 0; i < N_TYPE; i++)
        if (f->n_tensor[i] > 0)
            printf(" %zu %s (%.1f MiB)", f->n_tensor[i], type_names[i],
                   (double)f->bytes[i] / 1048576);
    printf("\nweights    %.1f MiB as stored (blocks in %s), %.1f MiB with "
           "--weights int8\n",
           (double)memory_bytes(f, &f->stored) / 1048576,
           kernel_name(f->stored.of[WEIGHTS_QKV]),
           (double)memory_bytes(f, &f->int8) / 1048576);
    if (f->file.n_lora > 0)
        printf("LoRA       %zu tensors are merged, alpha %g\n", f->file.n_lora,
               f->cfg->lora_alpha);
    else
        printf("LoRA       none\n");
    print_ignored(f);
}

static void
print_people(const facts *f)
{
    print_block(f->cfg);
    print_memory(f);
    print_file(f);
    printf("tokens     begin %d, end", f->cfg->bos);
    for (uint32_t i = 0; i < f->cfg->n_eos; i++)
        printf(" %d", f->cfg->eos[i]);
    printf("%s\ntemplate   ", f->cfg->n_eos > 0 ? "" : " none");
    terminal_text(stdout, f->tokenizer);
    putchar('\n');
    if (f->checked)
        printf("check      int8 against stored, %u rows after %u tokens: "
               "largest difference %.4g (largest logit %.4g), relative norm "
               "%.3g, same first choice in %.1f %%\n",
               f->loss.n_row, f->loss.n_token - f->loss.n_row, f->loss.max,
               f->loss.max_logit, f->loss.relative, 100 * f->loss.top);
}

/* ----------------------------------------------------------------- JSON --- */

static void
add_block(jsonout *j, const model_config *c)
{
    jsonout_text(j, "block", blocks[c->block]);
    jsonout_u64(j, "layers", c->n_layer);
    jsonout_u64(j, "width", c->d_model);
    jsonout_u64(j, "heads", c->n_head);
    jsonout_u64(j, "key_heads", c->n_kv_head);
    jsonout_u64(j, "head_size", c->d_head);
    jsonout_u64(j, "mlp", c->d_ffn);
    jsonout_text(j, "activation", acts[c->act]);
    jsonout_u64(j, "vocabulary", c->n_vocab);
    jsonout_u64(j, "positions", c->n_position);
    jsonout_u64(j, "span", c->span);
    jsonout_bool(j, "tied_head", c->tied_head);
    jsonout_bool(j, "qkv_bias", c->qkv_bias);
    jsonout_bool(j, "out_bias", c->out_bias);
    jsonout_bool(j, "mlp_bias", c->mlp_bias);
    jsonout_bool(j, "qk_norm", c->qk_norm);
    jsonout_bool(j, "parallel", c->parallel);
    jsonout_text(j, "rope", c->rope.d_rot > 0 ? ropes[c->rope.kind] : "none");
    jsonout_f64(j, "rope_theta", c->rope.theta);
    jsonout_u64(j, "rotated", c->rope.d_rot);
}

static void
add_memory(jsonout *j, const facts *f)
{
    const model_config *c = f->cfg;
    jsonout_text(j, "memory", f->memory->name);
    jsonout_u64(j, "memory_tokens", c->n_mem);
    jsonout_u64(j, "d_mem", c->d_mem);
    jsonout_u64(j, "memory_heads", c->n_mem_head);
    jsonout_text(j, "key_norm", c->l2_norm ? "l2" : "none");
    jsonout_bool(j, "correction", c->correction);
    jsonout_bool(j, "use_denom", c->denom);
    jsonout_bool(j, "gating", c->gating);
    jsonout_bool(j, "sink", c->n_sink > 0);
    jsonout_bool(j, "sliding_window", c->window);
    jsonout_bool(j, "outer_loop_window", c->window_outer);
    jsonout_bool(j, "wrap_pos", c->wrap_pos);
    jsonout_u64(j, "bare_layers", f->n_bare);
    jsonout_u64(j, "segment_size", c->segment_size);
    jsonout_text(j, "alignment", aligns[c->align]);
    jsonout_text(j, "generation",
                 c->generation == CONFIG_FROZEN ? "frozen" : "rollover");
    jsonout_u64(j, "state_bytes_per_layer", f->first_layer);
    jsonout_u64(j, "state_bytes", f->all);
    jsonout_bool(j, "bounded", !f->memory->grows);
    jsonout_bool(j, "layer_local", !f->memory->chained);
}

static void
add_file(jsonout *j, const facts *f)
{
    jsonout_text(j, "names", names_scheme_text(f->file.names.scheme));
    jsonout_object(j, "tensors");
    for (size_t i = 0; i < N_TYPE; i++)
        if (f->n_tensor[i] > 0)
            jsonout_u64(j, type_names[i], f->n_tensor[i]);
    jsonout_close_object(j);
    jsonout_u64(j, "weights_bytes", memory_bytes(f, &f->stored));
    jsonout_u64(j, "weights_bytes_int8", memory_bytes(f, &f->int8));
    jsonout_text(j, "weights_type", kernel_name(f->stored.of[WEIGHTS_QKV]));
    jsonout_u64(j, "lora_tensors", f->file.n_lora);
    jsonout_f64(j, "lora_alpha", f->cfg->lora_alpha);
    jsonout_u64(j, "ignored_tensors", f->file.n_ignored);
    jsonout_u64(j, "ignored_fields", f->unread.n);
    jsonout_text(j, "ignored_field_names", f->unread.list);
    jsonout_text(j, "template", f->tokenizer);
}

static status
print_json(const facts *f)
{
    jsonout j;
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    add_block(&j, f->cfg);
    add_memory(&j, f);
    add_file(&j, f);
    if (f->checked) {
        jsonout_object(&j, "check");
        jsonout_u64(&j, "rows", f->loss.n_row);
        jsonout_f64(&j, "max", f->loss.max);
        jsonout_f64(&j, "max_logit", f->loss.max_logit);
        jsonout_f64(&j, "relative", f->loss.relative);
        jsonout_f64(&j, "same_first", f->loss.top);
        jsonout_close_object(&j);
    }
    jsonout_close_object(&j);
    status st = jsonout_print(&j, stdout);
    jsonout_fini(&j);
    return st;
}

status
inspect_run(const setup *s, const run_options *opt)
{
    model_config cfg;
    facts f = {.cfg = &cfg};
    status st = ST_OK;

    TRY(config_load_unread(&cfg, &f.unread, s->opt.model, &s->opt.given));
    TRY(checkpoint_open(&f.file, &cfg, s->opt.model));
    checkpoint_types(&f.file, &f.stored, KERNEL_F32, WEIGHTS_STORED);
    checkpoint_types(&f.file, &f.int8, KERNEL_F32, WEIGHTS_INT8);
    count_tensors(&f);
    measure_state(&f);
    read_tokenizer(&f, s->opt.model);
    f.checked = opt->check;
    if (opt->check)
        TRY(inspect_check(&f.loss, &cfg, &s->opt));
    if (opt->json)
        TRY(print_json(&f));
    else
        print_people(&f);
fail:
    checkpoint_close(&f.file);
    return st;
}
