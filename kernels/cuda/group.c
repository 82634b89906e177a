/* SPDX-License-Identifier: Apache-2.0 */
/* A recorded group, and its launches: straight on the stream the first time,
 * from a captured graph when a group of the same operations and sizes comes
 * again.  Cells are uploaded, so a graph does not care which they are. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/plan_step.h"

enum { N_TURN = 4, META_ALIGN = 256 };

/* -------------------------------------------------------------- memory --- */

status
cuda_group_init(cuda_group *g, cuda_device *dev, cudaStream_t stream)
{
    status st;

    g->dev = dev;
    g->stream = stream;
    g->plan.dev = dev;
    g->plan.program = &g->program;
    g->program.dev = dev;
    g->program.stream = stream;
    for (int i = 0; i < N_TURN; i++)
        TRY(cuda_status(
            cudaEventCreateWithFlags(&g->copied[i], cudaEventDisableTiming),
            "no event"));
    TRY(mem_new(&g->graphs, CUDA_GROUP_GRAPHS, sizeof(*g->graphs)));
fail:
    return st;
}

static void
drop_graphs(cuda_group *g)
{
    for (int i = 0; g->graphs != NULL && i < CUDA_GROUP_GRAPHS; i++) {
        if (g->graphs[i].exec != NULL)
            (void)cudaGraphExecDestroy(g->graphs[i].exec);
        g->graphs[i] = (cuda_graph){0};
    }
}

void
cuda_group_fini(cuda_group *g)
{
    drop_graphs(g);
    mem_free(g->graphs);
    for (int i = 0; i < N_TURN; i++)
        if (g->copied[i] != NULL)
            (void)cudaEventDestroy(g->copied[i]);
    cuda_program_fini(&g->program);
    cuda_plan_fini(&g->plan);
    (void)cudaFree(g->room);
    (void)cudaFree(g->meta);
    (void)cudaFreeHost(g->pinned);
}

/* Rooms only grow, when a group is larger than all before it; whatever has an
 * address in it is forgotten then. */
static status
grow(cuda_group *g, void *room, size_t *have, size_t need)
{
    void **at = room;
    void *larger = NULL;
    status st;

    if (need <= *have)
        return ST_OK;
    TRY(cuda_program_flush(&g->program));
    TRY(cuda_status(cudaStreamSynchronize(g->stream), "the GPU failed"));
    drop_graphs(g);
    TRY(cuda_status(cudaMalloc(&larger, need), "no room for a group"));
    (void)cudaFree(*at);
    *at = larger;
    *have = need;
fail:
    return st;
}

/* Room for the cells of a group and what goes with each. */
static status
grow_meta(cuda_group *g, uint32_t n_cell)
{
    size_t cells = (2 * n_cell * sizeof(kernel_cell) + META_ALIGN - 1) /
                   META_ALIGN * META_ALIGN;
    size_t need = cells + n_cell * sizeof(kernel_sample_args);
    size_t have = g->meta_bytes;
    void *pinned = NULL;
    status st;

    if (need <= have)
        return ST_OK;
    need += need / 2;
    TRY(grow(g, &g->meta, &g->meta_bytes, need));
    g->meta_bytes = have; /* until all of it is there */
    TRY(cuda_status(cudaMallocHost(&pinned, N_TURN * need),
                    "no pinned memory"));
    (void)cudaFreeHost(g->pinned);
    g->pinned = pinned;
    g->meta_bytes = need;
    /* Samples lie behind the cells of the largest group that fits. */
    g->sample_offset = need /
                       (2 * sizeof(kernel_cell) + sizeof(kernel_sample_args)) *
                       2 * sizeof(kernel_cell) / META_ALIGN * META_ALIGN;
fail:
    return st;
}

/* ----------------------------------------------------------- recording --- */

