"""One file for each experiment, which defines ``EXPERIMENT``; `trimtab.lab.registry` finds it by itself."""
