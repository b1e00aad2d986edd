"""Every operation of the library in float64 NumPy: the specification that tests and benchmarks compare with.

Formulas come first, speed last. Names, arguments and results are those of the library. Inputs may have any
float dtype; results are float64.

Notation: ``xhat = (x - mean) * rstd``, ``rstd = 1 / sqrt(var + eps)``, ``dy`` the gradient of the loss with
respect to ``y``. Sizes: C channels, G groups, N samples, m values for each statistic.
"""

# ruff: noqa: F403

from reference.activation import *
from reference.adam import *
from reference.avg_pool import *
from reference.axes import *
from reference.batch_norm import *
from reference.batch_renorm import *
from reference.convolution import *
from reference.dropout import *
from reference.group_norm import *
from reference.layer_norm import *
from reference.losses import *
from reference.max_pool import *
from reference.moments import *
from reference.parameter_update import *
from reference.random_stream import *
from reference.rms_norm import *
from reference.sgd import *
from reference.softmax import *
from reference.whitening import *
