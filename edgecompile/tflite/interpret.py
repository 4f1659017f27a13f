"""How a .tflite file of ours is run: a feed goes to the signature of the shortest length it fits.

A decoder's cache has a fixed number of places. What is cached lies in the first, the new tokens
behind the last; the mask is 0 between.

Needs numpy and an interpreter, and nothing of edgecompile: bundles carry this file for smoke.py,
and as a program it is run by the Python of another environment.

    python -I -S interpret.py WHEELS RUNTIME ARTIFACT THREADS

answers feeds with the RUNTIME that lies in WHEELS. Each line of its standard input names an .npz of
inputs and one for the outputs; each line that it writes is empty, or says in JSON what is wrong.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    Array = np.ndarray[Any, Any]
    Feed = Mapping[str, Array]

MASK, PAST, PRESENT = "attention_mask", "past_key_values", "present"


class FeedError(ValueError):
    """A feed that no signature of the artifact takes."""


def open_artifact(
    runtime: Any, artifact: Path, threads: int
) -> "Callable[[Feed], dict[str, Array]]":
    """Return a function feed -> outputs by name; `runtime` is the module with an Interpreter."""
    with silent():
        opened = runtime.Interpreter(model_path=str(artifact), num_threads=threads)
        opened.allocate_tensors()  # now it makes the delegate
        calls = {key: opened.get_signature_runner(key) for key in opened.get_signature_list()}
    names = [str(detail["name"]) for detail in opened.get_output_details()]
    inputs = {key: call.get_input_details() for key, call in calls.items()}
    outputs = {key: call.get_output_details() for key, call in calls.items()}
    lengths = {length_of(details): key for key, details in inputs.items()}

    def run(feed: "Feed") -> "dict[str, Array]":
        key, length = _choose(feed, lengths, inputs)
        gap = _gap(feed, inputs[key])
        answers = calls[key](**{n: _pad(n, feed[n], d, gap) for n, d in inputs[key].items()})
        return {n: _cut(n, answers[n], outputs[key][n], length, gap) for n in names}

    return run


@contextmanager
def silent() -> "Iterator[None]":
    """Keep a runtime from writing to standard error that it made a delegate; errors are raised."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def length_of(details: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the text length that a signature takes; 0 where its inputs leave no axis open."""
    for name in _of_tokens(details):
        shape, open_shape = details[name]["shape"], details[name]["shape_signature"]
        for size, wanted in zip(shape, open_shape, strict=True):
            if wanted == -1:
                return int(size)
    return 0


def _of_tokens(details: Mapping[str, Any]) -> list[str]:
    """Return the inputs whose open axis is the tokens': all but a cache, and its mask."""
    cached = any(name.startswith(PAST) for name in details)
    return [n for n in details if not (cached and (n == MASK or n.startswith(PAST)))]


def _gap(feed: "Feed", details: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """Return how many places of a cache are taken, and how many there are; 0, 0 without one."""
    name = next((name for name in details if name.startswith(PAST)), None)
    if name is None:
        return 0, 0
    taken, places = feed[name].shape[2], int(details[name]["shape"][2])
    if taken > places:
        msg = f"a cache of {taken} tokens: the artifact's has {places} places"
        raise FeedError(msg)
    return taken, places


def _choose(
    feed: "Feed", lengths: Mapping[int, str], inputs: Mapping[str, Mapping[str, Any]]
) -> tuple[str, int]:
    """Return the signature of the shortest length that holds a feed, and the feed's own length."""
    if list(lengths) == [0]:
        return lengths[0], 0
    details = next(iter(inputs.values()))
    given = max(
        size
        for name in _of_tokens(details)
        for size, wanted in zip(feed[name].shape, details[name]["shape_signature"], strict=True)
        if wanted == -1
    )
    room = [length for length in sorted(lengths) if length >= given]
    if not room:
        msg = f"a text of {given} tokens: the artifact's longest length is {max(lengths)}"
        raise FeedError(msg)
    if room[0] != given and MASK not in feed:
        msg = (
            f"a text of {given} tokens cannot be padded to {room[0]}: the model has no"
            f" {MASK}; say [shapes] buckets = [{given}]"
        )
        raise FeedError(msg)
    return lengths[room[0]], given


def _pad(name: str, array: "Array", detail: Mapping[str, Any], gap: tuple[int, int]) -> "Array":
    """Return an input in the shape and type of the artifact, zeros behind."""
    import numpy as np

    if array.shape[:1] != tuple(detail["shape"][:1]):
        msg = f"input '{name}' holds {array.shape[0]} samples: the artifact takes one at a time"
        raise FeedError(msg)
    taken, places = gap
    if name == MASK and taken < places:
        array = np.insert(array, [taken] * (places - taken), 0, axis=1)
    ends = [(0, int(size) - n) for size, n in zip(detail["shape"], array.shape, strict=True)]
    return np.pad(array, ends).astype(detail["dtype"])


def _cut(
    name: str, array: "Array", detail: Mapping[str, Any], length: int, gap: tuple[int, int]
) -> "Array":
    """Return an output without what padding gave."""
    import numpy as np

    taken, places = gap
    if places and name.startswith(PRESENT):
        return np.concatenate([array[:, :, :taken], array[:, :, places : places + length]], axis=2)
    kept = [slice(length if wanted == -1 else None) for wanted in detail["shape_signature"]]
    return array[tuple(kept)].copy()


def main(wheels: str, runtime: str, artifact: str, threads: str) -> None:
    """Answer feeds until standard input ends."""
    sys.path.insert(0, wheels)
    import numpy as np

    answer = sys.stdout
    with redirect_stdout(sys.stderr):  # the runtime's own words are no answers
        module = importlib.import_module(f"{runtime}.interpreter")
        run = None
        for line in sys.stdin:
            asked, answered = json.loads(line)
            trouble: dict[str, str] = {}
            try:
                run = run or open_artifact(module, Path(artifact), int(threads))
                with np.load(asked, allow_pickle=False) as feed:
                    given = run({name: feed[name] for name in feed.files})
                np.savez(answered, *given.values())
            except FeedError as error:
                trouble = {"feed": str(error)}
            except Exception as error:
                trouble = {"runtime": str(error)}
            print(json.dumps(trouble), file=answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
