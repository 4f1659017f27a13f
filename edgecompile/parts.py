"""The parts of a model that are compiled apart, and how each one's inputs come about.

Most models are one graph that reads what data gives. A decoder also reads what the model computed
itself: its cache, the encoder's states. The exported float graphs make these here.

    tokens [1, S]        ->  even samples: all S tokens, an empty cache
                             odd samples:  the last token, the cache of the S - 1 before it
    the encoder's inputs ->  states -> tokens, one after the other, each the likeliest
                         ->  decoder: all tokens; decoder-with-past: the last one and a cache
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.data.signature import TOKENS
from edgecompile.errors import UnsupportedError

if TYPE_CHECKING:
    from edgecompile.data.dataset import Dataset
    from edgecompile.data.source import Stretch
    from edgecompile.graph import Array

Complete = Callable[[Feed, int], Feed]
"""What data gives, and the sample's number -> all inputs of the part."""
Run = Callable[[Mapping[str, "Array"]], dict[str, "Array"]]

ENCODER, DECODER, WITH_PAST = "encoder", "decoder", "decoder-with-past"
PAST = "past_key_values"
PRESENTS = ("present", "present_key_values")
STEPS = 16
"""Sample N is N modulo this many tokens longer than the shortest, which holds two."""


@dataclass(frozen=True, slots=True)
class Part:
    """A graph that gets a bundle of its own; a model that is one graph has one without a name.

    Data is read for the inputs `given` (None: all of them); `complete` makes the others. A part
    that `follows` the encoder is completed from the encoder's data.
    """

    name: str
    model: ir.Model
    given: Sequence[str] | None = None
    complete: Complete | None = None
    follows: bool = False

    def front(self, model: ir.Model) -> ir.Model:
        """Return the model as data sees it: with the given inputs alone, and an empty cache.

        So its mask is as long as its tokens.
        """
        if self.given is None:
            return model
        model = model.clone()
        inputs = {str(value.name): value for value in model.graph.inputs}
        for name, value in inputs.items():
            if name in self.given:
                value.shape = inputs["input_ids"].shape
            else:
                model.graph.inputs.remove(value)
        return model


def parts_of(graphs: Mapping[str, ir.Model], config: Mapping[str, Any]) -> list[Part]:
    """Return the parts in the order in which they are built: the encoder first."""
    if ENCODER not in graphs or DECODER not in graphs:
        return [_alone(name, graph) for name, graph in graphs.items()]
    start = _start_token(config)
    encode, decode, proceed = (_runner(graphs.get(n)) for n in (ENCODER, DECODER, WITH_PAST))
    chain = _Chain(encode, decode, proceed, start)
    completes = {DECODER: chain.whole, WITH_PAST: chain.step}
    followers = [
        Part(name, graphs[name], None, _typed(complete, graphs[name]), follows=True)
        for name, complete in completes.items()
        if name in graphs
    ]
    return [Part(ENCODER, graphs[ENCODER]), *followers]


def complete_data(data: "Dataset", complete: Complete) -> "Dataset":
    """Return a dataset whose samples have all inputs of a part."""

    def completed(stretch: "Stretch") -> "Stretch":
        source = stretch.source

        def feeds(start: int, stop: int) -> Iterator[Feed]:
            for number, feed in enumerate(source.feeds(start, stop), start):
                yield complete(feed, number)

        return replace(stretch, source=replace(source, feeds=feeds))

    golden = [complete(feed, number) for number, feed in enumerate(data.golden)]
    repair = None if data.repair is None else completed(data.repair)
    return replace(data, calibration=completed(data.calibration), golden=golden, repair=repair)


def proceeded_by(part: Part, model: ir.Model) -> Complete | None:
    """Return what completes a part's samples when its own model is another: its cache is its own.

    An encoder's decoders are completed by what the dense ones made.
    """
    return part.complete if part.given is None else _typed(_continued(model), model)


def has_cache(model: ir.Model) -> bool:
    """Say whether a graph reads keys and values of earlier tokens."""
    return any(str(value.name).startswith(PAST) for value in model.graph.inputs)


def _alone(name: str, graph: ir.Model) -> Part:
    names = [str(value.name) for value in graph.graph.inputs]
    if "input_ids" not in names or not (has_cache(graph) or "position_ids" in names):
        return Part(name, graph)
    given = [n for n in names if n in TOKENS]
    return Part(name, graph, given, _typed(_continued(graph), graph))


