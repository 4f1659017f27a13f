"""The training itself: steps, evaluations, checkpoints, and the student that got nearest.

What a step does depends on the recipe, the step's number and the state that checkpoints hold, on
nothing else: a training that was killed and resumed ends with the same weights, bit for bit.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from edgecompile.distill import checkpoints
from edgecompile.distill.batches import MASK, collate, schedule_of
from edgecompile.distill.checkpoints import Checkpoint
from edgecompile.distill.claim_folder import CHECKPOINTS
from edgecompile.distill.fake_quant import fake_linears
from edgecompile.distill.job import LOG, Job, Moment, State, Tell, Trained
from edgecompile.distill.judge import Judge, open_judge, to_torch
from edgecompile.distill.losses import Target, compared, losses, total
from edgecompile.distill.pairs import Pairs, find_pairs
from edgecompile.distill.save_graph import save_graph
from edgecompile.distill.stops import Stop
from edgecompile.distill.student import Student, open_student
from edgecompile.distill.workers import Workers
from edgecompile.errors import DistillError, StoppedError
from edgecompile.torch_graph.graph_module import GraphModule, with_weights


class Training:
    """A job under way."""

    def __init__(self, job: Job, workers: Workers, stop: Stop, tell: Tell) -> None:
        """Make teacher and student, and go back to the last checkpoint if there is one."""
        self.job, self.workers, self.stop, self.tell = job, workers, stop, tell
        self.state = State()
        self.best: dict[str, Tensor] = {}
        self.saved = -1
        table = job.table
        size = table.batch * workers.count * table.accumulate
        self.schedule = schedule_of(job.samples, size, table.seed)
        pairs = find_pairs(job.teacher, job.student)
        outputs = [str(v.name) for v in job.teacher.graph.outputs]
        names = [*outputs, *pairs.hidden, *pairs.attention]
        teacher = GraphModule(job.teacher, names).requires_grad_(requires_grad=False)
        self.teacher = teacher.to(workers.device).eval()
        self.judge: Judge = open_judge(self.teacher, job.held, table.batch, workers.device, outputs)
        self.teacher.wanted = list(dict.fromkeys([*pairs.outputs, *compared(pairs, job.weights)]))
        self._resume()
        self.clock, self.tokens, self.begun = time.perf_counter(), 0, self.state.step

    def run(self) -> Trained:
        """Go on to the last step, or until nothing is gained any more."""
        table, state = self.job.table, self.state
        if not state.history:
            self._evaluate()
        while state.step < table.steps and not self._stagnates():
            ended = self._step()
            state.step += 1
            if table.narrow_every and state.step % table.narrow_every == 0:
                self._narrow()
            last = state.step == table.steps
            evaluated = state.step % table.evaluate_every == 0 or last
            if evaluated:
                self._evaluate()
            if state.step % table.checkpoint_every == 0 or last or ended or self._stagnates():
                self._save()
            self._say(evaluated=evaluated)
            if ended:
                raise self._stopped()
        model = with_weights(self.student.graph, self.best)
        return Trained(model, self.judge.metric, state.best_step, state.history)

    def _stopped(self) -> StoppedError:
        where, name = self.job.folder / CHECKPOINTS, self.stop.name
        what = f"stopped by {name} after step {self.state.step}"
        msg = f"{what}; its checkpoint is in {where}, the same command goes on from there"
        return StoppedError(msg, self.stop.exit_code)

    def save_after_loss(self) -> None:
        """Keep the last step that was whole, when another process has ended."""
        if self.workers.first and not self.workers.sharded:
            self._save()

    # The student and its state

    def _open(self, graph: ir.Model) -> None:
        job = self.job
        self.pairs: Pairs = find_pairs(job.teacher, graph)
        names = compared(self.pairs, job.weights)
        plain = GraphModule(
            graph,
            list(dict.fromkeys([*self.judge.outputs, *names])),
            tables=job.table.embeddings,
            fake=fake_linears(job.plan(graph)),
        )
        decay = job.table.weight_decay
        self.student: Student = open_student(graph, plain, names, self.workers, decay)

    def _resume(self) -> None:
        found = checkpoints.load(self.job.folder / CHECKPOINTS)
        if found is None:
            self._open(self.job.student)
            return
        self.state = State(step=found.step, **found.state)
        self.saved = found.step
        narrowed = self.state.narrowed
        self._open(ir.load(self._narrowed_file(narrowed)) if narrowed else self.job.student)
        self.student.restore(found.tensors, self.state.updates)
        prefix = "best:"
        self.best = {
            name.removeprefix(prefix): tensor
            for name, tensor in found.tensors.items()
            if name.startswith(prefix)
        }

    def _save(self) -> None:
        if self.saved == self.state.step:
            return
        tensors = self.student.tensors()
        if self.workers.first:
            tensors |= {f"best:{name}": tensor for name, tensor in self.best.items()}
            found = Checkpoint(self.state.step, tensors, self.state.as_json())
            checkpoints.save(self.job.folder / CHECKPOINTS, found)
        self.saved = self.state.step

    def _narrowed_file(self, step: int) -> Path:
        return self.job.folder / CHECKPOINTS / f"narrowed-{step:08}.onnx"

    def _narrow(self) -> None:
        """Give the student's graph to `narrow`; go on with what it returns, moments anew."""
        state, job = self.state, self.job
        graph = with_weights(self.student.graph, self.student.values())
        file = self._narrowed_file(state.step)
        narrower = job.narrow(graph, state.step / job.table.steps) if self.workers.first else None
        if narrower is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_graph(narrower, file)
        if self.workers.agree(narrower is not None):
            self._open(ir.load(file))  # as a resumed training reads it
            state.updates, state.narrowed, state.best = 0, state.step, [-math.inf, -math.inf]

    # One step

    def _rate(self) -> float:
        """Return the learning rate: linear warm-up, then a cosine down to 0."""
        table, step = self.job.table, self.state.step
        warm = max(1, round(table.warmup * table.steps))
        if step < warm:
            return table.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, table.steps - warm)
        return table.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _step(self) -> bool:
        """Update the weights once; say whether a signal came, here or in another process."""
        table, workers, student = self.job.table, self.workers, self.student
        mine = workers.slice(self.schedule.at(self.state.step))
        sums: dict[str, float] = {"loss": 0.0}
        tokens = 0
        for part in range(table.accumulate):
            numbers = mine[part :: table.accumulate]
            batch = collate(self.job.samples.take(numbers))
            tokens += batch.tokens
            inputs = to_torch(batch, workers.device)
            last = part == table.accumulate - 1
            with workers.without_sync(student.module, last=last), workers.autocast():
                found = losses(
                    student.module(inputs), self._target(inputs, batch.labels), self.pairs,
                    self.job.weights,
                )  # fmt: skip
                loss = total(found, self.job.weights) / table.accumulate
                loss.backward()
            sums["loss"] += loss.detach().item()
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value.detach().item() / table.accumulate
        sums, tokens, ended = self._together(sums, tokens)
        if not math.isfinite(sums["loss"]):
            msg = f"the loss is {sums['loss']} at step {self.state.step}; lower learning_rate"
            raise DistillError(msg)
        for group in student.optimizer.param_groups:
            group["lr"] = self._rate()
        torch.nn.utils.clip_grad_norm_(list(student.weights.values()), table.clip)
        student.optimizer.step()
        student.optimizer.zero_grad(set_to_none=True)
        self.state.updates += 1
        self.tokens += tokens
        kept = self.state.sums
        for name, value in {**sums, "steps": 1.0}.items():
            kept[name] = kept.get(name, 0.0) + value
        return ended

    def _target(self, inputs: Mapping[str, Tensor], labels: Any) -> Target:
        with torch.no_grad():
            tensors = self.teacher(inputs)
        found = None if labels is None else torch.from_numpy(labels).to(self.workers.device)
        return Target(tensors, self.judge.scales, inputs.get(MASK), found)

    def _together(self, sums: dict[str, float], tokens: int) -> tuple[dict[str, float], int, bool]:
        """Return the losses' means over all processes, all tokens, and whether one must stop."""
        stop = bool(self.stop.number)
        if self.workers.count == 1:
            return sums, tokens, stop
        mine = torch.tensor([*sums.values(), float(tokens), float(stop)], dtype=torch.float64)
        every = self.workers.accelerator.reduce(mine.to(self.workers.device), "sum").tolist()
        means = [value / self.workers.count for value in every[:-2]]
        return dict(zip(sums, means, strict=True)), int(every[-2]), every[-1] > 0

    # What is seen of it

    def _evaluate(self) -> None:
        state = self.state
        found = self.workers.agree(self.judge.score(self.student.module))
        count = state.sums.pop("steps", 0.0)
        row: dict[str, Any] = {"step": state.step}
        row |= {name: round(value / count, 6) for name, value in state.sums.items()}
        row |= {"mean": found.mean, "min": found.min, "signal": found.signal}
        row |= {"rate": self._rate(), f"{self.job.samples.counted}_s": round(self._speed())}
        state.sums = {}
        state.history.append(row)
        if [found.mean, found.signal] > state.best:
            state.best, state.best_step = [found.mean, found.signal], state.step
            self.best = self.student.values()
        if self.workers.first:
            lines = "".join(json.dumps(row) + "\n" for row in state.history)
            checkpoints.write_whole(self.job.folder / LOG, lines)

    def _stagnates(self) -> bool:
        later = [row for row in self.state.history if row["step"] > self.state.best_step]
        return len(later) >= self.job.table.patience

    def _speed(self) -> float:
        if not hasattr(self, "clock") or self.state.step == self.begun:
            return 0.0
        return self.tokens / (time.perf_counter() - self.clock)

    def _say(self, *, evaluated: bool) -> None:
        state, steps = self.state, self.job.table.steps
        row = state.history[-1]
        seen = state.sums.get("steps", 0.0)
        loss = state.sums["loss"] / seen if seen else float(row.get("loss", 0.0))
        took = (time.perf_counter() - self.clock) / (state.step - self.begun)
        left = took * (steps - state.step)
        metric, counted = self.judge.metric, self.job.samples.counted
        self.tell(
            Moment(state.step, steps, loss, self._speed(), counted, left, metric, row, evaluated)
        )
