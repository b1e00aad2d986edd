"""Carries out the runs of an experiment: those that are not kept yet, in this process or in several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

import trimtab as tt
from trimtab import extras
from trimtab.lab.data import Data
from trimtab.lab.experiment import Experiment, Run, Runs
from trimtab.lab.progress import Progress, RunsBar, silent
from trimtab.lab.store import Key, Store


class Task(NamedTuple):
    """A run to do, and where to keep it."""

    run: Callable[..., dict[str, Any]]
    setting: Any
    cell: dict[str, Any]
    seed: int
    key: Key
    data: Data
    store: Store

    def do(self, progress: Progress = silent) -> Run:
        """Do the run and keep it."""
        began = perf_counter()
        result = self.run(self.setting, self.seed, self.data, progress, **self.cell)
        return self.store.write(self.key, self.cell, result, perf_counter() - began)

    def anywhere(self) -> Task:
        """Return the task with absolute paths: processes may have been started in another folder."""
        data, store = Data(self.data.folder.absolute()), Store(self.store.folder.absolute())
        return self._replace(data=data, store=store)

    def do_on(self, threads: int) -> tuple[str, Run]:
        """Do the run in a process that has a share of the CPUs; return its file and the run."""
        tt.set_num_threads(threads)
        return self.key.file, self.do()


def run_all(
    experiment: Experiment[Any], setting: Any, seeds: int, data: Data, store: Store, jobs: int = 1
) -> Runs:
    """Return the runs of every cell from every seed; those that are kept are not done again.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; the finished runs are kept.
    """
    tasks = []
    for cell in experiment.cells(setting):
        for seed in range(seeds):
            key = Key.of(experiment.name, setting, cell, seed)
            tasks.append(Task(experiment.run, setting, cell, seed, key, data, store))
    kept = {task.key.file: store.read(task.key, task.cell) for task in tasks}
    done = {file: run for file, run in kept.items() if run is not None}
    missing = [task for task in tasks if task.key.file not in done]
    with RunsBar(experiment.name, len(tasks), len(done)) as bar:
        for file, run in _do_in_processes(missing, jobs) if jobs > 1 else _do_here(missing, bar):
            done[file] = run
            bar.finish_run()
    return Runs([done[task.key.file] for task in tasks])


def _do_here(tasks: list[Task], progress: Progress) -> Iterator[tuple[str, Run]]:
    for task in tasks:
        yield task.key.file, task.do(progress)


def _do_in_processes(tasks: list[Task], jobs: int) -> Iterator[tuple[str, Run]]:
    """Yield the file and the run of each task as it is finished by one of several processes."""
    joblib = extras.load("joblib", "lab")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from pool(joblib.delayed(task.anywhere().do_on)(threads) for task in tasks)
