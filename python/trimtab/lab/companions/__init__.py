"""Exact companions: short computations whose results mathematics knows in advance."""

from trimtab.lab.companions import descending, dropping, normalizing, regularization
from trimtab.lab.companions.companion import Companion

TOPICS = regularization, dropping, normalizing, descending
COMPANIONS: dict[str, Companion] = {
    name: found for topic in TOPICS for name, found in vars(topic).items() if isinstance(found, Companion)
}
