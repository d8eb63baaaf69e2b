"""From a trained model to music: what `musicgen-lite generate` does, in two lines of Python.

```python
generator = musicgen_lite.load()
generator.generate("A fast techno beat with a synth lead.", seconds=5).write("techno.wav")
```
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from musicgen_lite import codec, export, models, published, text, wav
from musicgen_lite.clap import Clap
from musicgen_lite.clap import load as load_clap
from musicgen_lite.codec.base import Codec
from musicgen_lite.device import check_weights, choose_device, choose_kv_cache
from musicgen_lite.errors import UserError
from musicgen_lite.generation import (
    Sampling,
    best_of,
    choose_beats,
    prepare,
    takes_beat,
    with_beats,
)
from musicgen_lite.generation.kernels import compile_early
from musicgen_lite.io import audio
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.models import Conditions, LanguageModel
from musicgen_lite.pretrained import shipped
from musicgen_lite.request import MAX_CANDIDATES, MAX_SECONDS, Request, check_candidates
from musicgen_lite.rhythm import goes_on
from musicgen_lite.streaming import Stream, Task
from musicgen_lite.text import TextEncoder

MIN_PROMPT_S = 1.0  # of an audio prompt


@dataclass(frozen=True)
class Music:
    """Generated music: candidates `[N, T]` at `rate` Hz, and the CLAP score of each, NaN without CLAP.

    picked: index of the best candidate; new_from_s: where the new music begins, after the continued clip; elapsed_s: the
    time that generating took; tempos: in BPM, what the model was told for each candidate, none where it is told no beat.
    """

    candidates: np.ndarray
    rate: int
    scores: np.ndarray
    picked: int
    new_from_s: float
    elapsed_s: float
    tempos: tuple[float, ...] = ()

    @property
    def samples(self) -> np.ndarray:
        """The candidate that was picked, `[T]`."""
        return self.candidates[self.picked]

    @property
    def real_time_factor(self) -> float:
        """Seconds of new audio, of all candidates together, generated per second."""
        new = self.candidates.shape[1] / self.rate - self.new_from_s
        return len(self.candidates) * new / self.elapsed_s

    def write(self, path: str | Path) -> None:
        """Write the picked candidate as wav or flac."""
        audio.write(path, self.samples, self.rate)

    def wav(self) -> bytes:
        """The bytes that `write` writes into a wav."""
        return wav.header(self.rate, len(self.samples)) + wav.pcm(self.samples)


def load(
    path: str | Path = "shipped",
    clap: str = "embedded",
    device: str = "auto",
    weights: str = "float32",
    kv_cache: str = "auto",
    trusted_pickles: Collection[str] = (),
) -> "Generator":
    """The model at `path` with the codec and the text encoder that it was trained on.

    path: `shipped-a`, `shipped-b`, or `shipped` for the better of the two; a file that the train stage wrote; the directory or
    the name on the hub of a model that `musicgen-lite export` wrote, or of a published MusicGen; or models:/NAME@ALIAS or
    models:/NAME/VERSION of MLflow's registry, at MLFLOW_TRACKING_URI or else in the mlflow.db of the working directory.
    clap: the model that reranks, as in `score.clap`; "" for none. device: auto, cpu or cuda. weights: their format,
    float32, bfloat16, on a CPU int8, on a GPU float16: smaller is faster, and rounds. kv_cache: that of attention's keys and
    values: auto (float32 with float32 weights, else 16 bits), on a CPU float32 or bfloat16. trusted_pickles: as the parameter of
    that name. UserError for a file that is no whole model of this project, or whose codec or encoder is not the one found under its name.
    """
    device = choose_device(device, "device")
    check_weights(weights, device, "weights")
    kv_cache = choose_kv_cache(kv_cache, weights, device, "kv_cache")
    if device == "cpu":
        compile_early(weights, kv_cache)
    if path in shipped.NAMES:
        path = shipped.model_file(shipped.NAMES[str(path)])
    elif str(path).startswith("models:/"):
        path = registered_model(str(path))
    if Path(path).is_file() or Path(path).suffix == ".safetensors":
        parts = _trained(path, device, trusted_pickles)
    elif exported := export.find(str(path), "model"):
        parts = _trained(exported, device, trusted_pickles)
    else:
        found = published.load(str(path), device=device, trusted=trusted_pickles, parameter="model")
        parts = found.model, found.codec, found.text
    scorer = load_clap(clap, device=device, trusted=trusted_pickles, parameter="clap") if clap else None
    return Generator(*parts, scorer, weights, kv_cache)


def registered_model(uri: str) -> Path:
    """The file of a model in MLflow's registry, which the package `tracking` finds."""
    from musicgen_lite import tracking  # the rest of generating needs none

    return tracking.model_file(tracking.from_environment(), Path.cwd(), uri)


