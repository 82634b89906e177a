/* SPDX-License-Identifier: Apache-2.0 */
/* A view that reaches beyond its buffer stops the process, whichever operand
 * of whichever operation it is; the same operation with room for all does not.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/kernel_ops.h"
#include "tests/expect.h"

enum {
    N_ROW = 6,
    N_PREFIX = 1,
    N_MEM = 2,
    D = 8,
    N_VOCAB = 32,
    ROOM = 4096,
    MAX_VIEW = 7
};

/* By place in an operation's list of operands. */
typedef struct operand {
    kernel_type type;
    kernel_by by;
} operand;

typedef status op_fn(kernel_queue *q, const kernel_view v[MAX_VIEW]);

static status
embed(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_embed(q, &(kernel_embed_args){.x = v[0],
                                                .ids = v[1],
                                                .table = v[2],
                                                .prefix = v[3],
                                                .memory = v[4],
                                                .carried = v[5],
                                                .position = v[6],
                                                .d = D});
}

static status
linear(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_linear(q, &(kernel_linear_args){.out = v[0],
                                                  .x = v[1],
                                                  .w = v[2],
                                                  .bias = v[3],
                                                  .scale = v[4],
                                                  .n = D,
                                                  .k = D});
}

static status
layernorm(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_layernorm(q, &(kernel_norm_args){.out = v[0],
                                                   .x = v[1],
                                                   .w = v[2],
                                                   .bias = v[3],
                                                   .d = D,
                                                   .n_head = 1});
}

static status
rope(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_rope(q, &(kernel_rope_args){.x = v[0],
                                              .freq = v[1],
                                              .n_head = 1,
                                              .d_head = D,
                                              .d_rot = D,
                                              .scale = 1});
}

static status
kv_append(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_kv_append(q, v[0], v[1], v[2], v[3], D);
}

static status
kv_keep(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_kv_keep(q, v[0], v[1], v[2], v[3], D);
}

static status
attention(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_attention(q, &(kernel_attention_args){.out = v[0],
                                                        .q = v[1],
                                                        .k = v[2],
                                                        .v = v[3],
                                                        .window_k = v[4],
                                                        .window_v = v[5],
                                                        .n_head = 1,
                                                        .n_kv = 1,
                                                        .d_head = D,
                                                        .scale = 1});
}

static status
swiglu(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_swiglu(q, v[0], v[1], D);
}

static status
gelu(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_gelu(q, v[0], v[1], D, false);
}

static status
dpfp(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    return kernel_dpfp(q, &(kernel_dpfp_args){
                              .out = v[0], .x = v[1], .d_mem = D, .n_head = 1});
}

static kernel_assoc
memory(const kernel_view v[MAX_VIEW])
{
    return (kernel_assoc){
        .A = v[0], .z = v[1], .d_key = D, .d_model = D, .n_head = 1};
}

static status
assoc_read(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    const kernel_assoc mem = memory(v);

    return kernel_assoc_read(q, v[2], v[3], &mem);
}

static status
assoc_write(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    const kernel_assoc mem = memory(v);

    return kernel_assoc_write(q, &mem, v[2], v[3], v[4]);
}

static status
sample(kernel_queue *q, const kernel_view v[MAX_VIEW])
{
    const kernel_sample_args args = {
        .top_p = 1, .penalty = 2, .n_seen = 3, .n_top = 2};

    return kernel_sample(q, &(kernel_sample_op){.ids = v[0],
                                                .logits = v[1],
                                                .seen = v[2],
                                                .logprobs = v[3],
                                                .top_ids = v[4],
                                                .n_vocab = N_VOCAB,
                                                .args = &args});
}

#define CELL                                                                   \
    {                                                                          \
        KERNEL_F32, KERNEL_BY_CELL                                             \
    }
#define SLOT                                                                   \
    {                                                                          \
        KERNEL_F32, KERNEL_BY_SLOT                                             \
    }
