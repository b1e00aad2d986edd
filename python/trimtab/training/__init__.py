"""The parts of `trimtab.Trainer`, in the order in which a fit uses them.

====================  ===========================================================
module                contents
====================  ===========================================================
``plan``              the plan of a fit, checked before anything is changed
``parts``             checks that model, optimizer and callbacks go together
``start``             the start of a fit, undone by an error until training has begun
``split``             the split into samples to train on and to hold out
``class_weights``     weights of classes, as weights of samples
``source``            where a fit takes the batches of an epoch from
``augmentation``      augmented batches
``interrupts``        Ctrl-C
``modes``             the modes of the layers
``agreement``         what several ranks or shards need
``loop``              the loop over epochs and batches
``gradients``         the gradients of a batch
``shared_gradients``  those of a batch that several ranks share
``sharded_gradients`` those of a batch in a fixed number of shards
``accumulation``      the mean of the gradients of several batches
``evaluation``        the loss and the metrics of a model
``prediction``        the output of a model for samples
``undo``              the way back from an error
``position``          the position of a training, from which it can be resumed
``history``           `History`: the metrics of each epoch
``saving``            saving a training, and reading it back
``checkpoint_file``   the file format of checkpoints
``protocol``          what these modules see of a trainer
====================  ===========================================================
"""
