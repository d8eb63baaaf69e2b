"""Embeddings that were computed before: kept in one file, so that a killed run goes on and a second one is quick."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.scoring.audio.embeddings import Embedder, versions

TABLE = "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, dim INTEGER NOT NULL, rows BLOB NOT NULL)"
WAIT_S = 60.0  # for another process that writes


class EmbeddingCache:
    """Embeddings by the samples, the embedder's fingerprint and the versions of what computes them, in a SQLite file.

    Each is there once it is computed, whatever happens to the process. Raises UserError naming a file that is no cache.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.found, self.computed = path, 0, 0
        self._versions = short_digest(versions())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
            self._database.execute(TABLE)
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from error

    def embed(self, embedder: Embedder, samples: np.ndarray, rate: int) -> np.ndarray:
        """`embedder.embed(samples, rate)`, `[W, D]` float32, computed at most once."""
        key = self._key(embedder, samples, rate)
        try:
            row = self._database.execute("SELECT dim, rows FROM embeddings WHERE key = ?", (key,)).fetchone()
            if row:
                self.found += 1
                return np.frombuffer(row[1], np.float32).reshape(-1, row[0])
            vectors = np.ascontiguousarray(embedder.embed(samples, rate), np.float32)
            self.computed += 1
            entry = key, vectors.shape[1], vectors.tobytes()
            self._database.execute("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", entry)
        except sqlite3.Error as error:
            raise self._error(error) from error
        return vectors

    def _key(self, embedder: Embedder, samples: np.ndarray, rate: int) -> str:
        digest = hashlib.sha256(f"{embedder.fingerprint}\0{self._versions}\0{rate}\0".encode())
        digest.update(np.ascontiguousarray(samples, np.float32).tobytes())
        return digest.hexdigest()

    def _error(self, error: Exception) -> UserError:
        return UserError(f"{self.path}: no cache of embeddings can be kept here ({error}); delete it, or name another")
