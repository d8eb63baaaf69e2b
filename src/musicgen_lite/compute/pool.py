"""Workers on Ray that compute the pieces of one work: results in order, and what a lost worker had goes elsewhere."""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from musicgen_lite.compute.packages import versions
from musicgen_lite.errors import UserError, first_line

TOGETHER = 2  # pieces that a worker has: one is read while the other is computed
WINDOW = 4  # pieces for each worker that are begun and not taken yet: memory does not grow with the corpus
ATTEMPTS = 4  # workers that one piece may lose
POLL_S = 1.0


@dataclass(frozen=True)
class Room:
    """workers: how many, 0 for as many as fit; threads, gpus: of each."""

    workers: int
    threads: int
    gpus: float

    def fits(self, node: dict[str, Any]) -> int:
        """How many workers a node of Ray has room for."""
        has = node["Resources"] if node["Alive"] else {}
        by_gpus = [int(has.get("GPU", 0) / self.gpus)] if self.gpus else []
        return min([int(has.get("CPU", 0) / self.threads), *by_gpus])

    @property
    def needs(self) -> str:
        """What a worker needs, for messages."""
        gpus = f" and {self.gpus:g} GPU (compute.gpus_per_worker)" if self.gpus else ""
        return f"{self.threads} CPU(s) (compute.threads){gpus}"


class Worker:
    """The process that computes, as Ray's actor: it begins with the check of its packages, and unpickles the work once."""

    def __init__(self) -> None:
        self._reading, self._computing = threading.Lock(), threading.Lock()
        self._work: Any = None

    def start(self, content: bytes, expected: dict[str, str], threads: int) -> str:
        """Make ready for the pickled work `content`, and give the id of the node; UserError for other packages."""
        import platform

        import ray

        found = versions(expected)
        wrong = [f"{name} {found[name]}, not {expected[name]}" for name in expected if found[name] != expected[name]]
        if wrong:
            raise UserError(
                f"a worker on {platform.node()} has {'; '.join(wrong)}: results would differ; install the same "
                "requirements/lock.txt on every machine (`make env`), and start Ray from there"
            )
        from musicgen_lite.device import set_threads

        set_threads(threads)
        self._work = ray.cloudpickle.loads(content)
        return str(ray.get_runtime_context().get_node_id())

    def run(self, piece: Any) -> Any:
        """The result of one piece. Ray calls it from two threads: one reads while the other computes."""
        with self._reading:
            inputs = self._work.read(piece)
        with self._computing:
            return self._work.compute(inputs)


@dataclass(eq=False)
class _Piece:
    number: int
    content: Any
    lost_on: list[str] = field(default_factory=list)  # nodes


@dataclass(eq=False)
class _Hand:
    """A worker: its actor, its node once it is ready, and the pieces that it has."""

    actor: Any
    node: str = ""
    pieces: list[_Piece] = field(default_factory=list)

    def takes(self, piece: _Piece) -> bool:
        """Whether there is room; a piece that has lost a worker goes alone, so that no other is blamed."""
        alone = bool(piece.lost_on) or any(one.lost_on for one in self.pieces)
        return bool(self.node) and len(self.pieces) < (1 if alone else TOGETHER)