status
cuda_group_begin(cuda_group *g, const kernel_cell *cells, uint32_t n_cell)
{
    status st;

    TRY(grow_meta(g, n_cell));
    g->turn = (g->turn + 1) % N_TURN;
    TRY(cuda_status(cudaEventSynchronize(g->copied[g->turn]),
                    "the GPU failed"));
    g->cells = (void *)(g->pinned + g->turn * g->meta_bytes);
    memcpy(g->cells, cells, n_cell * sizeof(*cells));
    g->n_cell = n_cell;
    g->n_op = 0;
    g->has_samples = false;
fail:
    return st;
}

status
cuda_group_add(cuda_group *g, const device_op *op)
{
    device_op *to = &g->ops[g->n_op];

    if (g->n_op == CUDA_GROUP_OPS)
        return status_fail(ST_LIMIT, "a group has more than %d operations",
                           CUDA_GROUP_OPS);
    *to = *op;
    if (op->kind == DEVICE_SAMPLE) {
        if (g->has_samples)
            return status_fail(ST_LIMIT, "a group draws tokens twice");
        memcpy(g->pinned + g->turn * g->meta_bytes + g->sample_offset,
               op->u.sample.args, g->n_cell * sizeof(*op->u.sample.args));
        to->u.sample.args = NULL; /* so that equal groups are equal */
        g->has_samples = true;
    }
    g->n_op++;
    return ST_OK;
}

/* ------------------------------------------------------------ launching --- */

static cudaError_t
run_one(const cuda_launch *at, const device_op *op)
{
    switch (op->kind) {
    case DEVICE_EMBED:
        return cuda_embed(at, &op->u.embed);
    case DEVICE_LINEAR:
        return cuda_linear(at, &op->u.linear);
    case DEVICE_RMSNORM:
    case DEVICE_LAYERNORM:
        return cuda_norm(at, &op->u.norm, op->kind == DEVICE_LAYERNORM);
    case DEVICE_ROPE:
        return cuda_rope(at, &op->u.rope);
    case DEVICE_KV_APPEND:
    case DEVICE_KV_KEEP:
        return cuda_kv(at, op);
    case DEVICE_ATTENTION:
        return cuda_attention(at, &op->u.attention, UINT32_MAX);
    case DEVICE_SWIGLU:
        return cuda_swiglu(at, op);
    case DEVICE_GELU:
        return cuda_gelu(at, op);
    case DEVICE_DPFP:
        return cuda_dpfp(at, &op->u.dpfp);
    case DEVICE_ASSOC_READ:
        return cuda_assoc_read(at, op);
    case DEVICE_ASSOC_WRITE:
        return cuda_assoc_write(at, op);
    case DEVICE_SAMPLE:
        return cuda_sample(at, op);
    case DEVICE_N_OP:
        break;
    }
    return cudaErrorInvalidValue;
}

static uint32_t
larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Of the cells from `first` of the uploaded ones on; those without rows are
 * none. */
static cuda_launch
launch_of(const cuda_group *g, uint32_t first)
{
    bool any = false;
    cuda_launch at = {.stream = g->stream,
                      .cells =
                          (const kernel_cell *)(const void *)g->meta + first,
                      .samples = (const void *)(g->meta + g->sample_offset),
                      .room = g->room,
                      .n_cell = g->n_cell,
                      .n_sm = g->dev->n_sm,
                      .arch = g->dev->arch};

    for (uint32_t i = 0; i < g->n_cell; i++) {
        const kernel_cell *c = &g->cells[first + i];

        if (c->n_row == 0)
            continue;
        at.min_row = !any || c->n_row < at.min_row ? c->n_row : at.min_row;
        any = true;
        at.max_row = larger(at.max_row, c->n_row);
        at.max_mem = larger(at.max_mem, c->n_mem);
        at.max_end = larger(at.max_end, c->row0 + c->n_row);
        at.max_pos = larger(at.max_pos, c->pos + c->n_row);
        at.max_key = larger(at.max_key, c->n_past + c->n_row);
        at.max_window = larger(at.max_window, c->n_window);
    }
    return at;
}

