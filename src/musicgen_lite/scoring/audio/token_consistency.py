"""Token consistency of a codec: encode, decode, encode again, and compare the tokens."""

import numpy as np
import pandas as pd
import torch

from musicgen_lite.codec import Codec
from musicgen_lite.io.progress import track
from musicgen_lite.scoring.audio.sets import ClipSet
from musicgen_lite.scoring.metrics import TOKEN_CONSISTENCY
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores


def token_consistency(clips: ClipSet, reconstruction: ClipSet, codec: Codec, bootstrap: Bootstrap) -> Scores:
    """The share of each clip's tokens that its reconstruction (`sets.reconstructed`) is encoded to again, frame by frame.

    Estimates: `token_consistency_reconstruction` over all codebooks, and with `_q1`, `_q2`, … of each. The table
    `token_consistency` has one row per clip.
    """
    rows = []
    for clip, samples, _ in track(clips, "encode again", len(clips), "clip"):
        codes = codec.encode(torch.from_numpy(samples)[None])
        again = codec.encode(torch.from_numpy(reconstruction.read(clip)[0])[None])
        equal = (codes == again)[0].double().mean(dim=1).cpu().numpy()
        rows.append({"id": clip, "all": equal.mean()} | {f"q{q + 1}": share for q, share in enumerate(equal)})
    table = pd.DataFrame(rows)
    scores = Scores(tables={TOKEN_CONSISTENCY.key: table})
    overall = TOKEN_CONSISTENCY.on_set.format("reconstruction")
    for column in table.columns.drop("id"):
        name = overall if column == "all" else f"{overall}_{column}"
        scores.add({name: intervals.mean(np.asarray(table[column]), bootstrap)})
    return scores
