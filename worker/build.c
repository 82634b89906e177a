/* SPDX-License-Identifier: Apache-2.0 */
/* The linker's id of the running program, compared between ranks. */
#include "worker/build.h"

#include <link.h>
#include <string.h>

/* As linkers make them: 8 to 20 bytes. */
enum { MAX_ID = 64 };

typedef struct build_id {
    uint8_t data[MAX_ID];
    size_t len; /* 0: there is none */
} build_id;

static size_t
padded(size_t len, size_t align)
{
    return (len + align - 1) & ~(align - 1);
}

/* Looks for the id among the notes of one segment (elf(5)). */
static void
read_notes(build_id *id, const uint8_t *notes, size_t len, size_t align)
{
    ElfW(Nhdr) head;

    while (len >= sizeof head) {
        memcpy(&head, notes, sizeof head);
        size_t name = padded(sizeof head + head.n_namesz, align);
        size_t end = padded(name + head.n_descsz, align);
        if (head.n_namesz > len || head.n_descsz > len || end > len)
            return;
        if (head.n_type == NT_GNU_BUILD_ID &&
            head.n_namesz == sizeof ELF_NOTE_GNU && head.n_descsz <= MAX_ID &&
            memcmp(notes + sizeof head, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) ==
                0) {
            id->len = head.n_descsz;
            memcpy(id->data, notes + name, id->len);
            return;
        }
        notes += end;
        len -= end;
    }
}

/* The program itself is the first object that is told of. */
static int
read_program(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE)
            read_notes(ctx, (const uint8_t *)(info->dlpi_addr + p->p_vaddr),
                       p->p_memsz, p->p_align == 8 ? 8 : 4);
    }
    return 1;
}

status
build_same(comm *c)
{
    build_id id = {0};
    status st = ST_OK;

    TRY(comm_same(c, "version of Longwave", LONGWAVE_VERSION,
                  sizeof LONGWAVE_VERSION));
    (void)dl_iterate_phdr(read_program, &id);
    TRY(comm_same(c, "build of Longwave", id.data, id.len));
fail:
    return st;
}
