"""Callbacks: objects whose hooks a trainer calls while it trains.

====================  =========================================================
module                contents
====================  =========================================================
``base``              `Callback`: the hooks
``protocol``          `TrainerLike`: what callbacks see of a trainer
``dispatch``          the calls of the hooks of all callbacks
``early_stopping``    `EarlyStopping`
``checkpoint``        `Checkpoint`
``csv_logger``        `CSVLogger`
``tensorboard``       `TensorBoard`
``learning_rate``     `LearningRateLogger`
``reduce_lr``         `ReduceLROnPlateau`
``stop_on_nan``       `StopOnNaN`
``weight_average``    `WeightAverage`
``progress``          `ProgressBar`
``monitor``           `Monitor`: the best value of a metric so far
====================  =========================================================

A learning-rate schedule is not a callback: it is the ``lr`` of the optimizer, see `trimtab.optim.schedules`.
"""

from trimtab.callbacks.base import Callback
from trimtab.callbacks.checkpoint import Checkpoint
from trimtab.callbacks.csv_logger import CSVLogger
from trimtab.callbacks.early_stopping import EarlyStopping
from trimtab.callbacks.learning_rate import LearningRateLogger
from trimtab.callbacks.monitor import Monitor
from trimtab.callbacks.progress import ProgressBar
from trimtab.callbacks.protocol import TrainerLike
from trimtab.callbacks.reduce_lr import ReduceLROnPlateau
from trimtab.callbacks.stop_on_nan import StopOnNaN
from trimtab.callbacks.tensorboard import TensorBoard
from trimtab.callbacks.weight_average import WeightAverage

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "LearningRateLogger",
    "Monitor",
    "ProgressBar",
    "ReduceLROnPlateau",
    "StopOnNaN",
    "TensorBoard",
    "TrainerLike",
    "WeightAverage",
]
