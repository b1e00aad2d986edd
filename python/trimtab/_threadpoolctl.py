"""Our threads as threadpoolctl sees and limits them. Loaded only where threadpoolctl is."""

from threadpoolctl import LibController, register  # type: ignore[import-untyped]

import trimtab


class NoLimit(int):
    """How many threads there are while no limit is set. To set it again takes the limit away."""


class TrimtabController(LibController):  # type: ignore[misc]
    """One of the OpenMP libraries: a limit for these is meant for whoever spreads loops over threads."""

    user_api = "openmp"
    internal_api = "trimtab"
    filename_prefixes = ("_core",)
    check_symbols = ("trimtab_get_thread_limit", "trimtab_set_thread_limit")

    def get_num_threads(self) -> int:
        return self.dynlib.trimtab_get_thread_limit() or NoLimit(trimtab.get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        limited = num_threads is not None and not isinstance(num_threads, NoLimit)
        self.dynlib.trimtab_set_thread_limit(num_threads if limited else 0)

    def get_version(self) -> str:
        return trimtab.__version__


register(TrimtabController)
