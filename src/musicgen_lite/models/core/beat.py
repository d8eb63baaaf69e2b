"""The beat as a condition: each step is told where in the bar it stands, and the caption says which tempo to choose.

A rhythm condition at every step, as in Mustango (Melechovsky et al. 2023, arXiv:2311.08355) and MusiConGen (Lan et al. 2024,
arXiv:2407.15060); here two numbers a clip, from which the rest follows.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicgen_lite.models.core.conditions import Conditions

HARMONICS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)  # turns in a beat: from sixteenths to two bars of four beats
PERIOD = 8.0  # beats after which all of them return
FEATURES = 2 * len(HARMONICS) + 2
MIDDLE_BPM = 120.0
TEMPI = torch.logspace(math.log2(50.0), math.log2(200.0), 33, base=2.0)  # in BPM, of the tempo head: 4.4 % apart


def features(beat: Tensor, has_beat: Tensor, times: Tensor) -> Tensor:
    """What the steps at `times` `[S]`, in seconds, are told of the beats `[B, 2]`: `[S, B, 14]`, zeros where `has_beat` is not.

    Sine and cosine of the beats since a bar's first one, at each harmonic; how fast the music is; and a one.
    """
    bpm, first = beat.double().unbind(-1)
    # In float64, and within one period: far into a clip the place in the bar stays exact.
    beats = ((times.double()[:, None] - first) * (bpm / 60)) % PERIOD
    angles = 2 * math.pi * beats[:, :, None] * torch.tensor(HARMONICS, dtype=torch.float64, device=beat.device)
    tempo = (bpm / MIDDLE_BPM).log2().expand_as(beats)[:, :, None]
    found = torch.cat([angles.sin(), angles.cos(), tempo, torch.ones_like(tempo)], dim=-1)
    return found.masked_fill(~has_beat[:, None], 0.0).float()


class BeatCondition(nn.Module):
    """Features of the beat as vectors that are added to the steps, and a head that hears tempi in captions.

    Without a beat nothing is added: that is its null condition. The head reads the text encoder's vectors, nothing that is
    trained elsewhere, and nothing reads it but `tempo_nll` and whoever draws a tempo.
    """

    def __init__(self, text_dim: int, d_model: int) -> None:
        super().__init__()
        self.projection = nn.Linear(FEATURES, d_model, bias=False)
        self.tempo = nn.Linear(text_dim, len(TEMPI))
        nn.init.zeros_(self.tempo.bias)

    def forward(self, beat: Tensor, has_beat: Tensor, times: Tensor) -> Tensor:
        """The vectors `[S, B, d]` of the steps at `times` `[S]`; see `features`."""
        return self.projection(features(beat, has_beat, times).to(self.projection.weight.dtype))

    def tempo_logits(self, conditions: Conditions) -> Tensor:
        """Logits `[B, N]` of the tempi, from the mean of a caption's layer-normed vectors; without one, from zeros."""
        mask = (conditions.text_mask & conditions.has_text[:, None])[:, :, None]
        text = conditions.text.masked_fill(~mask, 0.0)
        mean = F.layer_norm(text, text.shape[-1:]).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
        return self.tempo(mean.to(self.tempo.weight.dtype))

    def tempo_nll(self, conditions: Conditions) -> Tensor:
        """Negative log-likelihood `[B]` in nats of the tempo nearest to each row's own, 0 for rows without a beat."""
        logits = self.tempo_logits(conditions).float()
        if conditions.beat is None:
            return logits.sum(dim=1) * 0.0
        bpm = conditions.beat[:, :1].masked_fill(~conditions.has_beat[:, None], MIDDLE_BPM)
        nearest = (bpm.log2() - TEMPI.to(bpm.device).log2()).abs().argmin(dim=1)
        return F.cross_entropy(logits, nearest, reduction="none") * conditions.has_beat
