"""Finished runs as `tracking.read` gives them, with values that can be checked by hand."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from musicgen_lite.report import mp3
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.tracking import Result
from tests.report.conftest import CAPTION, RATE, tone

IDS = tuple(f"clip-{number}" for number in range(8))
# Ends a script element where it is not escaped.
TRICKY = f"{CAPTION} </script><script>document.title = 'broken'</script>"


def nll_table(shift: float = 0.0) -> pd.DataFrame:
    frames = np.arange(100, 180, 10)
    own = 5 + 0.1 * np.sin(np.arange(8)) + shift
    return pd.DataFrame({"id": IDS, "frames": frames, "caption": own, "shuffled": own + 0.05})


def clap_table(shift: float = 0.0) -> pd.DataFrame:
    own = 0.5 + 0.2 * np.cos(np.arange(8)) + shift
    return pd.DataFrame({"id": IDS, "own": own, "shuffled": own - 0.3, "rank": [1, 2, 11, 3, 12, 1, 1, 1],
                         "candidate_0": own, "candidate_1": own - 0.1})  # fmt: skip


def signals_table() -> pd.DataFrame:
    """Three clips state a tempo, one of them keeps it; two clips state a key, one of them keeps it."""
    stated = [120.0, None, 90.0, None, None, 100.0, None, None]
    hit = [True, False, False, False, False, False, False, False]
    return pd.DataFrame({"id": IDS, "stated_bpm": stated, "tempo_hit": hit, "tempo_hit_octaves": hit,
                         "pulse": np.linspace(0.1, 0.8, 8), "pulse_stated": [0.4 if one else None for one in stated],
                         "stated_key": ["C major", "E minor", *[None] * 6], "key_hit": [True, *[False] * 7],
                         "silent": False, "clipped": 0.0})  # fmt: skip


def draws(shift: float) -> pd.DataFrame:
    """Resamples of FAD that move with the shift."""
    return pd.DataFrame({"clap_fad_generated": 0.3 + 0.05 * np.sin(np.arange(40)) + shift * np.linspace(0.5, 1.5, 40)})


def sounds(hz: float) -> pd.DataFrame:
    """One fixed and three test prompts; the real clips are the same for every run, what is generated is not."""
    rows = []
    for number, prompt in enumerate(("fixed-0", *IDS[:3])):
        fixed = number == 0
        made = mp3.encode(tone(hz + 20 * number, 1.0) * 10 ** (-number / 4), RATE)
        same = {"prompt": prompt, "caption": TRICKY if number == 1 else f"Caption {number}.", "fixed": fixed}
        rows.append({**same, "kind": "generated", "sound": made})
        if not fixed:
            real = mp3.encode(tone(300 + number, 1.0), RATE)
            rows += [{**same, "kind": "real", "sound": real}, {**same, "kind": "codec", "sound": real}]
    return pd.DataFrame(rows)


def result(name: str, shift: float = 0.0, **changes: Any) -> Result:
    """A run of model A whose NLL and CLAP are `shift` above those of the unshifted one, prompt by prompt."""
    tables = {"nll": nll_table(shift), "clap": clap_table(shift), "signals": signals_table()}
    nll, clap = tables["nll"], tables["clap"]
    estimates = {
        "nll_caption": intervals.ratio(nll["caption"] * nll["frames"], nll["frames"], Bootstrap(200)),
        "nll_caption_q1": intervals.mean(nll["caption"], Bootstrap(200)),
        "clap": intervals.mean(clap["own"], Bootstrap(200)),
        "clap_fad_generated": intervals.Estimate(0.3 + shift, 0.1, 0.5 + abs(shift), 8, "centred"),
        "tempo": intervals.proportion(1, 3),
        "pulse": intervals.Estimate(0.45, 0.3, 0.6, 8, "bootstrap percentile"),
        "pulse_stated": intervals.Estimate(0.4, 0.3, 0.5, 3, "bootstrap percentile"),
        "key": intervals.proportion(1, 2),
        "newcomer": intervals.Estimate(7.0, 6.0, 8.0, 8, "some metric that the registry does not know"),
    }
    as_dicts = {key: estimate.as_dict() for key, estimate in estimates.items()}
    space = {"fingerprint": "ab", "reference": {"digest": "ref"}, "sets": {"real": {"digest": "real"}}}
    scores = {
        "nll": {"estimates": as_dicts, "columns": {"nll": "nll_caption", "nll_q1": "nll_caption_q1"},
                "notes": {"codec": "c0dec", "nll": {"digest": "codes"}}},
        "reference": {"estimates": {}, "columns": {}, "notes": {}},
        "audio": {"estimates": as_dicts,
                  "columns": {"clap": "clap", "fad": "clap_fad_generated", "newcomer": "newcomer"}
                  | {name: name for name in ("tempo", "pulse", "pulse_stated", "key")},
                  "notes": {"clap": space, "clap_model": {"fingerprint": "ab"},
                            "signals": {"tempo_estimate": "that of today"}}},
    }  # fmt: skip
    curves = tuple(
        {"step": float(step), "train_loss": 6 - step / 50, "val_loss": 6 - step / 60} for step in (1, 20, 40)
    )
    given: dict[str, Any] = {
        "run_id": f"{abs(hash(name)):032x}"[:32], "name": name, "started": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "params": {"model.type": "a", "model.pattern": "delay", "seed": "0"}, "tags": {}, "metrics": {"parameters": 1234.0},
        "scores": scores, "tables": tables, "draws": draws(shift), "curves": curves, "sounds": sounds(180 + 100 * abs(shift)),
    }  # fmt: skip
    return Result(**{**given, **changes})
