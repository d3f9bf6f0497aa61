from .gauss_markov import (
    GaussMarkovModel as GaussMarkovModel,
    lorenz_generator as lorenz_generator,
    taylor_transition as taylor_transition,
)
from .smoother import HybridSmoother as HybridSmoother
