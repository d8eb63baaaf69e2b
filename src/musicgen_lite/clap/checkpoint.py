"""LAION's CLAP checkpoints (github.com/LAION-AI/CLAP): pickles of a training state.

They hold the weights of laion_clap's module, under `state_dict`, with the prefix `module.` where several GPUs trained them,
beside the optimizer's state. The architecture is recorded nowhere; it is read from the tensors' shapes.
"""

import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.errors import UserError, first_line
from musicgen_lite.pretrained import check_pickle

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

# sha256 of published checkpoints, which are trusted. Sources: the files' pages (huggingface.co/lukewys/laion_clap); for
# music_audioset and 630k-audioset-fusion the page of a copy of equal name and size (huggingface.co/spaces/MasalaDosa1337/RGMC
# and nvidia/audio-flamingo-demo), and public projects that check their download from the publisher against it.
KNOWN = {
    "fae3e9c087f2909c28a09dc31c8dfcdacbc42ba44c70e972b58c1bd1caf6dedd": "music_audioset_epoch_15_esc_90.14.pt",
    "a27dfbd00d96781020d83044136f084343edab799d2657ef3cfe5c4f2222bb28": "music_speech_epoch_15_esc_89.25.pt",
    "51c68f12f9d7ea25fdaaccf741ec7f81e93ee594455410f3bca4f47f88d8e006": "music_speech_audioset_epoch_15_esc_89.98.pt",
    "8053c9775516af2f4902e1e8281e356cc1bf7a85e8b761908170767b77c3f037": "630k-audioset-best.pt",
    "fb171dd9b608aebdac3d89286cd7615c5100af4cc7dc37797c7fb8d3cc15e3a5": "630k-audioset-fusion-best.pt",
}
ROBERTA = "roberta-base"  # gives the text encoder its configuration and tokenizer
# HTSAT (Chen et al. 2022, arXiv:2202.00874) by its patch embedding's channels.
VARIANTS = {96: "HTSAT-tiny", 128: "HTSAT-base", 256: "HTSAT-large"}
# The tensors whose shapes give the architecture, and the mel filters.
AUDIO, TEXT = "audio_branch.", "text_branch."
PATCHES, FFT = f"{AUDIO}patch_embed.proj.weight", f"{AUDIO}spectrogram_extractor.stft.conv_real.weight"
POSITIONS, MEL = f"{AUDIO}layers.{{layer}}.blocks.0.attn.relative_position_bias_table", f"{AUDIO}logmel_extractor.melW"
WORDS, JOINT = f"{TEXT}embeddings.word_embeddings.weight", "audio_projection.2.weight"


@dataclass(frozen=True)
class LaionCheckpoint:
    """The weights of a checkpoint by the names of laion_clap's module, and the sha256 of its file."""

    path: Path
    sha256: str
    tensors: "Tensors"

    @property
    def fusion(self) -> bool:
        """Whether it was trained with feature fusion, for clips longer than its window."""
        return f"{AUDIO}patch_embed.mel_conv2d.weight" in self.tensors

    @property
    def fft(self) -> int:
        """FFT size of its spectrogram, in samples."""
        return int(self.tensors[FFT].shape[-1])

    @property
    def architecture(self) -> str:
        """laion_clap's name of its audio encoder. Raises UserError for an unknown one."""
        channels = int(self.tensors[PATCHES].shape[0])
        if channels not in VARIANTS:
            sizes = ", ".join(f"{name} {size}" for size, name in VARIANTS.items())
            raise UserError(f"{self.path}: its patches have {channels} channels; laion-clap knows {sizes}")
        return VARIANTS[channels] + ("-win-1536" if self.fft == 1536 else "")

    def check_vocabulary(self, tokenizer: Any) -> None:
        """Raise UserError unless the text encoder's vocabulary has the size of the tokenizer's."""
        rows = int(self.tensors[WORDS].shape[0])
        if rows != len(tokenizer):
            raise UserError(
                f"{self.path}: its text encoder has {rows} tokens, the tokenizer of {ROBERTA} has {len(tokenizer)}; "
                "download that tokenizer again, or this checkpoint has another text encoder"
            )


def read_checkpoint(
    path: Path, parameter: str, trusted: Collection[str], place: str = "trusted_pickles"
) -> LaionCheckpoint:
    """Unpickle a checkpoint whose sha256 is `KNOWN` or `trusted`; see `pretrained.check_pickle` for the other arguments.

    Raises UserError where it is missing, of another sha256, damaged, or no CLAP with HTSAT and RoBERTa.
    """
    import torch

    if not path.is_file():
        raise UserError(f"{parameter}: there is no file {path}")
    sha256 = check_pickle(path, parameter, {*KNOWN, *trusted}, place)
    try:
        # They hold NumPy scalars, which the restricted unpickler refuses. With mmap the optimizer's state is never read.
        held = torch.load(path, map_location="cpu", weights_only=False, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # unpickling raises anything
        raise UserError(f"{path}: cannot be unpickled, {first_line(error)}; fetch it again") from error
    state = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    named = state.items() if isinstance(state, Mapping) else ()
    tensors = {name.removeprefix("module."): tensor for name, tensor in named if isinstance(tensor, torch.Tensor)}
    # A buffer that older versions of transformers saved with RoBERTa's weights; newer ones rebuild it.
    tensors.pop(f"{TEXT}embeddings.position_ids", None)
    for name in (PATCHES, FFT, MEL, POSITIONS.format(layer=0), WORDS, JOINT):
        if name not in tensors:
            raise UserError(
                f"{path}: no LAION CLAP with HTSAT for audio and RoBERTa for text: none of its {len(tensors)} tensors "
                f"is {name}"
            )
    return LaionCheckpoint(path, sha256, tensors)
