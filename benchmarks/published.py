"""A published MusicGen here and in transformers: the same greedy codes, and frames a second, on one CPU thread.

`python -m benchmarks.published facebook/musicgen-small` takes that checkpoint (or a directory); without a name it writes one
of the same sizes with random weights, which are as fast, and takes about 10 minutes and 2.4 GB of disk. Both sample with
guidance and top-k from the same captions; a measurement of one follows one of the other, and the median of each is shown.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.generation import timed
from musicgen_lite import published
from musicgen_lite.generation import Sampling, generate, prepare
from musicgen_lite.generation.decode import Decoder
from musicgen_lite.models import Conditions
from musicgen_lite.pretrained import shipped
from musicgen_lite.published import PretrainedMusicGen, ready

CAPTIONS = (
    "A fast techno beat with a synth lead.",
    "This is a relaxing piano melody with rain sounds. The tempo is 72 BPM. It has no drums, and it feels calm.",
    "Heavy metal guitar riff.",
    "An orchestra swells, then a solo violin plays on.",
)


def random_small(folder: Path) -> str:
    """A checkpoint of the sizes of musicgen-small: T5 base, EnCodec at 32 kHz, a decoder of 24 layers and width 1024."""
    from transformers import (
        AutoTokenizer,
        EncodecConfig,
        EncodecModel,
        MusicgenForCausalLM,
        MusicgenForConditionalGeneration,
        T5Config,
        T5EncoderModel,
    )
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    torch.manual_seed(0)
    text = T5EncoderModel(T5Config(d_model=768, num_layers=12, num_heads=12, d_ff=3072))
    codec = EncodecModel(
        EncodecConfig(
            sampling_rate=32000, num_filters=64, hidden_size=128, codebook_dim=128, codebook_size=2048,
            upsampling_ratios=[8, 5, 4, 4], target_bandwidths=[2.2], use_causal_conv=False, use_conv_shortcut=False,
        )
    )  # fmt: skip
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()
    model = MusicgenForConditionalGeneration(
        text_encoder=text, audio_encoder=codec, decoder=MusicgenForCausalLM(MusicgenDecoderConfig())
    )
    ready(model).save_pretrained(folder)
    AutoTokenizer.from_pretrained(shipped.path("text")).save_pretrained(folder)
    return str(folder)


def theirs(model: Any, words: dict[str, torch.Tensor], frames: int, **options: Any) -> torch.Tensor:
    """Codes `[B, N_q, frames]` of transformers' own generation, which are not decoded."""
    model.audio_encoder.decode = lambda codes, audio_scales: SimpleNamespace(audio_values=codes)
    length = frames + model.config.decoder.num_codebooks
    return model.generate(**words, guidance_scale=3.0, max_length=length, **options)[0, :, :, -frames:]


def ours(
    found: PretrainedMusicGen, captions: tuple[str, ...], frames: int, top_k: int, decoder: Decoder | None = None
) -> torch.Tensor:
    """Codes `[B, N_q, frames]`."""
    conditions = Conditions.from_texts([torch.from_numpy(states) for states in found.text.encode(captions, 64)])
    sampling = Sampling(top_k=top_k, guidance=3.0)
    return generate(found.model, conditions, frames, sampling, range(len(captions)), decoder=decoder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measure(given.name or random_small(Path(folder)), given.frames, given.repeats)


def measure(name: str, frames: int, repeats: int) -> None:
    from transformers import AutoTokenizer, MusicgenForConditionalGeneration

    found: list[PretrainedMusicGen] = []
    seconds = timed(lambda: found.append(published.load(name, max_text=64)))
    own, folder = found[0], found[0].source.folder
    print(f"loaded in {seconds:.1f} s")
    other = MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def words(captions: tuple[str, ...]) -> dict[str, torch.Tensor]:
        return dict(tokenizer(list(captions), padding=True, return_tensors="pt"))

    expected, codes = theirs(other, words(CAPTIONS), frames, do_sample=False), ours(own, CAPTIONS, frames, top_k=1)
    print(f"greedy codes of {len(CAPTIONS)} captions, {frames} frames: {(codes == expected).float().mean():.2%} equal, "
          f"{len(codes.unique())} different ones")  # fmt: skip
    print(f"{'ours':10} {'theirs':10} {'items':>5} {'ours':>8} {'theirs':>8} {'ratio':>6}")
    for stored in ("float32", "bfloat16", "int8"):
        packed = prepare(own.model, stored)
        other.to(torch.bfloat16 if stored == "bfloat16" else torch.float32)
        for items in (1, 4):
            captions = CAPTIONS[:items]
            mine = partial(ours, own, captions, frames, 250, packed)
            their = partial(theirs, other, words(captions), frames, do_sample=True, top_k=250)
            mine(), their()
            pairs = [(timed(mine), timed(their)) for _ in range(repeats)]
            fast, slow = (items * frames / statistics.median(times) for times in zip(*pairs, strict=True))
            kind = "bfloat16" if stored == "bfloat16" else "float32"
            print(f"{stored:10} {kind:10} {items:5} {fast:8.1f} {slow:8.1f} {fast / slow:6.2f}", flush=True)


if __name__ == "__main__":
    main()
