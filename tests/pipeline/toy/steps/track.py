"""Runs on every `dvc repro`: done in a moment where the row is there, written from files where it is not."""

from musicgen_lite import tracking
from musicgen_lite.params import TrackingParams

from .common import CURVES, MODEL, PARAMS, ROOT, RUN, SAMPLES, SCORE, digest, read

place, record, scoring = TrackingParams(**PARAMS["tracking"]), read(RUN), {"sample": PARAMS["sample"]}
key_parts = [digest(read(SAMPLES))]
row = tracking.find(place, ROOT, record, scoring, key_parts)
if row is None:
    import pandas as pd

    samples = read(SAMPLES)
    row = tracking.close(
        place,
        ROOT,
        record,
        curves=read(CURVES),
        scoring_params=scoring,
        key_parts=key_parts,
        metrics=read(SCORE),
        tables={"tables/prompts": pd.DataFrame({"prompt": ["techno"], "sample": [samples["audio"][:8]]})},
        audio={"audio/techno.flac": b"fLaC" + samples["audio"].encode()},
        images={},
        files={"model/model.bin": MODEL},
        tags={"note": "toy"},
    )
print(f"row: {row.name} {row.run_id} {'new' if row.created else ''}")
