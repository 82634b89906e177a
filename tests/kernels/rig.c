/* SPDX-License-Identifier: Apache-2.0 */
/* Devices, cells and guarded tensors for the tests of operations. */
#include "tests/kernels/rig.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

const rig_way rig_ways[RIG_N_WAY] = {{"cpu", 1},  {"cpu", 2},
                                     {"cpu", 3},  {"cpu-async", 2},
                                     {"cuda", 1}, {"cuda", 1}};

const kernel_cell rig_cells[RIG_N_CELL] = {
    {.layer = 2, .slot = 1, .state = 0, .kv = 3, .n_row = 70, .n_mem = 16},
    {.layer = 0,
     .slot = 3,
     .state = 5,
     .kv = 0,
     .row0 = 4,
     .n_row = 1,
     .pos = 9,
     .n_past = 9,
     .fresh = 1},
    {.layer = 1,
     .slot = 0,
     .state = 2,
     .kv = 6,
     .row0 = 1,
     .n_row = 33,
     .n_mem = 5,
     .pos = 70,
     .n_past = 70,
     .fresh = 1},
    {.layer = 6,
     .slot = 6,
     .state = 6,
     .kv = 1,
     .n_row = 150,
     .n_mem = 1,
     .pos = 3,
     .n_past = 3},
    {.layer = 3,
     .slot = 2,
     .state = 1,
     .kv = 2,
     .row0 = 2,
     .n_row = 7,
     .n_mem = 7,
     .pos = 100,
     .n_past = 100},
};

bool
rig_has(const rig_way *way)
{
    const kernel_config cfg = {.device = way->device};
    kernel_device *dev = NULL;

    if (strcmp(way->device, "cuda") != 0)
        return true;
    if (kernel_open(&dev, &cfg) != ST_OK) {
        print_message("  not run: %s\n", status_text());
        return false;
    }
    kernel_close(dev);
    return true;
}

void
rig_open(rig *r, const rig_way *way)
{
    const kernel_config cfg = {
        .device = way->device, .n_thread = way->n_thread, .compute = "f32"};

    memset(r, 0, sizeof(*r));
    r->cells = rig_cells;
    r->n_cell = RIG_N_CELL;
    EXPECT_OK(kernel_open(&r->dev, &cfg));
    EXPECT_OK(kernel_queue_new(&r->q, r->dev));
}

void
rig_close(rig *r)
{
    kernel_queue_free(r->q);
    kernel_close(r->dev);
}

void
rig_begin(rig *r)
{
    EXPECT_OK(kernel_begin(r->q, r->cells, r->n_cell));
}

void
rig_end(rig *r)
{
    EXPECT_OK(kernel_end(r->q));
    EXPECT_OK(kernel_sync(r->q));
}

float
rig_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (float)((double)(*seed >> 11) * 0x1p-52 - 1.0);
}

void
rig_tensor_init(rig_tensor *t, const rig *r, kernel_by by, size_t n_row,
                size_t width, uint64_t seed)
{
    enum { GAP_ROW = 3, GAP_ITEM = 11, GAP_FIRST = 5 };
    size_t ld = width + GAP_ROW;
    size_t stride = n_row * ld + GAP_ITEM;

    memset(t, 0, sizeof(*t));
    t->n = GAP_FIRST + RIG_N_ITEM * stride;
    t->view = (kernel_view){.type = KERNEL_F32,
                            .by = by,
                            .offset = GAP_FIRST,
                            .stride = stride,
                            .ld = ld};
    EXPECT_OK(kernel_buf_new(&t->view.buf, r->dev, KERNEL_KEEP,
                             t->n * sizeof(float), 1));
    EXPECT_OK(mem_new(&t->host, t->n, sizeof(*t->host)));
    EXPECT_OK(mem_new(&t->want, t->n, sizeof(*t->want)));
    for (size_t i = 0; i < t->n; i++) {
        t->host[i] = rig_random(&seed);
        t->want[i] = (double)NAN;
    }
    rig_upload(t, r);
}

void
rig_tensor_fini(rig_tensor *t)
{
    kernel_buf_free(t->view.buf);
    mem_free(t->want);
    mem_free(t->host);
}

size_t
rig_at(const rig_tensor *t, size_t item, size_t row, size_t col)
{
    return t->view.offset + item * t->view.stride + row * t->view.ld + col;
}

double
rig_in(const rig_tensor *t, size_t item, size_t row, size_t col)
{
    return (double)t->host[rig_at(t, item, row, col)];
}

void
rig_want(rig_tensor *t, size_t item, size_t row, size_t col, double value)
{
    t->want[rig_at(t, item, row, col)] = value;
}

void
rig_upload(const rig_tensor *t, const rig *r)
{
    EXPECT_OK(
        kernel_copy_in(r->q, t->view.buf, 0, t->host, t->n * sizeof(float)));
    EXPECT_OK(kernel_sync(r->q));
}

/* Keeps what was read back on a device's first way, compares it on its
 * others. */
static void
same_bits(rig_bits *b, const float *got, size_t n)
{
    size_t at = b->n_check++;

    if (b->is_first) {
        EXPECT_OK(mem_resize(&b->seen, at + 1, sizeof(*b->seen)));
        EXPECT_OK(mem_new(&b->seen[at], n, sizeof(*got)));
        memcpy(b->seen[at], got, n * sizeof(*got));
        b->n_seen = at + 1;
    } else {
        assert_true(at < b->n_seen);
        assert_memory_equal(b->seen[at], got, n * sizeof(*got));
    }
}

