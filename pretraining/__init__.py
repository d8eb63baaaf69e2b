"""Training of the small models that the project ships. Importing this package puts the tree's own `src` first on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
