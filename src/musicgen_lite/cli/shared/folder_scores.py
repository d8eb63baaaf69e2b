"""Scores of a folder of audio: read, checked, embedded once, compared, printed and written."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_lite import codec
from musicgen_lite.clap import load as load_clap
from musicgen_lite.cli.shared.embedding_cache import EmbeddingCache
from musicgen_lite.device import choose_device, set_threads
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import check_place, write_json
from musicgen_lite.models import external
from musicgen_lite.models.external import SHORTEST_S, Cut, Heard, Piece, audio_files, listen
from musicgen_lite.scoring.audio import aesthetics, statistics_file
from musicgen_lite.scoring.audio.embedders import Embedders, origins
from musicgen_lite.scoring.audio.scores import score_clips
from musicgen_lite.scoring.audio.sets import ClipSet
from musicgen_lite.scoring.audio.statistics_file import Statistics
from musicgen_lite.scoring.audio.vggish import load as load_vggish
from musicgen_lite.scoring.metrics import GENERATED, PROTOCOLS
from musicgen_lite.scoring.statistics.intervals import Bootstrap, Estimate
from musicgen_lite.sources.rejected import lines

REFERENCE = "reference/"  # begins the names of the reference's clips, so that they differ from those that are scored
# The options in place of the parameters that a model's errors name.
OPTIONS = {
    "codec.num_codebooks": "--codebooks", "score.aesthetics": "--aesthetics", "trusted_pickles": "--trusted-pickles",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What to score, against what, and how files become clips."""

    folder: Path
    reference: Path
    captions: Path | None
    seconds: float | None
    rate: int | None
    stats_model: str
    spaces: tuple[str, ...]
    bootstrap: int

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those of the spaces."""
        named = {space: suffix.removeprefix("_") for space, suffix, _ in PROTOCOLS}
        return ("ours", *(named[space] for space in self.spaces if space in named))

    @property
    def cut(self) -> Cut:
        """How files become clips."""
        return Cut(self.seconds, self.rate)

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON holds it."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}


@contextmanager
def _naming_options() -> Iterator[None]:
    """UserErrors name options instead of parameters."""
    try:
        yield
    except UserError as error:
        message = str(error)
        for parameter, option in OPTIONS.items():
            message = message.replace(parameter, option)
        raise UserError(message) from error


@dataclass(frozen=True)
class Models:
    """The models by name, and where they run."""

    clap: str
    judge: str
    vggish: str
    codec: str
    codebooks: int
    aesthetics: str
    device: str
    threads: int
    trusted: Collection[str]

    @_naming_options()
    def load(self, protocols: tuple[str, ...]) -> Embedders:
        """Load them; UserError names the option whose model is unknown or damaged."""
        set_threads(self.threads)
        common: dict[str, Any] = {"device": choose_device(self.device, "--device"), "trusted": self.trusted}
        # First, since it is the one that has no default.
        needed = "audiocraft" in protocols
        vggish = load_vggish(self.vggish, device=common["device"], parameter="--vggish") if needed else None
        clap = load_clap(self.clap, parameter="--clap", **common)
        judge = load_clap(self.judge, parameter="--judge", **common) if self.judge else None
        coder = codec.load(self.codec, num_codebooks=self.codebooks, parameter="--codec", **common)
        raters = (aesthetics.load(self.aesthetics, parameter="--aesthetics", **common),) if self.aesthetics else ()
        return Embedders(clap, coder, judge, protocols, clip_models=raters, vggish=vggish)


class Rejected(list[dict[str, str]]):
    """What was left out, and why."""

    def add(self, name: str, reason: str) -> None:
        """Note one."""
        self.append({"id": name, "reason": reason})

    def first(self) -> str:
        """The end of an error: the first three, each reason once; nothing where nothing was left out."""
        names: dict[str, str] = {}
        for one in self:
            names.setdefault(one["reason"], one["id"])
        found = "; ".join([f"{name}: {reason}" for reason, name in names.items()][:3])
        return f": {found}" if found else ""


def run(request: Request, models: Models, out: Path, cache: Path) -> None:
    """Score, print a table, and write everything to `out`; `cache` keeps the embeddings."""
    check_place(out, request.captions, request.reference)
    check_place(cache)
    rejected = Rejected()
    statistics, pieces = _given(request, rejected)  # what is cheap to check comes first
    known, embedders = EmbeddingCache(cache), models.load(request.protocols)
    spaces = [one for one in embedders.spaces if one.name in request.spaces]
    if statistics:
        for space in spaces:
            statistics.check(space)
    rows = Rejected(rejected)  # of the table of captions
    clips, heard = _clips(request, request.folder, "", rejected)
    captions = _captions(request, pieces, clips.ids, rows)
    reference, heard_before = (
        (statistics, {}) if statistics else _clips(request, request.reference, REFERENCE, rejected)
    )
    print(f"{len(clips)} clips to score, {len(rejected)} files or rows rejected")
    for line in (*lines(rejected, str(out)), *_remarks(request, heard, heard_before, captions)):
        print(line)
    bootstrap = Bootstrap(request.bootstrap)
    scores = score_clips(clips, captions, reference, embedders, spaces, bootstrap, known.embed)
    scores.notes |= origins(embedders.clap, embedders.judge, embedders.vggish)
    print(f"{cache}: {known.found} embeddings were known, {known.computed} were computed\n")
    print("\n".join(_table(scores.estimates)))
    facts = {"request": request.as_dict(), "clips": len(clips), "rejected": list(rejected), "silent": _silent(heard)}
    write_json(out, {**scores.details, "metrics": scores.metrics, **facts})
    print(f"\n{out}: every score with its interval and n, what was left out, and what it was made with")


def _clips(request: Request, folder: Path, prefix: str, rejected: Rejected) -> tuple[ClipSet, dict[str, Heard]]:
    """The clips of a folder, with what is known of each; their names begin with `prefix`."""
    files = {f"{prefix}{name}": path for name, path in audio_files(folder).items()}
    own = Rejected()
    heard = listen(files.items(), request.cut, own.add, f"read {folder}", request.seconds or SHORTEST_S)
    if prefix:  # music is measured by music; silence that was to be music counts
        for name in _silent(heard):
            own.add(name, "silent")
            del heard[name]
    if len(heard) < 2:
        raise UserError(f"{folder}: {len(heard)} clip(s) of {len(files)} files can be used, 2 are needed{own.first()}")
    rejected += own
    # Clips of any length: all of them are known to be so.
    return ClipSet(list(heard), lambda name: request.cut.read(files[name]), set(heard)), heard


def _given(request: Request, rejected: Rejected) -> tuple[Statistics | None, list[Piece]]:
    """The statistics and the table of captions, where these are given; UserError where they cannot be read."""
    is_file = request.reference.suffix.lower() == statistics_file.SUFFIX
    statistics = statistics_file.read(request.reference, request.stats_model) if is_file else None
    for folder in (request.folder, *(() if statistics else (request.reference,))):
        audio_files(folder)
    table = request.captions
    return statistics, external.read_table(table, request.folder, rejected.add) if table else []


def _captions(request: Request, pieces: Sequence[Piece], clips: Collection[str], rejected: Rejected) -> dict[str, str]:
    """The caption of each clip that has one, none where there is no table. UserError where fewer than two have one.

    rejected: rows of the table that belong to no clip.
    """
    found = {piece.name: piece.caption for piece in pieces if piece.caption and piece.name in set(clips)}
    if request.captions and len(found) < 2:
        raise UserError(
            f"{request.captions}: {len(found)} caption(s) belong to a clip of {request.folder}, 2 are needed; the column "
            f"{' or '.join(external.FILE)} names files as they are in the folder, {' or '.join(external.CAPTION)} holds their "
            f"captions{rejected.first()}"
        )
    return found


def _table(estimates: Mapping[str, Estimate]) -> list[str]:
    """A line for every metric that was measured: label, value, interval and n."""
    rows = [
        (one.label, f"{found.value:.4g}", f"{found.low:.4g} to {found.high:.4g}", f"{found.n}")
        for one in GENERATED
        if (found := estimates.get(one.estimate))
    ]
    rows = [("score", "value", "95 % CI", "n"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{'>' if place else '<'}{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _paths(folder: Path) -> set[Path]:
    return {path.resolve() for path in audio_files(folder).values()}


def _silent(heard: Mapping[str, Heard]) -> list[str]:
    return [name for name, one in heard.items() if one.silent]


def _remarks(
    request: Request, heard: Mapping[str, Heard], reference: Mapping[str, Heard], captions: Collection[str]
) -> list[str]:
    """What a reader should know of the clips before the scores."""
    found = []
    if silent := _silent(heard):
        found.append(f"  silent, but scored: {len(silent)}, such as {silent[0]}")
    if request.captions and len(captions) < len(heard):
        without = next(name for name in heard if name not in captions)
        found.append(f"  without a caption, not scored by CLAP: {len(heard) - len(captions)}, such as {without}")
    if reference and (both := _paths(request.folder) & _paths(request.reference)):
        found.append(
            f"  in both folders: {len(both)} files, such as {min(both)}; distances to a reference that holds them are too small"
        )
    for what, option, ours, theirs in (
        ("lengths", "--seconds cuts both alike", _span(heard, "seconds"), _span(reference, "seconds")),
        ("rates", "--rate brings both to one", _span(heard, "rate"), _span(reference, "rate")),
    ):
        if reference and ours != theirs:
            found.append(f"  {what} differ: {ours} here, {theirs} in the reference; distances feel it; {option}")
    return found


def _span(heard: Mapping[str, Heard], name: str) -> str:
    """The least and the largest of a fact, or the one value."""
    values = sorted(getattr(one, name) for one in heard.values())
    unit = "s" if name == "seconds" else "Hz"
    ends = dict.fromkeys(f"{value:.6g}" for value in values[:: max(1, len(values) - 1)])
    return f"{' to '.join(ends)} {unit}"