class Pool:
    """Workers for the pickled work `content`. expected: the packages that they must have."""

    def __init__(self, ray: Any, room: Room, content: bytes, expected: dict[str, str]) -> None:
        self.content, self._ray, self._room = content, ray, room
        self._start = (ray.put(content), expected, room.threads)
        self._hands: list[_Hand] = []
        self._begun: dict[Any, tuple[_Hand, _Piece | None]] = {}  # by Ray's reference; without a piece: a start
        self._failed_starts, self._said = 0, False
        self._actor = ray.remote(Worker).options(
            num_cpus=room.threads, num_gpus=room.gpus, max_concurrency=TOGETHER, max_restarts=0, max_task_retries=0
        )
        for _ in range(room.workers or sum(map(room.fits, ray.nodes())) or 1):
            self._hire()

    def close(self) -> None:
        """End the workers."""
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._hands, self._begun = [], {}

    def map(self, name: Callable[[Any], str], pieces: Iterable[Any]) -> Iterator[Any]:
        """The result of each piece in order; see `Engine.map`."""
        coming = (_Piece(number, content) for number, content in enumerate(pieces))
        waiting, done, next_number, read = deque[_Piece](), dict[int, Any](), 0, 0
        try:
            while True:
                fresh = list(islice(coming, max(0, WINDOW * len(self._hands) - (read - next_number))))
                read += len(fresh)
                waiting.extend(fresh)
                if next_number == read:
                    return
                self._hand_out(waiting)
                for piece, result in self._finished(name, waiting):
                    done[piece.number] = result
                while next_number in done:
                    yield done.pop(next_number)
                    next_number += 1
        finally:
            if next_number < read:  # an error or an interrupt: what is on its way is of no use to the next call
                self.close()
                self.content = b""

    def _hire(self) -> None:
        hand = _Hand(self._actor.remote())
        self._hands.append(hand)
        self._begun[hand.actor.start.remote(*self._start)] = (hand, None)

    def _hand_out(self, waiting: deque[_Piece]) -> None:
        """Give waiting pieces to workers, least busy first; one that has lost a worker goes to another node if there is one."""
        for piece in list(waiting):
            ready = [hand for hand in self._hands if hand.node]
            elsewhere = [hand for hand in ready if hand.node not in piece.lost_on] or ready
            free = [hand for hand in elsewhere if hand.takes(piece)]
            if not free:
                continue
            waiting.remove(piece)
            hand = min(free, key=lambda one: len(one.pieces))
            hand.pieces.append(piece)
            self._begun[hand.actor.run.remote(piece.content)] = (hand, piece)

    def _finished(self, name: Callable[[Any], str], waiting: deque[_Piece]) -> Iterator[tuple[_Piece, Any]]:
        """Results that have come; pieces whose worker is lost wait again, first of all."""
        ready, _ = self._ray.wait(list(self._begun), num_returns=1, timeout=POLL_S)
        if not ready:
            self._check_room()
        for reference in ready:
            hand, piece = self._begun.pop(reference, (None, None))
            if hand is None:  # of a worker that was given up meanwhile
                continue
            try:
                result = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RuntimeEnvSetupError as error:
                raise UserError(f"Ray cannot make the environment of a worker: {first_line(error)}") from error
            except self._ray.exceptions.RayError as error:
                self._lost(hand, error, name, waiting)
                continue
            self._failed_starts = 0
            if piece is None:
                hand.node = result
            else:
                hand.pieces.remove(piece)
                yield piece, result

    def _lost(self, hand: _Hand, error: Exception, name: Callable[[Any], str], waiting: deque[_Piece]) -> None:
        """Replace a worker, and let its pieces wait again; UserError for what is lost time and again."""
        self._hands.remove(hand)
        self._ray.kill(hand.actor)  # it may only have been out of reach
        self._begun = {reference: begun for reference, begun in self._begun.items() if begun[0] is not hand}
        why = "its node ran out of memory" if _out_of_memory(error) else first_line(error)
        self._failed_starts += not hand.node
        if self._failed_starts > ATTEMPTS:
            raise UserError(
                f"compute.engine ray: {self._failed_starts} workers ended before they began; the last one: {why}"
            )
        for piece in sorted(hand.pieces, key=lambda one: -one.number):
            piece.lost_on.append(hand.node)
            if len(piece.lost_on) == ATTEMPTS:
                nodes = {one["NodeID"]: one["NodeManagerHostname"] for one in self._ray.nodes()}
                where = ", ".join(nodes.get(node, node) for node in dict.fromkeys(piece.lost_on))
                raise UserError(
                    f"{name(piece.content)}: {ATTEMPTS} workers were lost over it (on {where}); the last one: {why}; take fewer "
                    "at a time (codec.batch_size, text.batch_size, sample.batch_size), or fewer compute.workers"
                )
            waiting.appendleft(piece)
        print(f"lost a worker ({why}); what it had is done elsewhere", file=sys.stderr, flush=True)
        self._hire()

    def _check_room(self) -> None:
        """UserError where no node is large enough for a worker; a line where all are busy."""
        if any(hand.node for hand in self._hands):
            return
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        if not any(map(self._room.fits, nodes)):
            largest = max((node["Resources"].get("CPU", 0) for node in nodes), default=0)
            raise UserError(
                f"compute.engine ray: a worker needs {self._room.needs}; no node of the cluster has as much (the most CPUs of "
                f"one: {largest:g})"
            )


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "memory pressure" in text or "(oom)" in text
