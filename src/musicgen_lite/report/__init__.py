"""What people look at: pictures, the listening page, and the summary in the terminal."""

from musicgen_lite.errors import require

require("matplotlib", extra="pipeline", purpose="a page or a comparison")
