"""What a person fills in on the page, as the command line has it."""

import random
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling
from musicgen_lite.generator import Generator
from musicgen_lite.request import Request, check_candidates

EXAMPLES = (
    "A fast techno beat with a synth lead.",
    "A relaxing piano melody with rain sounds.",
    "Heavy metal guitar riff.",
)
TOP_K = 250
NEW_SEEDS = 10_000  # short enough to be read out


@dataclass(frozen=True)
class Form:
    """The fields of the page. Numbers that were left empty are None; style and continued: files that were uploaded."""

    model: str
    prompt: str
    seconds: float | None = 10.0
    guidance: float | None = 2.0
    guidance_audio: float | None = None
    candidates: float | None = 1
    seed: float | None = 0
    tempo: float | None = None
    style: str | None = None
    continued: str | None = None

    def request(self) -> Request:
        """UserError, in the words of the command line, for what no model can make."""
        request = Request(self.prompt, _given("seconds", self.seconds), self.tempo or None, _whole("seed", self.seed))
        request.check()
        check_candidates(self.number)
        return request

    def with_seed(self) -> "Form":
        """The same with a seed of its own where none was given."""
        return self if self.seed is not None else replace(self, seed=random.randrange(NEW_SEEDS))

    @property
    def number(self) -> int:
        return _whole("candidates", self.candidates)

    def sampling(self, generator: Generator) -> Sampling:
        top_k = min(TOP_K, generator.model.config.codebook_size)
        return Sampling(top_k=top_k, guidance=_given("guidance", self.guidance), guidance_audio=self.guidance_audio)

    def command(self, place: str) -> str:
        """The command line that makes the same, with the model at `place`."""
        words = ["musicgen-lite", "generate", self.prompt, "--model", place]
        for option, value in self._options().items():
            words += [f"--{option.replace('_', '-')}", str(value)]
        return shlex.join([*words, "-o", "music.wav"])

    def python(self, place: str) -> str:
        """Python lines that make the same."""
        names = {"audio": "style", "continue": "continued"}
        options = {names.get(name, name): value for name, value in self._options().items()}
        guidance = {name: options.pop(name) for name in ("guidance", "guidance_audio") if name in options}
        sampling = ", ".join(f"{name}={value!r}" for name, value in [("top_k", TOP_K), *guidance.items()])
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return (
            "import musicgen_lite\nfrom musicgen_lite.generation import Sampling\n\n"
            f"generator = musicgen_lite.load({place!r})\n"
            f"music = generator.generate({self.prompt!r}, {given}, sampling=Sampling({sampling}))\n"
            'music.write("music.wav")'
        )

    def _options(self) -> dict[str, str | int | float]:
        """Options of the command line; of uploaded files the names."""
        given = {
            "seconds": self.seconds, "guidance": self.guidance, "guidance_audio": self.guidance_audio,
            "candidates": self.number, "seed": _whole("seed", self.seed), "tempo": self.tempo,
            "audio": self.style and Path(self.style).name, "continue": self.continued and Path(self.continued).name,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None and (name != "tempo" or value)}


def read_number(name: str, text: str | None) -> float | None:
    """What was typed into a field that may be empty: None where it is. UserError for what is no number."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        raise UserError(f"{name}: found {text!r}; give a number, or leave it empty") from None


def _given(name: str, value: float | None) -> float:
    if value is None:
        raise UserError(f"{name}: it is empty; give a number")
    return float(value)


def _whole(name: str, value: float | None) -> int:
    number = _given(name, value)
    if not number.is_integer():
        raise UserError(f"{name}: found {number:g}; a whole number is needed")
    return int(number)
