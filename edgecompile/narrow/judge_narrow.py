"""Say what a narrower model loses of what the dense one answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgecompile.evaluate.accuracy import signal
from edgecompile.prune.group import Group
from edgecompile.prune.narrow_arrays import narrow_answers, narrow_arrays
from edgecompile.session import answer, session
from edgecompile.stages import lower_float

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx_ir as ir

    from edgecompile.data.feed import Feed

Keep = Mapping[str, Sequence[int]]
"""The units that groups keep, by their names."""
Judge = Callable[["ir.Model", Keep], float]


def judge_narrow(dense: "ir.Model", groups: Sequence[Group], feeds: "Iterable[Feed]") -> Judge:
    """Return what says how much of the output a narrower model loses (1 - R^2, worst output)."""
    samples = list(feeds)
    truths = answer(session(lower_float(dense)), samples)
    names = [str(value.name) for value in dense.graph.outputs]

    def judge(model: "ir.Model", keep: Keep) -> float:
        fed = [narrow_arrays(groups, keep, feed) for feed in samples]
        wanted = [narrow_answers(groups, keep, names, truth) for truth in truths]
        given = answer(session(lower_float(model)), fed)
        return 1 - signal(given, wanted, fed)

    return judge
