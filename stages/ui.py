"""`make ui`: MLflow, opened at the comparison of all results."""

from musicgen_lite import tracking
from musicgen_lite.params import Params
from stages.common import root, run


def main(params: Params) -> None:
    tracking.ui(params.tracking, root())


if __name__ == "__main__":
    run(main)
