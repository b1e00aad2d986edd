"""How a trainer trains.

====================  =========================================================
module                contents
====================  =========================================================
``plan``              what a fit is going to do, checked before anything changes
``loop``              epochs and batches
``batches``           the data: read, paired, cut into batches
``position``          where a training stands
``saving``            saving a training, and going on with it
``surroundings``      modes, interrupts, the way back from an error
``history``           `History`: what is reported
====================  =========================================================
"""
