"""The models that the page offers: shipped ones, those named when it started, MLflow's registered ones, and those of chosen runs."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from musicgen_lite import tracking
from musicgen_lite.errors import UserError
from musicgen_lite.generator import Generator, load
from musicgen_lite.params import TrackingParams
from musicgen_lite.pretrained import shipped

TRAINED = "data/model/model.safetensors"
LOADED = 2  # models that stay in memory
WARM_S = 1.0  # of music that each is warmed with
NONE = (
    "No model is here yet, and this version ships none. Train one with `make repro` (10 to 13 minutes on two cores), or start the "
    "page with `musicgen-lite app --model FILE`; a published MusicGen's folder or hub name does as well."
)

Key = tuple[str, int | None]  # a model's name, and when its file was written


class Shelf:
    """Models by the name that the page shows; a name that is not on the shelf is refused, so that no other file is read.

    named: what `musicgen_lite.load` takes for each further name. trusted_pickles: as the parameter of that name. UserError for a named file
    that is not there.
    """

    def __init__(self, named: Mapping[str, str], root: Path, trusted_pickles: Sequence[str] = ()) -> None:
        for name, place in named.items():
            if place.endswith(".safetensors") and not Path(place).is_file():
                raise UserError(f"model {name!r}: there is no file {place}; name one that is there, or leave it out")
        self._trusted = tuple(trusted_pickles)
        trained = [TRAINED] if (root / TRAINED).is_file() else []
        self._places = {name: name for name in shipped_names()} | dict(named)
        self._places |= {name: str(root / name) for name in trained if name not in self._places}
        self._loaded: OrderedDict[Key, Generator] = OrderedDict()
        self._lock, self._loading = threading.Lock(), threading.Lock()

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

    def offer_registered(self, params: TrackingParams, root: Path) -> None:
        """Offer what the aliases of MLflow's registry name now, if it is a model of this project. UserError where MLflow cannot be read."""
        for alias in tracking.aliases(params, root):
            with contextlib.suppress(UserError):
                self.add(alias, tracking.model_file(params, root, alias))

    def warm(self) -> None:
        """Load as many models as stay in memory and compile what they need, so that nobody waits for it; errors are told later."""
        for name in self.names[:LOADED]:
            with contextlib.suppress(UserError):
                for _ in self.get(name).stream("A piano.", seconds=WARM_S):
                    pass

    def get(self, name: str) -> Generator:
        """The model as its file is now, loaded unless it is in memory; the last used stay. UserError as in `load`."""
        place = self.place(name)
        key = name, _changed(place)
        if (found := self._used(key)) is None:
            with self._loading:  # one at a time; what is in memory does not wait for it
                if (found := self._used(key)) is None:
                    found = load(place, trusted_pickles=self._trusted)
                    self._keep(key, found)
        return found

    def _used(self, key: Key) -> Generator | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _keep(self, key: Key, generator: Generator) -> None:
        with self._lock:
            self._loaded[key] = generator
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)


def _changed(place: str) -> int | None:
    """When the file at a place was last written; None where there is none, such as under a name."""
    try:
        return Path(place).stat().st_mtime_ns
    except OSError:
        return None


def shipped_names() -> list[str]:
    """The shipped models that are there; a damaged one is offered, so that choosing it says what is wrong."""
    folder = shipped.ROOT / shipped.MODELS
    kinds = {kind: name for name, kind in shipped.NAMES.items()}  # of two names the last, which names the type
    return [name for kind, name in kinds.items() if (folder / f"{kind}.safetensors").is_file()]
