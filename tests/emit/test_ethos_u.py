"""Ethos-U: the encoder in integers alone, compiled by the real Vela, judged by its artifact."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import pipeline
from edgecompile.emit import ethos_u as engine
from edgecompile.engines import profiles
from edgecompile.errors import DataError, ToolchainError, UnsupportedError
from edgecompile.plan import Plan
from edgecompile.recipe import GateTable, ProfileTable, QuantizeTable, Recipe, ShapesTable
from edgecompile.target import Target, load
from edgecompile.vela.compile_encoder import compile_encoder

if find_spec("ai_edge_litert") is None:
    pytest.skip("ai-edge-litert is not installed", allow_module_level=True)

TARGET = "ethos-u55-128"
BOARD = load(TARGET)
LOOSE = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.5), shapes=ShapesTable((1, 16)))
DRIVER = """
#include "encoder_16.h"
#include <stdio.h>
static uint8_t arena[ENCODER_16_ARENA_BYTES] __attribute__((aligned(16)));
int ethosu_invoke_v3(struct ethosu_driver *d, const void *stream, const int bytes,
                     uint64_t *const bases, const size_t *sizes, const int count, void *user)
{
    (void)d; (void)user;
    const char *magic = stream;
    printf("%.4s %d %d %d\\n", magic, bytes % 4, (int)((uintptr_t)stream % 16),
           (int)(bases[0] % 16));
    return !(sizes[1] == ENCODER_16_ARENA_BYTES && bases[1] == (uint64_t)(uintptr_t)arena
             && bases[3] == bases[1] + ENCODER_16_INPUT_0_OFFSET && count == 6);
}
int main(void)
{
    const float mask = ENCODER_16_INPUT_1_SCALE, x = ENCODER_16_INPUT_0_SCALE;
    return mask != 1 || x <= 0 || encoder_16_invoke(0, arena, arena, sizeof arena);
}
"""
"""Firmware without an interpreter; the driver checks what it is handed."""


def build(model: Path, output: Path, profile: str, target: str = TARGET) -> pipeline.Bundle:
    """Build for an Ethos-U."""
    wishes = dataclasses.replace(LOOSE, quantize=QuantizeTable(profile=profile))
    (bundle,) = pipeline.build(model, [target], output, wishes, pipeline.Trace())
    return bundle


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["fast", "accurate"])
@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
def test_all_of_the_encoder_runs_on_the_npu(
    profile: str, target: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The real build: nothing is left to the CPU, Vela's figures are in the profile."""
    bundle = build(checkpoint(sentence_transformers=True), tmp_path / "dist", profile, target)
    compiled = bundle.manifest["compiled"]
    assert compiled["profile"] == profile
    assert compiled["encoders"]["encoder_16.tflite"]["on_cpu"] == []
    rows = {row["name"]: row for row in bundle.profile["numbers"] if row["kind"]}
    assert rows["npu_share_ops"]["value"] == rows["npu_share_macs"]["value"] == 1
    assert rows["cycles"]["value"] > 0
    assert rows["sram_bytes"]["value"] > 0
    assert rows["cycles"]["how"] == "ethos-u-vela 5.2.0"
    assert rows["cycles"]["kind"] == "modelled"
    assert bundle.manifest["accuracy"]["mean"] > 0.98
    assert bundle.manifest["toolchain"]["package"] == "ethos-u-vela 5.2.0"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
def test_a_bundle_tests_itself_and_goes_into_firmware(
    target: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """smoke.py runs the three parts as one; the C sources build, link and call the driver."""
    folder = build(checkpoint(sentence_transformers=True), tmp_path / "dist", "fast", target).folder
    done = subprocess.run(
        [sys.executable, folder / "smoke.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured" in done.stdout
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    (folder / "main.c").write_text(DRIVER, encoding="utf-8")
    command = [compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "main.c", "encoder_16.c"]
    subprocess.run([*command, "-o", "main"], cwd=folder, check=True)
    run = subprocess.run([folder / "main"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "COP1 0 0 0\n")
    if cross := shutil.which("arm-none-eabi-gcc"):
        cortex = [cross, "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", *command[1:]]
        subprocess.run([*cortex, "-c"], cwd=folder, check=True)


@pytest.mark.slow
def test_what_vela_cannot_take_is_one_line(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Vela's tracebacks, and its success without a single NPU operator, become one line each."""
    folder = build(checkpoint(), tmp_path / "dist", "fast").folder

    def refused(kind: type[Exception], name: str, board: Target) -> str:
        with pytest.raises(kind) as caught:
            compile_encoder(folder / name, board, tmp_path, lambda *_: None)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    other = tuple(option.replace("Shared_Sram", "Dedicated_Sram") for option in BOARD.chip)
    wrong = dataclasses.replace(BOARD, chip=other)
    assert "arena_mem_area" in refused(ToolchainError, "encoder_16.tflite", wrong)
    assert "none of the" in refused(UnsupportedError, "pool.tflite", BOARD)
    (folder / "garbage.tflite").write_bytes(b"\x20\0\0\0TFL3" + b"\xff" * 64)
    refused(Exception, "garbage.tflite", BOARD)


def test_an_operator_without_a_form_is_named(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model]
) -> None:
    """Linears behind it would run on the CPU: no build."""
    w = np.eye(8, dtype=np.float32)
    model = graph(
        """(float[1,4,8] x) => (float[1,4,8] y) {
        a = MatMul(x, v)
        erf = Erf(a)
        y = MatMul(erf, w) }""",
        v=w,
        w=w,
    )
    with pytest.raises(UnsupportedError, match=r"\(Erf\) has no form on Ethos-U, and 1 of 2"):
        rewrite("lower/ethos_u", model, plan=Plan(), target=BOARD)


def test_a_profile_below_the_gate_gives_way_to_a_more_accurate_one() -> None:
    """The one that the recipe wishes comes first."""
    fast = dataclasses.replace(BOARD, profile="fast")
    assert [board.profile for board in profiles(fast)] == ["fast", "accurate"]
    assert [board.profile for board in profiles(BOARD)] == ["accurate"]


def feed_of(length: int) -> dict[str, Any]:
    """Return a text of random tokens."""
    ids = np.random.default_rng(0).integers(5, 100, (1, length))
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }


@pytest.mark.slow
def test_texts_are_padded_and_masked(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Padding changes nothing; a text longer than the artifact is refused."""
    bundle = build(checkpoint(sentence_transformers=True), tmp_path / "dist", "accurate")
    run = engine.runner(bundle.folder / bundle.manifest["artifact"])
    short = feed_of(6)
    longer = {name: np.pad(array, [(0, 0), (0, 5)]) for name, array in short.items()}
    np.testing.assert_array_equal(run(short)[0], run(longer)[0])
    with pytest.raises(DataError, match="longest length is 16"):
        run(feed_of(17))
