"""What Rockchip's log says is believed, not its exit status; the lines are of real compilations."""

from pathlib import Path

import pytest

from edgecompile.rockchip.finish_bundle import describe
from edgecompile.rockchip.read_log import Operator, products, read_log

HERE = Path(__file__).parent
UNKNOWN = "E RKNN: [04:32:18.086] Unkown op target: 0"


def log(name: str) -> str:
    """Return extracts of the log of MiniLM's compilation for a chip, rknn-toolkit2 2.5.0."""
    return (HERE / f"{name}.log").read_text(encoding="utf-8")


def test_a_clean_log_has_all_operators_on_the_npu() -> None:
    """Where tensors come in and go out is no operator; colours and times are left out."""
    report = read_log(log("rk3588"))
    assert not report.faults
    assert not report.explained
    assert not report.on_cpu
    assert report.operators[2] == Operator(
        "Conv", "INT8", "NPU", "(1,384,1,128),(384,384,1,1),(384)", "(1,384,1,128)",
        "encoder.layer.0.attention.self.query#2",
    )  # fmt: skip
    assert report.internal_bytes == round(1584.25 * 1024)
    assert report.weight_bytes == round(10596.8 * 1024)
    assert describe(report)["share"] == {"ops": 1.0, "macs": 1.0}


def test_operators_on_the_cpu_explain_the_line_that_says_so() -> None:
    """The RK3566's NPU has no softmax: each such operator is named, and the share is below 1."""
    report = read_log(log("rk3566"))
    assert not report.faults
    assert report.explained == ("Unkown op target: 0",)
    assert [operator.kind for operator in report.on_cpu] == ["Reshape", "exSoftmax13"]
    found = describe(report)
    assert found["share"]["macs"] == 1
    assert found["share"]["ops"] == 1 - 2 / len(report.operators)
    assert "encoder.layer.0.attention.softmax" in found["on_cpu"][1]["why"]


def test_the_same_line_without_such_an_operator_is_a_fault() -> None:
    """Nothing explains it."""
    for line in (UNKNOWN, f"Warning: {UNKNOWN}"):
        report = read_log(f"{line}\n{log('rk3588')}")
        assert report.faults == ("Unkown op target: 0",)
        assert not report.explained


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[31mE\x1b[0m \x1b[31mbuild: Catch exception when building RKNN model!\x1b[0m",
        "E RKNN: [11:22:33.444] dataconvert type -1 is unsupport in current!",
        "W RKNN: [11:22:33.444] Meet RKNN unsupport Operator: name = 'a', type = Shrink",
        "D RKNN: [11:22:33.444] DepthToSpace: Shape not supported yet, fallback CPU",
    ],
)
def test_other_bad_lines_are_never_explained(line: str) -> None:
    """Even where operators run on the CPU."""
    assert len(read_log(f"{line}\n{log('rk3566')}").faults) == 1


def test_half_a_table_is_none() -> None:
    """A log that was cut off says nothing of where operators run."""
    kept = [line for line in log("rk3588").splitlines() if "OutputOperator" not in line]
    assert read_log("\n".join(kept)).operators == ()


def test_a_second_compilation_in_one_log_counts_once() -> None:
    """Both are the same file's."""
    assert read_log(log("rk3588") * 2).operators == read_log(log("rk3588")).operators


def test_products_are_counted_from_shapes() -> None:
    """Of a Linear tokens x in x out, of attention twice tokens^2 x width: MiniLM's first layer."""
    once = read_log(log("rk3588")).operators
    kinds = {operator.kind: operator for operator in once}
    assert products(once[2]) == 128 * 384 * 384
    assert products(kinds["exSDPAttention"]) == 2 * 128 * 128 * 384
    apart = [o for o in read_log(log("rk3566")).operators if o.kind == "exMatMul"]
    assert sum(map(products, apart)) == 2 * 128 * 128 * 384
    assert products(kinds["exNorm"]) == 0