static status
run_cells(cuda_group *g, const cuda_launch *at)
{
    const char *what = "an operation cannot be enqueued";
    status st = ST_OK;

    g->plan.split_of = (kernel_view){0};
    g->plan.chained = false;
    for (uint32_t i = 0; i < g->n_op;) {
        uint32_t n = 0;

        TRY(cuda_plan_run(&g->plan, at, g->ops, g->n_op, i, &n));
        g->ran.name[g->ran.n++] = n > 0 ? g->plan.ran : "any shape";
        if (n == 0) {
            TRY(cuda_status(run_one(at, &g->ops[i]), what));
            n = 1;
        }
        i += n;
    }
fail:
    return st;
}

/* Single rows have launches of their own, whatever they are grouped with. */
static status
run_all(cuda_group *g, const cuda_launch at[2])
{
    status st = ST_OK;

    g->ran.n = 0;
    TRY(run_cells(g, &at[0]));
    if (g->n_thin > 0)
        TRY(run_cells(g, &at[1]));
fail:
    return st;
}

/* Whether rows are behind the table of turns, which the launches then chosen
 * do not look into. */
static bool
is_far(const cuda_group *g, const cuda_launch at[2])
{
    uint32_t end = at[0].max_pos;

    if (g->n_thin > 0)
        end = larger(end, at[1].max_pos);
    return end > g->plan.n_position;
}

/* The graph of such a group; a new one in the place of the least used. */
static cuda_graph *
graph_of(cuda_group *g, const cuda_launch at[2])
{
    cuda_graph *oldest = &g->graphs[0];
    bool far = is_far(g, at);

    for (uint32_t i = 0; i < CUDA_GROUP_GRAPHS; i++) {
        cuda_graph *x = &g->graphs[i];

        if (x->n_op == g->n_op && x->n_cell == at->n_cell &&
            (x->n_thin > 0) == (g->n_thin > 0) && x->min_row == at->min_row &&
            x->max_row == at->max_row && x->max_mem == at->max_mem &&
            x->max_end == at->max_end && x->is_far == far &&
            memcmp(x->ops, g->ops, g->n_op * sizeof(*g->ops)) == 0)
            return x;
        if (x->used < oldest->used)
            oldest = x;
    }
    if (oldest->exec != NULL)
        (void)cudaGraphExecDestroy(oldest->exec);
    *oldest = (cuda_graph){.n_op = g->n_op,
                           .n_cell = at->n_cell,
                           .n_thin = g->n_thin,
                           .min_row = at->min_row,
                           .max_row = at->max_row,
                           .max_mem = at->max_mem,
                           .max_end = at->max_end,
                           .is_far = far};
    memcpy(oldest->ops, g->ops, g->n_op * sizeof(*g->ops));
    return oldest;
}

static status
capture(cuda_group *g, const cuda_launch at[2], cuda_graph *x)
{
    cudaGraph_t graph = NULL;
    status st, ended;

    TRY(cuda_status(
        cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal),
        "capturing a group"));
    st = run_all(g, at);
    ended = cuda_status(cudaStreamEndCapture(g->stream, &graph),
                        "capturing a group");
    if (st == ST_OK)
        st = ended;
    if (st == ST_OK)
        st = cuda_status(cudaGraphInstantiate(&x->exec, graph, 0),
                         "capturing a group");
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
fail:
    return st;
}

static status
launch(cuda_group *g, const cuda_launch at[2])
{
    cuda_graph *x;
    bool seen;
    status st = ST_OK;

    x = graph_of(g, at);
    seen = x->used > 0;
    x->used = ++g->clock;
    if (!seen)
        return run_all(g, at);
    if (x->exec == NULL) {
        TRY(capture(g, at, x));
        x->ran = g->ran;
    }
    g->ran = x->ran;
    TRY(cuda_status(cudaGraphLaunch(x->exec, g->stream), "a group"));
fail:
    return st;
}

/* Where some cells have one row and others more: all cells twice, first
 * without the rows of the one kind, then of the other. */
