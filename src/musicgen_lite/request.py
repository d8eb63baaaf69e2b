"""What can be asked of any model, checked before one is loaded."""

from dataclasses import dataclass

from musicgen_lite.errors import UserError

MAX_SECONDS = 300.0
MAX_CHARACTERS = 1000
MAX_CANDIDATES = 64
MAX_SEED = 2**48


@dataclass(frozen=True)
class Request:
    """One piece of music that is asked for; see `Generator.generate`."""

    prompt: str
    seconds: float = 10.0
    tempo: float | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise UserError naming what no model can generate; before one is loaded."""
        if not self.prompt.strip():
            raise UserError('prompt: it is empty; say what to play, such as "A fast techno beat with a synth lead."')
        if len(self.prompt) > MAX_CHARACTERS:
            raise UserError(f"prompt: {len(self.prompt)} characters; at most {MAX_CHARACTERS} are allowed")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise UserError(f"seconds: found {self.seconds:g}; above 0 and at most {MAX_SECONDS:g} are allowed")
        if not 0 <= self.seed < MAX_SEED:
            raise UserError(f"seed: found {self.seed}; 0 to 2**48 - 1 are allowed")
        if self.tempo is not None:
            from musicgen_lite.generation import check_tempo  # torch takes seconds to load

            check_tempo(self.tempo)


def check_candidates(candidates: int) -> None:
    """Raise UserError for a number of candidates that is not allowed."""
    if not 1 <= candidates <= MAX_CANDIDATES:
        raise UserError(f"candidates: found {candidates}; 1 to {MAX_CANDIDATES} are allowed")
