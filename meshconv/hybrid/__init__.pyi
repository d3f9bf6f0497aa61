from .egnn import (
    EGNN as EGNN,
    charged_bodies as charged_bodies,
    fully_connected as fully_connected,
)
from .enhanced import EnhancedBeliefPropagation as EnhancedBeliefPropagation
from .factor_graph import (
    FactorGraph as FactorGraph,
    belief_propagation as belief_propagation,
    mean_field as mean_field,
)
from .field import (
    FieldModel as FieldModel,
    HybridField as HybridField,
)
from .gauss_markov import (
    GaussMarkovModel as GaussMarkovModel,
    lorenz_generator as lorenz_generator,
    taylor_transition as taylor_transition,
)
from .ising import (
    ising_grid as ising_grid,
    ising_marginals as ising_marginals,
)
from .kriging import Kriging as Kriging
from .matern import (
    matern_precision as matern_precision,
    sphere_covariance as sphere_covariance,
)
from .potts import PottsLayer as PottsLayer
from .smoother import HybridSmoother as HybridSmoother
from .transport import (
    AdvectionDiffusion as AdvectionDiffusion,
    SpaceTimePrior as SpaceTimePrior,
)
