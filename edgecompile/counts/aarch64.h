/* What an A64 instruction is: its class, the multiply-accumulates it makes, the bytes it moves.

   Encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), chapter C4.1, "A64
   instruction set encoding"; each row below names the instruction and its section's fields. */
#ifndef EDGECOMPILE_AARCH64_H
#define EDGECOMPILE_AARCH64_H

#include <stdint.h>

enum kind {
    DOT,          /* SDOT, UDOT, USDOT, SUDOT: four int8 products summed in each 32-bit lane */
    MMLA,         /* SMMLA, UMMLA, USMMLA: 2x8 by 8x2 int8 */
    INT_MAC,      /* SMULL, SMLAL, SMLSL, MLA, MLS and their unsigned forms */
    PAIRWISE_ADD, /* SADALP, UADALP: what widens sums where there is no DOT */
    FLOAT_FMA,    /* FMLA, FMLS, FMADD and kin, BFDOT, BFMMLA */
    SIMD_OTHER,   /* any other vector or floating-point instruction */
    SVE,          /* the scalable vector extension: its lanes are not counted */
    LOAD_SIMD, STORE_SIMD, LOAD, STORE,
    BRANCH, INTEGER,
    OTHER,        /* hints, barriers, system registers, prefetches */
    KINDS
};

static const char *const KIND_NAMES[KINDS] = {
    "dot", "mmla", "int_mac", "pairwise_add", "float_fma", "simd_other", "sve", "load_simd",
    "store_simd", "load", "store", "branch", "integer", "other",
};

struct decoded {
    enum kind kind;
    uint32_t macs;  /* multiply-accumulates of one execution */
    uint32_t bytes; /* loaded or stored by one execution */
};

/* How many products an instruction makes, from its fields Q (bit 30), size (23:22), sz (22). */
enum lanes {
    NONE,
    PRODUCTS_4,   /* four in each 32-bit lane: 16 of 128 bits, 8 of 64 */
    PRODUCTS_2,   /* two in each 32-bit lane (bfloat16) */
    WIDENING,     /* 64 bits of sources, whichever half: 8 bytes, 4 halves or 2 words */
    SAME_WIDTH,   /* one a lane of size */
    FLOAT,        /* one a lane of 32 bits, or of 64 where sz is set */
    HALF,         /* one a lane of 16 bits */
    EXACTLY_1, EXACTLY_16, EXACTLY_32
};

struct row {
    uint32_t mask, value;
    enum kind kind;
    enum lanes lanes;
};

static const struct row SIMD_ROWS[] = {
    /* Advanced SIMD three same (extra): 0 Q U 01110 size 0 Rm 1 opcode 1 Rn Rd */
    {0x9fe0fc00, 0x0e809400, DOT, PRODUCTS_4},        /* SDOT, UDOT (vector) */
    {0xbfe0fc00, 0x0e809c00, DOT, PRODUCTS_4},        /* USDOT (vector) */
    {0xdfe0fc00, 0x4e80a400, MMLA, EXACTLY_32},       /* SMMLA, UMMLA */
    {0xffe0fc00, 0x4e80ac00, MMLA, EXACTLY_32},       /* USMMLA */
    {0xbfe0fc00, 0x2e40fc00, FLOAT_FMA, PRODUCTS_2},  /* BFDOT (vector) */
    {0xffe0fc00, 0x6e40ec00, FLOAT_FMA, EXACTLY_16},  /* BFMMLA */
    /* Advanced SIMD vector x indexed element: 0 Q U 01111 size L M Rm opcode H 0 Rn Rd */
    {0x9fc0f400, 0x0f80e000, DOT, PRODUCTS_4},        /* SDOT, UDOT (by element) */
    {0xbf40f400, 0x0f00f000, DOT, PRODUCTS_4},        /* SUDOT, USDOT (by element) */
    {0xbfc0f400, 0x0f40f000, FLOAT_FMA, PRODUCTS_2},  /* BFDOT (by element) */
    {0x9f00b400, 0x0f002000, INT_MAC, WIDENING},      /* SMLAL, SMLSL, UMLAL, UMLSL (by element) */
    {0x9f00f400, 0x0f00a000, INT_MAC, WIDENING},      /* SMULL, UMULL (by element) */
    {0xbf00b400, 0x2f000000, INT_MAC, SAME_WIDTH},    /* MLA, MLS (by element) */
    {0xbf80b400, 0x0f801000, FLOAT_FMA, FLOAT},       /* FMLA, FMLS (by element) */
    {0xbfc0b400, 0x0f001000, FLOAT_FMA, HALF},        /* FMLA, FMLS (by element, half) */
    {0xff80b400, 0x5f801000, FLOAT_FMA, EXACTLY_1},   /* FMLA, FMLS (scalar by element) */
    {0xffc0b400, 0x5f001000, FLOAT_FMA, EXACTLY_1},   /* FMLA, FMLS (scalar by element, half) */
    /* Advanced SIMD three different: 0 Q U 01110 size 1 Rm opcode 00 Rn Rd */
    {0x9f20dc00, 0x0e208000, INT_MAC, WIDENING},      /* SMLAL, SMLSL, UMLAL, UMLSL */
    {0x9f20fc00, 0x0e20c000, INT_MAC, WIDENING},      /* SMULL, UMULL */
    /* Advanced SIMD three same: 0 Q U 01110 size 1 Rm opcode 1 Rn Rd */
    {0x9f20fc00, 0x0e209400, INT_MAC, SAME_WIDTH},    /* MLA, MLS */
    {0xbf20fc00, 0x0e20cc00, FLOAT_FMA, FLOAT},       /* FMLA, FMLS */
    {0xbf60fc00, 0x0e400c00, FLOAT_FMA, HALF},        /* FMLA, FMLS (half) */
    /* Advanced SIMD two-register miscellaneous: 0 Q U 01110 size 10000 opcode 10 Rn Rd */
    {0x9f3ffc00, 0x0e206800, PAIRWISE_ADD, NONE},     /* SADALP, UADALP */
    /* Floating-point data-processing (3 source): 00011111 type o1 Rm o0 Ra Rn Rd */
    {0xff000000, 0x1f000000, FLOAT_FMA, EXACTLY_1},   /* FMADD, FMSUB, FNMADD, FNMSUB */
};

