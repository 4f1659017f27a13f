"""When an artifact is judged without VNNI, and how that counts."""

from dataclasses import replace

import numpy as np
import pytest

from edgecompile import target
from edgecompile.evaluate.accuracy import Accuracy
from edgecompile.evaluate.emulated import Emulated, table, worse
from edgecompile.evaluate.without_vnni import how_many, why_not
from edgecompile.host import Host

WITH = Host("a PC", "x86_64", frozenset({"avx2", "avx512_vnni", "vnni"}), 4, "performance")
WITHOUT = replace(WITH, features=frozenset({"avx2"}))
QEMU = "/usr/bin/qemu-x86_64"
HERE = Accuracy("cosine", 0.998, 0.996, 64, 0.99)
SAME = replace(HERE, mean=0.997, min=0.9965, samples=8, signal=0.98)


@pytest.mark.parametrize("name", ["x86-64", "x86-64:openvino"])
def test_a_host_with_vnni_emulates_a_target_without(name: str) -> None:
    """It has nothing else to see AVX2's kernels with."""
    assert why_not(WITH, target.load(name), QEMU) is None


def test_openvino_needs_no_emulator() -> None:
    """It is told to do without VNNI, and is fast: all samples are run."""
    assert why_not(WITH, target.load("x86-64:openvino"), None) is None
    golden: list[dict[str, np.ndarray]] = [{}] * 64
    assert how_many(target.load("x86-64:openvino"), golden) == 64
    assert how_many(target.load("x86-64"), golden) == 8
    assert how_many(target.load("x86-64"), golden[:3]) == 3


@pytest.mark.parametrize(
    ("host", "name", "qemu", "reason"),
    [
        (WITHOUT, "x86-64", QEMU, "no VNNI itself: what was measured is that case"),
        (WITHOUT, "x86-64", None, "no VNNI itself: what was measured is that case"),
        (WITH, "x86-64", None, "no qemu-x86_64 to hide it: apt install qemu-user"),
        (WITH, "x86-64-vnni", QEMU, "every x86-64-vnni has VNNI"),
        (WITHOUT, "x86-64-vnni", QEMU, "every x86-64-vnni has VNNI"),
        (WITH, "raspberry-pi-5", QEMU, "raspberry-pi-5 is aarch64: VNNI is x86's"),
        (replace(WITH, isa="aarch64"), "x86-64", QEMU, "this host is aarch64, which cannot"),
        (replace(WITH, features=frozenset()), "x86-64", QEMU, "does not say whether it has VNNI"),
    ],
)
def test_all_others_have_a_reason(host: Host, name: str, qemu: str | None, reason: str) -> None:
    """The manifest keeps it in place of a number."""
    found = why_not(host, target.load(name), qemu)
    assert found is not None
    assert reason in found


def test_what_the_same_samples_lose_is_taken_off() -> None:
    """The choice of the few samples that are emulated counts neither for nor against."""
    hurt = Emulated(replace(SAME, mean=0.990, min=0.95, signal=0.90), SAME, "qemu")
    found = worse(HERE, hurt)
    np.testing.assert_allclose(
        (found.mean, found.min, found.signal), (0.998 - 0.007, 0.95, 0.99 - 0.08)
    )
    assert (found.metric, found.samples) == ("cosine", 64)


def test_no_loss_changes_nothing() -> None:
    """Nor does a gain: the worse of the two counts."""
    better = replace(SAME, mean=0.9999, min=0.9999, signal=0.9999)
    assert worse(HERE, Emulated(SAME, SAME, "qemu")) == HERE
    assert worse(HERE, Emulated(better, SAME, "qemu")) == HERE
    assert worse(HERE, "not emulated") == HERE


def test_all_samples_give_the_worse_of_the_two() -> None:
    """Where as many are emulated as measured, the emulated score is what counts."""
    hurt = replace(HERE, mean=0.96, min=0.9, signal=0.8)
    found = worse(HERE, Emulated(hurt, HERE, "qemu"))
    np.testing.assert_allclose((found.mean, found.min, found.signal), (0.96, 0.9, 0.8))


def test_manifest_says_how_or_why_not() -> None:
    """An emulated number is labelled so, with what this host gave for the same samples."""
    row = table(Emulated(replace(SAME, mean=0.99), SAME, "qemu-x86_64 7.2.22"))
    assert (row["mean"], row["samples"], row["kind"]) == (0.99, 8, "emulated")
    assert row["here"] == {"mean": 0.997, "min": 0.9965, "signal": 0.98}
    assert row["how"] == "qemu-x86_64 7.2.22"
    assert table("no Linear is int8") == {"skipped": "no Linear is int8"}
