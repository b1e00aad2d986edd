"""What must be the same on all ranks."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.distributed.ranks import Alone


def require_equal(ranks: Alone, function: str, facts: Mapping[str, str]) -> None:
    """Raise the same ValueError on all ranks unless facts, by the name of an argument, are equal on all.

    Parameters
    ----------
    ranks : Alone or Ranks
    function : str
        Errors begin with its name.
    facts : mapping of str to str
    """
    first, *others = ranks.share(dict(facts))
    for rank, own in enumerate(others, start=1):
        for name in [*first, *own]:
            there, here = first.get(name, "none"), own.get(name, "none")
            if there != here:
                raise ValueError(
                    f"{function}: {name} must be the same on all ranks, "
                    f"got {there} on rank 0 and {here} on rank {rank}"
                )