static void
take_apart(cuda_group *g)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < g->n_cell; i++)
        n += g->cells[i].n_row == 1 ? 1 : 0;
    g->n_thin = n < g->n_cell && cuda_plan_thin_fits(&g->plan) ? n : 0;
    for (uint32_t i = 0; g->n_thin > 0 && i < g->n_cell; i++) {
        kernel_cell *tall = &g->cells[i], *thin = &g->cells[g->n_cell + i];
        kernel_cell *none = tall->n_row == 1 ? tall : thin;

        *thin = *tall;
        none->n_row = none->n_mem = none->n_prefix = none->n_skip = 0;
    }
}

/* Grows what the launches need. */
static status
make_ready(cuda_group *g, cuda_launch *at)
{
    size_t room = 0;
    status st = ST_OK;

    for (uint32_t i = 0; i < g->n_op; i++) {
        size_t need = cuda_room(at, &g->ops[i]) * sizeof(float);

        room = need > room ? need : room;
    }
    TRY(grow(g, &g->room, &g->room_bytes, room));
    at->room = g->room;
    if (cuda_plan_ready(&g->plan, at, g->ops, g->n_op, &st))
        drop_graphs(g);
fail:
    return st;
}

/* Whether all operations of the group, whose only cell has one row, wait in the
 * program now. */
static status
add_all(cuda_group *g, const cuda_launch *at, bool *added)
{
    const kernel_sample_args *sample =
        (const void *)(g->pinned + g->turn * g->meta_bytes + g->sample_offset);
    bool begun = false;
    status st = ST_OK;

    *added = false;
    TRY(cuda_program_begin(&g->program, g->cells, &begun));
    if (!begun)
        return ST_OK;
    g->ran.n = 0;
    for (uint32_t i = 0; i < g->n_op;) {
        cuda_step s = {&g->plan,    at,    g->ops + i,
                       g->n_op - i, ST_OK, &g->program};
        uint32_t n = cuda_plan_thin_add(&s, sample);

        if (n == 0) {
            cuda_program_drop(&g->program);
            return ST_OK;
        }
        g->ran.name[g->ran.n++] = "a row alone";
        i += n;
    }
    TRY(cuda_program_end(&g->program));
    *added = true;
fail:
    return st;
}

/* A row that is alone in its group, on a device that has programs. */
static bool
is_alone(const cuda_group *g)
{
    return g->n_cell == 1 && g->cells[0].n_row == 1 &&
           cuda_plan_thin_fits(&g->plan) &&
           cuda_program_fits(g->dev->arch, g->dev->max_shared);
}

/* Uploads the cells, both kinds of them where they were taken apart, and
 * launches what is done with them. */
static status
launch_all(cuda_group *g, const cuda_launch at[2])
{
    size_t bytes = g->n_cell * sizeof(kernel_cell);
    status st = ST_OK;

    if (g->n_thin > 0)
        bytes *= 2;
    if (g->has_samples)
        bytes = g->sample_offset + g->n_cell * sizeof(kernel_sample_args);
    TRY(cuda_program_flush(&g->program));
    TRY(cuda_status(cudaMemcpyAsync(g->meta, g->cells, bytes,
                                    cudaMemcpyHostToDevice, g->stream),
                    "uploading cells"));
    TRY(cuda_status(cudaEventRecord(g->copied[g->turn], g->stream),
                    "uploading cells"));
    TRY(launch(g, at));
fail:
    return st;
}

status
cuda_group_end(cuda_group *g)
{
    cuda_launch at[2];
    bool added = false;
    status st = ST_OK;

    take_apart(g);
    at[0] = launch_of(g, 0);
    TRY(make_ready(g, &at[0]));
    if (g->n_thin > 0) {
        at[1] = launch_of(g, g->n_cell);
        TRY(make_ready(g, &at[1]));
        at[0].room = g->room;
    }
    if (is_alone(g))
        TRY(add_all(g, &at[0], &added));
    if (!added)
        TRY(launch_all(g, at));
fail:
    return st;
}
