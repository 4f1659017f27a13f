/* A plugin of qemu-user that counts an aarch64 program's instructions by class.

   It counts how often each translated block begins, and what a block holds: a run is 2 to 3 times
   slower, not 50. The program marks what is to be counted with a system call that does nothing,
   getpgid(MARK | code). Each line of `out` is a JSON object, what was executed since the line
   before: {"at": "begin"}, {"at": "end"} and, in a region that was begun with BEGIN_WATCHED,
   {"at": "clock"} at each clock_gettime: a runtime that profiles its operators reads the clock
   before and after each, so these lines are the operators' own counts. "ns" is the time of day: what
   the program then reads lies between this line's and the next one's.

   Options: out=FILE, blocks=FILE. The second gets the blocks of the first region:
   "executions word word ..." a line, for a model of the pipeline.

   Built without qemu's header, which Debian does not ship, for one of its interfaces, QEMU_API:
   1 (qemu 4.2 to 8.2), 2 (9.0), 3 and up (9.1). The declarations follow its documentation,
   https://www.qemu.org/docs/master/devel/tcg-plugins.html. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aarch64.h"

#ifndef QEMU_API
#define QEMU_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
typedef struct qemu_plugin_tb Block;
typedef struct qemu_plugin_insn Instruction;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, Block *));
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const Block *);
uint64_t qemu_plugin_tb_vaddr(const Block *);
Instruction *qemu_plugin_tb_get_insn(const Block *, size_t);
#if QEMU_API >= 3
size_t qemu_plugin_insn_data(const Instruction *, void *, size_t);
#else
const void *qemu_plugin_insn_data(const Instruction *);
#endif
#if QEMU_API >= 2
void qemu_plugin_register_vcpu_tb_exec_cb(Block *, void (*)(unsigned, void *), int, void *);
#else
void qemu_plugin_register_vcpu_tb_exec_inline(Block *, int, void *, uint64_t);
#endif

enum { GETPGID = 155, CLOCK_GETTIME = 113 }; /* Linux, asm-generic/unistd.h */
enum { MARK = 0x454300, BEGIN = 1, END = 2, BEGIN_WATCHED = 3 };
enum { BUCKETS = 1 << 16 };

struct counted { /* one block: what it holds, and how often it began */
    struct counted *next, *older;
    uint64_t address, executions, at_line, at_begin;
    uint64_t kinds[KINDS], int_macs, float_macs, load_bytes, store_bytes;
    size_t length;
    uint32_t words[];
};

static struct counted *buckets[BUCKETS], *newest;
static FILE *lines;
static const char *blocks_path;
static bool watched;
static bool blocks_written;

static uint32_t word_of(const Block *block, size_t number) {
    uint32_t word = 0;
    Instruction *instruction = qemu_plugin_tb_get_insn(block, number);
#if QEMU_API >= 3
    qemu_plugin_insn_data(instruction, &word, sizeof word);
#else
    memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
#endif
    return word;
}

static void add_instruction(struct counted *counted, uint32_t word) {
    struct decoded found = decode(word);
    counted->kinds[found.kind]++;
    if (found.kind == FLOAT_FMA) counted->float_macs += found.macs;
    else counted->int_macs += found.macs;
    if (found.kind == LOAD || found.kind == LOAD_SIMD) counted->load_bytes += found.bytes;
    else counted->store_bytes += found.bytes;
}

/* The same code may be translated again, other code to the same address: words decide. */
static struct counted *find(uint64_t address, size_t length, const uint32_t *words) {
    struct counted **bucket = &buckets[(address >> 2) % BUCKETS];
    for (struct counted *c = *bucket; c; c = c->next)
        if (c->address == address && c->length == length &&
            !memcmp(c->words, words, length * sizeof *words))
            return c;
    struct counted *made = calloc(1, sizeof *made + length * sizeof *words);
    if (!made) abort();
    made->address = address;
    made->length = length;
    memcpy(made->words, words, length * sizeof *words);
    for (size_t i = 0; i < length; i++) add_instruction(made, words[i]);
    made->next = *bucket;
    *bucket = made;
    made->older = newest;
    newest = made;
    return made;
}