#define STATE                                                                  \
    {                                                                          \
        KERNEL_F32, KERNEL_BY_STATE                                            \
    }
#define LAYER                                                                  \
    {                                                                          \
        KERNEL_F32, KERNEL_BY_LAYER                                            \
    }
#define IDS                                                                    \
    {                                                                          \
        KERNEL_I32, KERNEL_BY_SLOT                                             \
    }

static const struct {
    const char *name;
    op_fn *fn;
    size_t n;
    operand v[MAX_VIEW];
} OP[] = {
    {"embed", embed, 7, {SLOT, IDS, LAYER, LAYER, LAYER, STATE, LAYER}},
    {"linear",
     linear,
     5,
     {CELL, CELL, {KERNEL_I8, KERNEL_BY_LAYER}, LAYER, LAYER}},
    {"layernorm", layernorm, 4, {CELL, CELL, LAYER, LAYER}},
    {"rope", rope, 2, {CELL, LAYER}},
    {"kv_append", kv_append, 4, {STATE, STATE, CELL, CELL}},
    {"kv_keep", kv_keep, 4, {STATE, STATE, CELL, CELL}},
    {"attention", attention, 6, {CELL, CELL, CELL, CELL, STATE, STATE}},
    {"swiglu", swiglu, 2, {CELL, CELL}},
    {"gelu", gelu, 2, {CELL, CELL}},
    {"dpfp", dpfp, 2, {CELL, CELL}},
    {"assoc_read", assoc_read, 4, {STATE, STATE, CELL, CELL}},
    {"assoc_write", assoc_write, 5, {STATE, STATE, CELL, CELL, CELL}},
    {"sample", sample, 5, {IDS, CELL, IDS, SLOT, IDS}},
};
enum { N_OP = sizeof OP / sizeof *OP };

/* In a process of its own: operation `op` with a buffer of no more than a
 * byte for operand `small`; does not return. */
static _Noreturn void
enqueue(size_t op, size_t small)
{
    const kernel_cell cell = {.n_row = N_ROW,
                              .n_prefix = N_PREFIX,
                              .n_mem = N_MEM,
                              .n_past = 2,
                              .n_window = 3};
    const struct rlimit no_core = {0};
    kernel_view v[MAX_VIEW] = {{0}};
    kernel_device *dev;
    kernel_queue *q;

    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)close(STDERR_FILENO); /* the invariant's words */
    if (kernel_open(&dev, &(kernel_config){.device = "cpu", .n_thread = 1}) ||
        kernel_queue_new(&q, dev))
        _exit(2);
    for (size_t i = 0; i < OP[op].n; i++) {
        v[i] = (kernel_view){
            .type = OP[op].v[i].type, .by = OP[op].v[i].by, .ld = 6 * D};
        if (kernel_buf_new(&v[i].buf, dev, KERNEL_KEEP, i == small ? 1 : ROOM,
                           1))
            _exit(2);
    }
    if (kernel_begin(q, &cell, 1) || OP[op].fn(q, v))
        _exit(2);
    _exit(0);
}

static int
end_of(size_t op, size_t small)
{
    int end = -1;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        enqueue(op, small);
    assert_int_equal(waitpid(pid, &end, 0), pid);
    return end;
}

static void
views_beyond_their_buffers_stop_the_process(void **state)
{
    (void)state;
    for (size_t op = 0; op < N_OP; op++) {
        int end = end_of(op, MAX_VIEW);

        if (!WIFEXITED(end) || WEXITSTATUS(end) != 0)
            fail_msg("%s with room for all: %x", OP[op].name, end);
        for (size_t i = 0; i < OP[op].n; i++) {
            end = end_of(op, i);
            if (!WIFSIGNALED(end) || WTERMSIG(end) != SIGABRT)
                fail_msg("%s, operand %zu: %x", OP[op].name, i, end);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_beyond_their_buffers_stop_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
