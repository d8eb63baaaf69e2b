"""The models that the page offers: shipped ones, those that were named when it started, and those of chosen runs."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.generator import Generator, load
from musicgen_lite.pretrained import shipped

TRAINED = "data/model/model.safetensors"
LOADED = 2  # models that stay in memory
NONE = (
    "No model is here yet, and this version ships none. Train one with `make repro` (10 to 13 minutes on two cores), or start the "
    "page with `musicgen-lite app --model FILE`; a published MusicGen's folder or hub name does as well."
)


class Shelf:
    """Models by the name that the page shows; a name that is not on the shelf is refused, so that no other file is read.

    trusted_pickles: as the parameter of that name.
    """

    def __init__(self, named: Sequence[str], root: Path, trusted_pickles: Sequence[str] = ()) -> None:
        self._trusted = tuple(trusted_pickles)
        trained = [TRAINED] if (root / TRAINED).is_file() else []
        self._places = {name: name for name in (*shipped_names(), *named)}
        self._places |= {name: str(root / name) for name in trained if name not in self._places}
        self._loaded: OrderedDict[str, Generator] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._places)

    def place(self, name: str) -> str:
        """What `musicgen_lite.load` and `--model` take for it. UserError for a name that is not offered."""
        if not self._places:
            raise UserError(f"model: {NONE}")
        if name not in self._places:
            raise UserError(f"model: {name!r} is not offered here; allowed are {', '.join(self._places)}")
        return self._places[name]

    def add(self, name: str, path: Path) -> None:
        """Offer a further model."""
        self._places[name] = str(path)

    def warm(self) -> None:
        """Load the first model and compile what it needs, so that whoever comes first does not wait; errors are told later."""
        with contextlib.suppress(UserError):
            self.get(self.names[0] if self.names else "").generate("A piano.", seconds=0.1, candidates=1)

    def get(self, name: str) -> Generator:
        """The model, loaded unless it is in memory; of the others the last used stay. UserError as in `load`."""
        place = self.place(name)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load(place, trusted_pickles=self._trusted)
            self._loaded.move_to_end(name)
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[name]


def shipped_names() -> list[str]:
    """The shipped models that are there; a damaged one is offered, so that choosing it says what is wrong."""
    folder = shipped.ROOT / shipped.MODELS
    kinds = {kind: name for name, kind in shipped.NAMES.items()}  # of two names the last, which names the type
    return [name for kind, name in kinds.items() if (folder / f"{kind}.safetensors").is_file()]
