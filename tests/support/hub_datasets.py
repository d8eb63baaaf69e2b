"""Small local data sets in the layouts that the `datasets` library reads, and the tones in them."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

RATE = 8000
COUNT = 40


def wav(number: int, seconds: float = 2.6) -> bytes:
    """A tone of another pitch for each number."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * time_s), RATE, format="WAV")
    return buffer.getvalue()


def parquet(folder: Path, rows: list[dict[str, Any]], split: str = "train", typed: bool = True) -> Path:
    """A Parquet file of a split; `typed` says in its metadata that the column audio is audio, as the hub's files do."""
    folder.mkdir(parents=True, exist_ok=True)
    features = {name: {"_type": "Value", "dtype": "string"} for name in rows[0]} | {"audio": {"_type": "Audio"}}
    table = pa.Table.from_pylist(rows)
    if typed:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / f"{split}-00000.parquet")
    return folder


def rows(first: int = 0, count: int = COUNT) -> list[dict[str, Any]]:
    return [
        {"audio": {"bytes": wav(number), "path": f"{number}.wav"}, "text": f"Caption {number}."}
        for number in range(first, first + count)
    ]


def audiofolder(folder: Path) -> Path:
    train = folder / "train"
    train.mkdir(parents=True)
    for number in range(COUNT):
        (train / f"{number}.wav").write_bytes(wav(number))
    lines = "".join(f"{number}.wav,Caption {number}.\n" for number in range(COUNT))
    (train / "metadata.csv").write_text("file_name,text\n" + lines)
    return folder


def webdataset(folder: Path) -> Path:
    """Two tars; each sample is a wav with its caption as text and within JSON."""
    folder.mkdir(parents=True)
    for shard in range(2):
        with tarfile.open(folder / f"train-{shard:03d}.tar", "w") as tar:
            for number in range(shard * COUNT // 2, (shard + 1) * COUNT // 2):
                caption = f"Caption {number}."
                for ending, data in (
                    ("wav", wav(number)), ("txt", caption.encode()), ("json", json.dumps({"caption": caption}).encode()),
                ):  # fmt: skip
                    member = tarfile.TarInfo(f"{number:04d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return folder
