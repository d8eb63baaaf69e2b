"""What a second pass through the codec keeps: encode, decode, encode again, and compare the codes."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch

from musicgen_lite.codec import Codec
from musicgen_lite.io.progress import track
from musicgen_lite.scoring.audio.embeddings import Item
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.scores import Scores

NAME = "codes_kept"


def codes_kept(clips: Iterable[Item], codec: Codec, bootstrap: int, seed: int) -> Scores:
    """The share of each clip's codes that its reconstruction is encoded to again, frame by frame.

    Estimates: `codes_kept_reconstruction` over all codebooks, and with `_q1`, `_q2`, … of each. The table `codes_kept` has
    a row a clip.
    """
    rows = []
    for clip, samples, _ in track(clips, "encode again", unit="clip"):
        wave = torch.from_numpy(samples)[None]
        codes = codec.encode(wave)
        again = codec.encode(codec.decode(codes)[:, : len(samples)])
        kept = (codes == again)[0].double().mean(dim=1).cpu().numpy()
        rows.append({"id": clip, "all": kept.mean()} | {f"q{q + 1}": share for q, share in enumerate(kept)})
    table = pd.DataFrame(rows)
    scores = Scores(tables={NAME: table})
    for column in table.columns.drop("id"):
        name = f"{NAME}_reconstruction{'' if column == 'all' else f'_{column}'}"
        scores.add({name: intervals.mean(np.asarray(table[column]), bootstrap, seed)})
    return scores
