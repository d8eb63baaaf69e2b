"""The notes name the CLAP checkpoints that a score comes from."""

from musicgen_lite.clap import load as load_clap
from musicgen_lite.scoring.audio.embedders import origins


def test_notes_name_the_models_and_what_tells_them_apart() -> None:
    clap, judge = load_clap("embedded"), load_clap("judge")
    notes = origins(clap, judge)
    shipped = {"backend": "transformers", "revision": "", "sha256": ""}
    assert notes["clap_origin"] == {**shipped, "name": "embedded", "fingerprint": clap.fingerprint}
    assert notes["judge_origin"] == {**shipped, "name": "judge", "fingerprint": judge.fingerprint}
    assert set(origins(clap)) == {"clap_origin"}