def _continued(graph: ir.Model) -> Complete:
    """Return what feeds a decoder that has no encoder: all tokens, or the last after a cache."""
    run = _runner(graph)
    empty = _empty_cache(graph)

    def feed_of(given: Feed, start: int, stop: int, past: Mapping[str, "Array"]) -> Feed:
        ids = given["input_ids"]
        tokens = {name: array[:, start:stop] for name, array in given.items()}
        mask = given.get("attention_mask", np.ones_like(ids))[:, :stop]
        positions = np.arange(start, stop)[None]
        return {**tokens, "attention_mask": mask, "position_ids": positions, **past}

    typed = _typed(lambda feed, _number: feed, graph)

    def complete(given: Feed, number: int) -> Feed:
        length = given["input_ids"].shape[1]
        kept = length - 1 if empty and number % 2 else 0
        past: Mapping[str, Array] = empty
        if kept:
            past = _updated(empty, run(typed(feed_of(given, 0, kept, empty), 0)))
        return feed_of(given, kept, length, past)

    return complete


@dataclass(frozen=True, slots=True)
class _Chain:
    """An encoder and its decoders, and the token that starts an answer."""

    encode: Run
    decode: Run
    proceed: Run
    start: int

    def whole(self, given: Feed, number: int) -> Feed:
        """Return the inputs of the decoder without a cache: the states and all tokens."""
        states = self._states(given)
        tokens, _ = self._generate(states, number % STEPS)
        return {**states, "input_ids": np.array([tokens])}

    def step(self, given: Feed, number: int) -> Feed:
        """Return the inputs of the decoder with a cache: the last token and the cache before it."""
        states = self._states(given)
        tokens, past = self._generate(states, number % STEPS)
        return {**states, **past, "input_ids": np.array([tokens[-1:]])}

    def _states(self, given: Feed) -> dict[str, "Array"]:
        (hidden, *_) = self.encode(given).values()
        mask = given.get("attention_mask", np.ones(hidden.shape[:2], np.int64))
        return {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}

    def _generate(
        self, states: Mapping[str, "Array"], count: int
    ) -> tuple[list[int], dict[str, "Array"]]:
        """Return the start and `count + 1` further tokens, and the cache without the last one."""
        tokens = [self.start]
        made = self.decode({**states, "input_ids": np.array([tokens])})
        past = _caches(made)
        for _ in range(count):
            tokens.append(_likeliest(made))
            made = self.proceed({**states, **past, "input_ids": np.array([tokens[-1:]])})
            past = _updated(past, made)
        return [*tokens, _likeliest(made)], past


def _likeliest(made: Mapping[str, "Array"]) -> int:
    if "logits" not in made:
        msg = (
            "the decoder gives no logits, so that it cannot answer; give a checkpoint of a class"
            " that generates, for example T5ForConditionalGeneration"
        )
        raise UnsupportedError(msg)
    return int(made["logits"][0, -1].argmax())


def _start_token(config: Mapping[str, Any]) -> int:
    keys = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    return next((config[key] for key in keys if type(config.get(key)) is int), 0)


def _runner(graph: ir.Model | None) -> Run:
    """Return a function that runs a graph on those of the arrays that it reads."""

    @cache
    def opened() -> Any:
        from edgecompile.session import session

        if graph is None:
            msg = "the decoder was exported without a graph that reads a cache; give its .onnx"
            raise UnsupportedError(msg)
        return session(graph)

    def run(arrays: Mapping[str, "Array"]) -> dict[str, "Array"]:
        names = [output.name for output in opened().get_outputs()]
        feed = {value.name: arrays[value.name] for value in opened().get_inputs()}
        return dict(zip(names, opened().run(None, feed), strict=True))

    return run


def _typed(complete: Complete, graph: ir.Model) -> Complete:
    """Return the same, with the graph's inputs alone, in its order and in its types."""
    values = {str(v.name): v.dtype for v in graph.graph.inputs}

    def typed(given: Feed, number: int) -> Feed:
        arrays = complete(given, number)
        missing = [name for name in values if name not in arrays]
        if missing:
            msg = f"nothing is known that could feed the decoder's inputs {missing}"
            raise UnsupportedError(msg)
        return {
            name: arrays[name] if dtype is None else arrays[name].astype(dtype.numpy())
            for name, dtype in values.items()
        }

    return typed


def _empty_cache(graph: ir.Model) -> dict[str, "Array"]:
    """Return a cache of no tokens: its open axes are 0, the batch is 1."""
    return {
        str(v.name): np.zeros(
            [1, *(d if isinstance(d, int) else 0 for d in v.shape[1:])], np.float32
        )
        for v in graph.graph.inputs
        if str(v.name).startswith(PAST) and v.shape is not None
    }


def _caches(made: Mapping[str, "Array"]) -> dict[str, "Array"]:
    """Return what a decoder made, by the names under which it is read: present.0 -> past.0."""
    return {
        PAST + name.removeprefix(present): array
        for name, array in made.items()
        for present in PRESENTS
        if name.startswith(f"{present}.")
    }


def _updated(past: Mapping[str, "Array"], made: Mapping[str, "Array"]) -> dict[str, "Array"]:
    """Return the cache after a step; what the step does not make, such as the source's, stays."""
    return {**past, **_caches(made)}
