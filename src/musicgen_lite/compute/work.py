"""What an engine runs: the work on one piece of a corpus, and models that every process loads for itself."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from musicgen_lite.errors import UserError

Piece = TypeVar("Piece", contravariant=True)
Inputs = TypeVar("Inputs")
Result = TypeVar("Result", covariant=True)
Model = TypeVar("Model", covariant=True)


class Work(Protocol[Piece, Inputs, Result]):
    """What is computed for one piece. It is pickled to each worker once, so its models are `Recipe`s.

    A result depends on the piece alone: a piece whose worker is lost is computed again elsewhere.
    """

    def name(self, piece: Piece) -> str:
        """What the piece is called in messages."""
        ...

    def read(self, piece: Piece) -> Inputs:
        """What `compute` needs, in another thread, while the piece before is computed; uses no model."""
        ...

    def compute(self, inputs: Inputs) -> Result:
        """The result."""
        ...


class Recipe(Generic[Model]):
    """A model by how it is loaded: `load(*arguments, device=device, **options)`, at its first use in each process.

    device: where the model computes; a process that sees no GPU, such as the one that hands out the work, takes its CPU.
    Raises UserError where another process loads other weights than those that this one has loaded.
    """

    def __init__(self, load: Callable[..., Model], *arguments: Any, device: str = "cpu", **options: Any) -> None:
        self._load, self._arguments, self._options, self._device = load, arguments, options, device
        self._expected: str | None = None

    @cached_property
    def model(self) -> Model:
        """The model, loaded once."""
        import torch

        device = self._device if torch.cuda.is_available() else "cpu"
        model = self._load(*self._arguments, device=device, **self._options)
        found = getattr(model, "fingerprint", None)
        if self._expected not in (None, found):
            raise UserError(
                f"{self._arguments[0]!r} has the fingerprint {found} here, but {self._expected} where the stage runs; use the "
                "same files on every machine, by a path that all of them see or by a hub name with its revision"
            )
        return model

    def __getstate__(self) -> dict[str, Any]:
        known = self.__dict__.get("model")
        state = {name: value for name, value in self.__dict__.items() if name != "model"}
        return state | {"_expected": getattr(known, "fingerprint", self._expected)}
