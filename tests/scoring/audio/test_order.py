"""The shipped embedders on composed music: every kind of damage moves every distance the way it must."""

import numpy as np
import pytest
import torch

from musicgen_lite import codec
from musicgen_lite.clap import load as load_clap
from musicgen_lite.scoring.audio import fad, kad
from musicgen_lite.scoring.audio.distances import noise_like
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.embeddings import Embeddings, embed
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.sources import synthetic

SEED, CLIPS, SECONDS, RATE = 91_000_000, 24, 3.0, 16000  # seeds of no training clip
LEVELS = (40, 20, 10, 0)


@pytest.fixture(scope="module")
def spaces() -> dict[str, dict[str, Embeddings]]:
    """Embedder → set → embeddings: a reference, and other clips clean, through the codec, and with more and more noise."""
    decoder = codec.load("embedded", num_codebooks=4)
    embedders = Embedders(load_clap("embedded"), decoder).spaces
    waves = [synthetic.clip(SEED + i, "test", SECONDS).samples for i in range(2 * CLIPS)]
    clean, noise = waves[CLIPS:], [noise_like(wave, i) for i, wave in enumerate(waves[CLIPS:])]
    with torch.inference_mode():
        coded = [decoder.decode(decoder.encode(torch.from_numpy(wave)[None]))[0].numpy() for wave in clean]
    sets = {"reference": waves[:CLIPS], "clean": clean, "codec": [wave[: len(clean[0])] for wave in coded]}
    for db in LEVELS:
        gain = np.float32(10 ** (-db / 20))
        sets[f"{db} dB"] = [wave + gain * hiss for wave, hiss in zip(clean, noise, strict=True)]
    found: dict[str, dict[str, Embeddings]] = {embedder.name: {} for embedder in embedders}
    for name, given in sets.items():
        for space, one in embed(((f"c{i}", w, RATE) for i, w in enumerate(given)), embedders, name).items():
            found[space][name] = one
    return found


@pytest.mark.slow
@pytest.mark.parametrize("space", ["clap", "codec", "mel"])
def test_noise_raises_the_distance_in_the_order_of_its_level(
    spaces: dict[str, dict[str, Embeddings]], space: str
) -> None:
    given = {name: one.clips for name, one in spaces[space].items()}
    reference, noisy = given["reference"], [given[f"{db} dB"] for db in LEVELS]
    fads = [fad.distance(reference.moments(), one.moments()) for one in noisy]
    kads = list(kad.distances(reference, noisy, Bootstrap(1))[0])
    assert fads == sorted(fads)
    assert kads == sorted(kads)
    # At 40 dB the noise is hardly audible, and so few clips cannot show it; at 20 dB they do.
    clean = fad.distance(reference.moments(), given["clean"].moments())
    assert fads[1] > 1.2 * clean
    assert fads[0] == pytest.approx(clean, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("space", ["clap", "codec", "mel"])
def test_the_codec_takes_less_away_than_noise_at_10_db(spaces: dict[str, dict[str, Embeddings]], space: str) -> None:
    clean = spaces[space]["clean"].clips.moments()
    to_codec, to_noisy = (fad.distance(clean, spaces[space][name].clips.moments()) for name in ("codec", "10 dB"))
    assert 0 < to_codec < to_noisy / 2