static inline uint32_t field(uint32_t word, int low, int width) {
    return (word >> low) & ((1u << width) - 1);
}

static inline uint32_t products(uint32_t word, enum lanes lanes) {
    uint32_t bytes = field(word, 30, 1) ? 16 : 8, size = field(word, 22, 2);
    switch (lanes) {
    case PRODUCTS_4: return bytes;
    case PRODUCTS_2: return bytes / 2;
    case WIDENING: return 8u >> size;
    case SAME_WIDTH: return bytes >> size;
    case FLOAT: return bytes / (size & 1 ? 8 : 4);
    case HALF: return bytes / 2;
    case EXACTLY_1: return 1;
    case EXACTLY_16: return 16;
    case EXACTLY_32: return 32;
    default: return 0;
    }
}

static inline struct decoded decode_simd(uint32_t word) {
    for (unsigned i = 0; i < sizeof SIMD_ROWS / sizeof *SIMD_ROWS; i++) {
        const struct row *row = &SIMD_ROWS[i];
        if ((word & row->mask) == row->value)
            return (struct decoded){row->kind, products(word, row->lanes), 0};
    }
    return (struct decoded){SIMD_OTHER, 0, 0};
}

static inline struct decoded moved(int vector, int load, uint32_t bytes) {
    enum kind kind = vector ? (load ? LOAD_SIMD : STORE_SIMD) : (load ? LOAD : STORE);
    return (struct decoded){kind, 0, bytes};
}

/* LD1 to LD4, ST1 to ST4, whole registers: 0 Q 001100 post L 0 Rm opcode size Rn Rt */
static inline struct decoded decode_structures(uint32_t word) {
    static const uint8_t REGISTERS[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3, [7] = 1, [8] = 2, [10] = 2};
    uint32_t bytes = field(word, 30, 1) ? 16 : 8;
    return moved(1, field(word, 22, 1), REGISTERS[field(word, 12, 4)] * bytes);
}

/* LD1 to LD4, ST1 to ST4, one lane, and LD1R to LD4R: 0 Q 001101 post L R Rm opcode S size Rn Rt */
static inline struct decoded decode_one_structure(uint32_t word) {
    uint32_t opcode = field(word, 13, 3), size = field(word, 10, 2), scale = opcode >> 1;
    uint32_t registers = ((opcode & 1) << 1 | field(word, 21, 1)) + 1;
    if (scale == 3) scale = size;             /* replicated to all lanes */
    else if (scale == 2 && size & 1) scale = 3;
    return moved(1, field(word, 22, 1), registers << scale);
}

static inline struct decoded decode_memory(uint32_t word) {
    int vector = field(word, 26, 1);
    uint32_t size = field(word, 30, 2), opc = field(word, 22, 2);
    if ((word & 0xbf000000) == 0x0c000000) return decode_structures(word);
    if ((word & 0xbf000000) == 0x0d000000) return decode_one_structure(word);
    if ((word & 0x3b000000) == 0x18000000) {  /* LDR (literal): opc in bits 31:30 */
        if (vector) return moved(1, 1, 4u << size);
        return size == 3 ? (struct decoded){OTHER, 0, 0} : moved(0, 1, size == 1 ? 8 : 4);
    }
    if ((word & 0x3a000000) == 0x28000000)    /* LDP, STP, LDNP, STNP, LDPSW */
        return moved(vector, field(word, 22, 1), vector ? 8u << size : size & 2 ? 16 : 8);
    if ((word & 0x3f000000) == 0x08000000)    /* exclusive, acquire, release, compare and swap */
        return moved(0, field(word, 22, 1), 1u << size);
    if (vector)                               /* LDR, STR of one SIMD register */
        return moved(1, opc & 1, opc & 2 ? 16 : 1u << size);
    if ((word & 0x3b200c00) == 0x38200000)    /* LDADD, SWP and other atomics */
        return moved(0, 1, 1u << size);
    if ((word & 0x3b000000) == 0x38000000 || (word & 0x3b000000) == 0x39000000) {
        if (size == 3 && opc == 2) return (struct decoded){OTHER, 0, 0}; /* PRFM */
    }
    return moved(0, opc != 0, 1u << size);
}

/* Main encoding table: op0, bits 28:25. */
static inline struct decoded decode(uint32_t word) {
    uint32_t group = field(word, 25, 4);
    if (group == 2) return (struct decoded){SVE, 0, 0};
    if ((group & 7) == 7) return decode_simd(word);
    if ((group & 5) == 4) return decode_memory(word);
    if ((group & 7) == 5) return (struct decoded){INTEGER, 0, 0}; /* registers */
    if ((group & 14) == 8) return (struct decoded){INTEGER, 0, 0}; /* immediate */
    if ((group & 14) == 10 && (word & 0xfe000000) != 0xd4000000)
        return (struct decoded){BRANCH, 0, 0};
    return (struct decoded){OTHER, 0, 0};
}

#endif