/* What is in the buffer, F32 or BF16, as F32; mem_free(). */
static float *
take(const rig_tensor *t, const rig *r)
{
    size_t size = kernel_type_size(t->view.type);
    unsigned char *data = NULL;
    float *got = NULL;

    EXPECT_OK(mem_new(&data, t->n, size));
    EXPECT_OK(mem_new(&got, t->n, sizeof(*got)));
    EXPECT_OK(kernel_copy_out(r->q, data, t->view.buf, 0, t->n * size));
    EXPECT_OK(kernel_sync(r->q));
    for (size_t i = 0; i < t->n; i++) {
        uint32_t bits = 0; /* a narrow number is the upper half of a wide one */

        memcpy((unsigned char *)&bits + sizeof(bits) - size, data + i * size,
               size);
        memcpy(&got[i], &bits, sizeof(bits));
    }
    mem_free(data);
    return got;
}

void
rig_check(const rig_tensor *t, const rig *r, double tolerance)
{
    bool narrow = t->view.type == KERNEL_BF16;
    float *got = take(t, r);

    for (size_t i = 0; i < t->n; i++) {
        double want = t->want[i];
        double scale = fabs(want) > 1.0 ? fabs(want) : 1.0;
        double half_ulp = 0;

        if (narrow && isnormal(want)) /* no number: it is not to be written */
            half_ulp = ldexp(1, ilogb(want) - 8);

        if (isnan(want) && memcmp(&got[i], &t->host[i], sizeof(got[i])) != 0)
            fail_msg("element %zu of %zu was overwritten: %g, had %g", i, t->n,
                     (double)got[i], (double)t->host[i]);
        if (!isnan(want) &&
            !(fabs((double)got[i] - want) <= tolerance * scale + half_ulp))
            fail_msg("element %zu of %zu is %.9g, expected %.9g", i, t->n,
                     (double)got[i], want);
    }
    if (r->bits != NULL)
        same_bits(r->bits, got, t->n);
    mem_free(got);
}

/* x, in (-1, 1), rounded to a type: element `at` of data.  Some become 0 or
 * so small that they have no exponent of their own. */
static float
put_narrow(void *data, size_t at, kernel_type type, float x)
{
    uint16_t *half = data;
    uint32_t bits;

    if (type == KERNEL_I8) {
        ((int8_t *)data)[at] = (int8_t)lrintf(x * 127.0F);
        return (float)((int8_t *)data)[at];
    }
    if (type == KERNEL_BF16) {
        memcpy(&bits, &x, sizeof(bits));
        half[at] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000U;
        memcpy(&x, &bits, sizeof(x));
        return x;
    }
    x = at % 5 == 0 ? x * 0x1p-15F : x;
    if (fabsf(x) < 0x1p-14F) {
        float steps = truncf(x * 0x1p24F);

        half[at] = (uint16_t)(fabsf(steps) + (steps < 0.0F ? 0x8000 : 0));
        return steps * 0x1p-24F;
    }
    memcpy(&bits, &x, sizeof(bits));
    bits &= 0xffffe000U;
    half[at] = (uint16_t)((bits >> 16 & 0x8000U) |
                          ((bits & 0x7fffffffU) - (112U << 23)) >> 13);
    memcpy(&x, &bits, sizeof(x));
    return x;
}

void
rig_narrow(rig_tensor *t, const rig *r, kernel_type type)
{
    size_t bytes = t->n * kernel_type_size(type);
    void *data = NULL;

    EXPECT_OK(mem_new(&data, bytes, 1));
    for (size_t i = 0; i < t->n; i++)
        t->host[i] = put_narrow(data, i, type, t->host[i]);
    kernel_buf_free(t->view.buf);
    t->view.type = type;
    EXPECT_OK(kernel_buf_new(&t->view.buf, r->dev, KERNEL_KEEP, bytes, 1));
    EXPECT_OK(kernel_copy_in(r->q, t->view.buf, 0, data, bytes));
    EXPECT_OK(kernel_sync(r->q));
    mem_free(data);
}

size_t
rig_item(const rig_tensor *t, const rig *r, uint32_t place)
{
    const kernel_cell *cell = &r->cells[place];
    const size_t items[] = {[KERNEL_BY_CELL] = place,
                            [KERNEL_BY_LAYER] = cell->layer,
                            [KERNEL_BY_SLOT] = cell->slot,
                            [KERNEL_BY_STATE] = cell->state,
                            [KERNEL_BY_KV] = cell->kv};

    return items[t->view.by];
}

size_t
rig_row0(const rig_tensor *t, const rig *r, uint32_t place, kernel_rows rows)
{
    const kernel_cell *cell = &r->cells[place];

    if (t->view.by != KERNEL_BY_SLOT)
        return 0;
    return cell->row0 + cell->n_row - rig_rows(cell, rows);
}

size_t
rig_rows(const kernel_cell *cell, kernel_rows rows)
{
    return rows == KERNEL_ROWS_MEM ? cell->n_mem : cell->n_row;
}

static void
forget(rig_bits *b)
{
    for (size_t i = 0; i < b->n_seen; i++)
        mem_free(b->seen[i]);
    mem_free(b->seen);
    *b = (rig_bits){.is_first = true};
}

/* Bits are a device's own: "cpu" and "cpu-async" are one, a GPU is another. */
static bool
same_device(size_t way)
{
    return way > 0 && strncmp(rig_ways[way].device, rig_ways[way - 1].device,
                              strlen("cpu")) == 0;
}

void
rig_every_way(void (*test)(rig *r))
{
    rig_bits bits = {0};

    for (size_t i = 0; i < RIG_N_WAY; i++) {
        rig r;

        if (!rig_has(&rig_ways[i]))
            continue;
        if (!same_device(i))
            forget(&bits);
        rig_open(&r, &rig_ways[i]);
        bits.n_check = 0;
        r.bits = &bits;
        test(&r);
        rig_close(&r);
        bits.is_first = false;
    }
    forget(&bits);
}
