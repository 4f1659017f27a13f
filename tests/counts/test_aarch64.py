"""What the plugin takes an instruction for, against what an assembler made of its text."""

import subprocess
from pathlib import Path

import pytest

from edgecompile import counts
from edgecompile.counts.build_plugin import compiler_of
from edgecompile.errors import EmulationError

HEADER = Path(counts.__file__).parent / "aarch64.h"
PROGRAM = f"""\
#include "{HEADER}"
#include <stdio.h>
int main(void) {{
    unsigned word;
    while (scanf("%x", &word) == 1) {{
        struct decoded found = decode(word);
        printf("%s %u %u\\n", KIND_NAMES[found.kind], found.macs, found.bytes);
    }}
}}
"""
# The words are llvm-mc 19's, of these texts.
KNOWN = """
4e829420 dot 16 0 | sdot v0.4s, v1.16b, v2.16b
0e829420 dot 8 0 | sdot v0.2s, v1.8b, v2.8b
6fa5e083 dot 16 0 | udot v3.4s, v4.16b, v5.4b[1]
4e829c20 dot 16 0 | usdot v0.4s, v1.16b, v2.16b
4f22f820 dot 16 0 | sudot v0.4s, v1.16b, v2.4b[3]
4e82a420 mmla 32 0 | smmla v0.4s, v1.16b, v2.16b
4e82ac20 mmla 32 0 | usmmla v0.4s, v1.16b, v2.16b
0e22c020 int_mac 8 0 | smull v0.8h, v1.8b, v2.8b
4e22c020 int_mac 8 0 | smull2 v0.8h, v1.16b, v2.16b
0e628020 int_mac 4 0 | smlal v0.4s, v1.4h, v2.4h
4f722020 int_mac 4 0 | smlal2 v0.4s, v1.8h, v2.h[3]
2ea2a020 int_mac 2 0 | umlsl v0.2d, v1.2s, v2.2s
4e629420 int_mac 8 0 | mla v0.8h, v1.8h, v2.8h
6fa24020 int_mac 4 0 | mls v0.4s, v1.4s, v2.s[1]
4ea29c20 simd_other 0 0 | mul v0.4s, v1.4s, v2.4s
4ea2b420 simd_other 0 0 | sqdmulh v0.4s, v1.4s, v2.4s
0e629020 simd_other 0 0 | sqdmlal v0.4s, v1.4h, v2.4h
0e22e020 simd_other 0 0 | pmull v0.8h, v1.8b, v2.8b
4e606820 pairwise_add 0 0 | sadalp v0.4s, v1.8h
6ea06820 pairwise_add 0 0 | uadalp v0.2d, v1.4s
4e22cc20 float_fma 4 0 | fmla v0.4s, v1.4s, v2.4s
0e22cc20 float_fma 2 0 | fmla v0.2s, v1.2s, v2.2s
4ee2cc20 float_fma 2 0 | fmls v0.2d, v1.2d, v2.2d
4f821820 float_fma 4 0 | fmla v0.4s, v1.4s, v2.s[2]
4e420c20 float_fma 8 0 | fmla v0.8h, v1.8h, v2.8h
4f321820 float_fma 8 0 | fmla v0.8h, v1.8h, v2.h[7]
5fa21020 float_fma 1 0 | fmla s0, s1, v2.s[1]
1f020c20 float_fma 1 0 | fmadd s0, s1, s2, s3
6e42fc20 float_fma 8 0 | bfdot v0.4s, v1.8h, v2.8h
6e42ec20 float_fma 16 0 | bfmmla v0.4s, v1.8h, v2.8h
6e22dc20 simd_other 0 0 | fmul v0.4s, v1.4s, v2.4s
3dc00000 load_simd 0 16 | ldr q0, [x0]
bd400400 load_simd 0 4 | ldr s0, [x0, #4]
3cdf0023 load_simd 0 16 | ldur q3, [x1, #-16]
acc10400 load_simd 0 32 | ldp q0, q1, [x0], #32
3ca26820 store_simd 0 16 | str q0, [x1, x2]
ad000400 store_simd 0 32 | stp q0, q1, [x0]
4cdf2000 load_simd 0 64 | ld1 {v0.16b-v3.16b}, [x0], #64
0c400000 load_simd 0 32 | ld4 {v0.8b-v3.8b}, [x0]
0d009000 store_simd 0 4 | st1 {v0.s}[1], [x0]
4d40c800 load_simd 0 4 | ld1r {v0.4s}, [x0]
0d608400 load_simd 0 16 | ld2 {v0.d, v1.d}[0], [x0]
b9400020 load 0 4 | ldr w0, [x1]
39400020 load 0 1 | ldrb w0, [x1]
b9800020 load 0 4 | ldrsw x0, [x1]
78e26820 load 0 2 | ldrsh w0, [x1, x2]
a8c107e0 load 0 16 | ldp x0, x1, [sp], #16
69400440 load 0 8 | ldpsw x0, x1, [x2]
a9bf7bfd store 0 16 | stp x29, x30, [sp, #-16]!
781fe020 store 0 2 | sturh w0, [x1, #-2]
58000040 load 0 8 | ldr x0, #8
9c000080 load_simd 0 16 | ldr q0, #16
f9800000 other 0 0 | prfm pldl1keep, [x0]
f8200041 load 0 8 | ldadd x0, x1, [x2]
885ffc20 load 0 4 | ldaxr w0, [x1]
8802fc20 store 0 4 | stlxr w2, w0, [x1]
b4000040 branch 0 0 | cbz x0, #8
d65f03c0 branch 0 0 | ret
d4000001 other 0 0 | svc #0
d503201f other 0 0 | nop
91000420 integer 0 0 | add x0, x1, #1
9b220c20 integer 0 0 | smaddl x0, w1, w2, x3
04a0e3e0 sve 0 0 | cntw x0
"""


def test_each_instruction_is_what_the_manual_says(tmp_path: Path) -> None:
    """Class, multiply-accumulates and bytes of a word are those of its text."""
    try:
        compiler = compiler_of()
    except EmulationError as error:
        pytest.skip(str(error))
    source, program = tmp_path / "decode.c", tmp_path / "decode"
    source.write_text(PROGRAM)
    subprocess.run([*compiler, source, "-o", program], check=True)
    rows = [line.split(" | ") for line in KNOWN.strip().splitlines()]
    words, wanted = zip(*(row[0].split(" ", 1) for row in rows), strict=True)
    told = subprocess.run(
        [program], input="\n".join(words), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert dict(zip((row[1] for row in rows), told, strict=True)) == dict(
        zip((row[1] for row in rows), wanted, strict=True)
    )
