"""`convert_sync_batchnorm`: batch norms of a whole model see all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from trimtab.distributed.ranks import ranks_of


class _Model(Protocol):
    def modules(self) -> Iterator[tuple[str, Any]]: ...


Model = TypeVar("Model", bound=_Model)


def convert_sync_batchnorm(model: Model, comm: Any) -> Model:
    """Let all batch norms of a model take their statistics over the batches of all ranks; return the model.

    It sets `nn.BatchNorm.comm` of each, in place. A `Trainer` with ``comm`` does not need it.

    Parameters
    ----------
    model : Module
        The same on all ranks.
    comm : mpi4py.MPI.Intracomm or None
        None: each rank by itself.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    TypeError, ValueError
        If `comm` is no communicator, or a batch norm cannot be synchronized: one with `virtual_batch_size` or
        `renorm`. Nothing has been changed then.

    Examples
    --------
    >>> from trimtab import distributed, nn
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm(8))
    >>> distributed.convert_sync_batchnorm(model, distributed.world())  # doctest: +SKIP
    """
    ranks = None if comm is None else ranks_of("convert_sync_batchnorm: comm", comm)
    norms = [module for _, module in model.modules() if hasattr(module, "require_synchronizable")]
    if ranks is not None:
        for norm in norms:
            norm.require_synchronizable()
    for norm in norms:
        norm.comm = ranks
    return model
