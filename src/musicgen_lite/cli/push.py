"""`musicgen-lite push`."""

from musicgen_lite.cli.shared.dvc_remote import Remote, transfer


def push(remote: Remote = "") -> None:
    """Copy every result that was computed here to a DVC remote: a clone that pulls them computes none again."""
    transfer("push", remote)
