"""The name of `trimtab.early_stopping_theory` up to version 0.1."""

from trimtab.early_stopping_theory import descend, descend_exactly, step_sizes, stopping_time

__all__ = ["descend", "descend_exactly", "step_sizes", "stopping_time"]