#if QEMU_API >= 2
static void count(unsigned cpu, void *counted) {
    (void)cpu;
    ((struct counted *)counted)->executions++;
}
#endif

static void translated(plugin_id id, Block *block) {
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(block);
    uint32_t *words = malloc((length + 1) * sizeof *words);
    if (!words) abort();
    for (size_t i = 0; i < length; i++) words[i] = word_of(block, i);
    struct counted *counted = find(qemu_plugin_tb_vaddr(block), length, words);
    free(words);
#if QEMU_API >= 2
    qemu_plugin_register_vcpu_tb_exec_cb(block, count, 0 /* reads no registers */, counted);
#else
    qemu_plugin_register_vcpu_tb_exec_inline(block, 0 /* add */, &counted->executions, 1);
#endif
}

static void write_line(const char *at) {
    flockfile(lines); /* any of the guest's threads may read the clock: lines stay whole, in order */
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t kinds[KINDS] = {0}, total = 0, ints = 0, floats = 0, loaded = 0, stored = 0;
    for (struct counted *c = newest; c; c = c->older) {
        uint64_t times = c->executions - c->at_line;
        if (!times) continue;
        c->at_line = c->executions;
        total += times * c->length;
        ints += times * c->int_macs;
        floats += times * c->float_macs;
        loaded += times * c->load_bytes;
        stored += times * c->store_bytes;
        for (int k = 0; k < KINDS; k++) kinds[k] += times * c->kinds[k];
    }
    fprintf(lines, "{\"at\": \"%s\", \"ns\": %" PRIu64, at,
            now.tv_sec * UINT64_C(1000000000) + now.tv_nsec);
    fprintf(lines, ", \"instructions\": %" PRIu64, total);
    for (int k = 0; k < KINDS; k++)
        fprintf(lines, ", \"%s\": %" PRIu64, KIND_NAMES[k], kinds[k]);
    fprintf(lines, ", \"int_macs\": %" PRIu64 ", \"float_macs\": %" PRIu64, ints, floats);
    fprintf(lines, ", \"load_bytes\": %" PRIu64 ", \"store_bytes\": %" PRIu64 "}\n", loaded, stored);
    fflush(lines);
    funlockfile(lines);
}

static void write_blocks(void) {
    FILE *file = fopen(blocks_path, "w");
    if (!file) return; /* the reader will say that it is missing */
    for (struct counted *c = newest; c; c = c->older) {
        uint64_t times = c->executions - c->at_begin;
        if (!times) continue;
        fprintf(file, "%" PRIu64, times);
        for (size_t i = 0; i < c->length; i++) fprintf(file, " %08" PRIx32, c->words[i]);
        fputc('\n', file);
    }
    fclose(file);
}

static void marked(uint64_t code) {
    if (code == BEGIN || code == BEGIN_WATCHED) {
        write_line("begin");
        for (struct counted *c = newest; c; c = c->older) c->at_begin = c->executions;
        watched = code == BEGIN_WATCHED;
    } else if (code == END) {
        write_line("end");
        watched = false;
        if (blocks_path && !blocks_written) write_blocks();
        blocks_written = true;
    }
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t first, uint64_t b,
                   uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == GETPGID && (first & ~(uint64_t)0xff) == MARK) marked(first & 0xff);
    else if (number == CLOCK_GETTIME && watched) write_line("clock");
}

EXPORT int qemu_plugin_version = QEMU_API;

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **options) {
    (void)info;
    for (int i = 0; i < count; i++) {
        if (!strncmp(options[i], "out=", 4)) lines = fopen(options[i] + 4, "w");
        else if (!strncmp(options[i], "blocks=", 7)) blocks_path = strdup(options[i] + 7);
        else return 1;
    }
    if (!lines) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
