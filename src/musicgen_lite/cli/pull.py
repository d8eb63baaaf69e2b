"""`musicgen-lite pull`."""

from musicgen_lite.cli.shared.dvc_remote import Remote, transfer


def pull(remote: Remote = "") -> None:
    """Fetch every result from a DVC remote: what was computed elsewhere is restored instead of run."""
    transfer("pull", remote)