def _trained(path: str | Path, device: str, trusted: Collection[str]) -> tuple[LanguageModel, Codec, TextEncoder]:
    """The model in a file, and the codec and the text encoder that it names; see `load`."""
    model, extra = models.load(path, device)
    names = extra.get("names", {})
    coder = codec.load(
        names.get("codec", "embedded"), num_codebooks=model.config.num_codebooks, device=device, trusted=trusted
    )
    encoder = text.load(names.get("text", "embedded"), device=device, trusted=trusted)
    shipped.check_parts(path, model.config, coder.fingerprint, encoder.fingerprint)
    return model, coder, encoder


@dataclass(frozen=True)
class _Clips:
    """The audio that requests are given, encoded: a style's codes `[N_q, P]`, a prefix's `[1, N_q, T]`, and their beat."""

    style: np.ndarray | None
    prefix: torch.Tensor | None
    heard: Beat


class Generator:
    """A model with all that turns a prompt into audio."""

    def __init__(
        self,
        model: LanguageModel,
        coder: Codec,
        encoder: TextEncoder,
        clap: Clap | None,
        weights: str = "float32",
        kv_cache: str = "auto",
    ) -> None:
        self.model, self.codec, self.text, self.clap = model, coder, encoder, clap
        self.device = next(model.parameters()).device
        self.weights, self.kv_cache = weights, choose_kv_cache(kv_cache, weights, str(self.device), "kv_cache")
        self.decoder = prepare(model, weights, self.kv_cache)

    def identity(self) -> dict[str, str]:
        """What decides the audio besides requests and sampling: digests of the model and of CLAP, and the formats of weights, keys and values."""
        config = self.model.config.to_dict()  # with the fingerprints of codec and text encoder
        model = fingerprint(self.model.state_dict(), config)
        clap = self.clap.fingerprint if self.clap else ""
        return {"model": model, "clap": clap, "weights": self.weights, "kv_cache": self.kv_cache}

    def generate(
        self,
        prompt: str,
        *,
        seconds: float = 10.0,
        tempo: float | None = None,
        style: str | Path | None = None,
        continued: str | Path | None = None,
        candidates: int = 4,
        seed: int = 0,
        sampling: Sampling | None = None,
        progress: bool = False,
    ) -> Music:
        """`seconds` of new music for `prompt`; of several candidates the one with the highest CLAP score is picked.

        style: a file whose first seconds set the style (Model B). continued: a file that the music goes on from; its
        own sound comes first in the result. tempo: in BPM, for a model with a beat condition; without it the tempo is that of
        the prompt's words, else of the clip that is continued or sets the style, else drawn for each candidate. Equal
        arguments give equal audio; candidates differ by their seeds.
        UserError names an argument that is not allowed.
        """
        request = Request(prompt, seconds, tempo, seed)
        [music] = self.generate_all(
            [request], style=style, continued=continued, candidates=candidates, sampling=sampling, progress=progress
        )
        return music

    def generate_all(
        self,
        requests: Sequence[Request],
        *,
        style: str | Path | None = None,
        continued: str | Path | None = None,
        candidates: int = 4,
        sampling: Sampling | None = None,
        progress: bool = False,
    ) -> list[Music]:
        """What `generate` gives for each of several requests, decoded together; ValueError unless all have the same length."""
        start = time.perf_counter()
        for request in requests:
            self.check(request, candidates)
        clips = self._clips(style, continued)
        tasks = [self._task(request, clips, candidates, sampling) for request in requests]
        codes = Task.cat(tasks).codes(self.model, self.decoder, label="generate" if progress else "")
        waves = self.codec.decode(codes).cpu().numpy()[:, : tasks[0].samples]
        music = [
            self._music(request, task, 0.0, own)
            for request, task, own in zip(requests, tasks, np.split(waves, len(tasks)), strict=True)
        ]
        each_s = (time.perf_counter() - start) / len(requests)
        return [replace(one, elapsed_s=each_s) for one in music]

    def stream(
        self,
        prompt: str,
        *,
        seconds: float = 10.0,
        tempo: float | None = None,
        style: str | Path | None = None,
        continued: str | Path | None = None,
        candidates: int = 1,
        seed: int = 0,
        sampling: Sampling | None = None,
    ) -> Stream[Music]:
        """What `generate` gives with equal arguments, heard while it is made: iterate for samples `[T]` of candidate 1.

        They are those of `generate` to within 1e-6 on a CPU in float32, as codes are the same and the codec rounds differently. Other
        candidates are made after it, and `result` is what `generate` gives, to the last bit, once the last samples were taken.

            for samples in (stream := generator.stream("A fast techno beat.")):
                play(samples, stream.rate)
            stream.result.write("techno.wav")
        """
        start, request = time.perf_counter(), Request(prompt, seconds, tempo, seed)
        self.check(request, candidates)
        task = self._task(request, self._clips(style, continued), candidates, sampling)
        return Stream(task, self.model, self.decoder, self.codec, partial(self._music, request, task, start))

    def _clips(self, style: str | Path | None, continued: str | Path | None) -> _Clips:
        audio_prompt = None if style is None else self._style(style)
        prefix = None if continued is None else self._read(continued, MAX_SECONDS + 1.0)  # more is refused
        prefix_codes = None if continued is None or prefix is None else self._encode(continued, prefix).to(self.device)
        codes = None if style is None or audio_prompt is None else self._encode(style, audio_prompt)[0].numpy()
        return _Clips(codes, prefix_codes, self._heard(audio_prompt if prefix is None else prefix))

    def _task(self, request: Request, clips: _Clips, candidates: int, sampling: Sampling | None) -> Task:
        sampling = sampling or Sampling(top_k=min(250, self.model.config.codebook_size), guidance=2.0)
        texts = text.encode_stored(self.text, [request.prompt], self.model.config.max_text)
        conditions = Conditions.from_arrays(texts, [] if clips.style is None else [clips.style])
        conditions = conditions.repeat_interleave(candidates).to(self.device)
        seeds = tuple(request.seed * MAX_CANDIDATES + number for number in range(candidates))
        prompts, heard = [request.prompt] * candidates, [clips.heard] * candidates
        beats = choose_beats(self.model, conditions, prompts, seeds, request.tempo, heard)
        prefix_frames = 0 if clips.prefix is None else clips.prefix.shape[2]
        # The model counts from the first frame of what it continues.
        conditions = with_beats(conditions, [beat.later(-prefix_frames / self.codec.frame_rate) for beat in beats])
        frames = prefix_frames + audio.num_frames(request.seconds, self.codec.rate, self.codec.frame_rate)
        samples = prefix_frames * self.codec.hop + round(request.seconds * self.codec.rate)
        return Task(conditions, seeds, frames, samples, sampling, clips.prefix, tuple(beat.bpm for beat in beats))

    def _music(self, request: Request, task: Task, start: float, waves: np.ndarray) -> Music:
        """The candidates `[N, T]` with their scores; `start`: when work on them began, by `time.perf_counter`."""
        scores, picked = np.full(len(waves), np.nan), 0
        if self.clap is not None:
            similarity = partial(self.clap.similarity, [request.prompt], self.codec.rate)
            ranking = best_of(list(waves), len(waves), similarity)
            scores, picked = ranking.scores[0], int(ranking.picked[0])
        new_from_s, elapsed_s = task.prefix_frames / self.codec.frame_rate, time.perf_counter() - start
        return Music(waves, self.codec.rate, scores, picked, new_from_s, elapsed_s, task.tempos)

    def _heard(self, before: np.ndarray | None) -> Beat:
        """The beat of samples `[T]`, if they have a clear one, as it goes on after them."""
        return goes_on(before, self.codec.rate) if before is not None and takes_beat(self.model) else NO_BEAT

    def check(self, request: Request, candidates: int = 1) -> None:
        """Raise UserError naming what this model cannot generate."""
        request.check()
        check_candidates(candidates)
        prompt = request.prompt
        unknown = self.text.unknown_characters(prompt)
        if unknown:
            raise UserError(
                f"prompt: the model's text encoder does not know {' '.join(map(repr, unknown))}; write it without them"
            )
        tokens, most = self.text.num_tokens([prompt])[0], self.model.config.max_text
        if tokens > most:
            raise UserError(f"prompt: {tokens} tokens; the model reads at most {most}: make it shorter")
        least = 1 / self.codec.frame_rate
        if request.seconds < least:
            raise UserError(f"seconds: found {request.seconds:g}; {least:g} to {MAX_SECONDS:g} are allowed")

    def _read(self, path: str | Path, end_s: float | None = None) -> np.ndarray:
        """Mono samples `[T]` of a file at the codec's rate."""
        samples, rate = audio.read(path, end_s=end_s)
        samples = audio.resample(audio.to_mono(samples), rate, self.codec.rate)
        reason = audio.invalid_reason(samples, self.codec.rate, MIN_PROMPT_S)
        if reason:
            raise UserError(f"{path}: {reason}")
        return samples

    def _encode(self, path: str | Path, samples: np.ndarray) -> torch.Tensor:
        if len(samples) > MAX_SECONDS * self.codec.rate:
            raise UserError(f"{path}: it is longer than {MAX_SECONDS:g} s, which is the most that can be continued")
        return self.codec.encode(torch.from_numpy(samples)[None]).cpu()

    def _style(self, path: str | Path) -> np.ndarray:
        """Samples `[T]` of the first seconds of a file, as many frames as the model was trained on."""
        if self.model.config.type != "b":
            raise UserError(
                f"{path}: this model takes no audio prompt; train model B with `dvc exp run -S model.type=b`, or use "
                "--continue to go on from the clip"
            )
        length = self.model.config.max_prompt_frames * self.codec.hop
        return self._read(path, length / self.codec.rate)[:length]
