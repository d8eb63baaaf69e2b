"""Put on PYTHONPATH, writes what a process imported of the project, a file a process, into the folder RECORDED_IMPORTS."""

import atexit
import os
import sys
from pathlib import Path


def _record() -> None:
    folder = os.environ.get("RECORDED_IMPORTS")
    main = getattr(sys.modules["__main__"], "__spec__", None)
    if not folder or main is None or not main.name.startswith("stages."):
        return
    files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if _ours(name)]
    lines = sorted({os.path.relpath(file, Path.cwd()) for file in [*files, main.origin] if file})
    Path(folder, f"{main.name.removeprefix('stages.')}.{os.getpid()}").write_text("\n".join(lines))


def _ours(name: str) -> bool:
    return name.split(".")[0] in ("musicgen_lite", "stages")


atexit.register(_record)
