from .likelihood import marginal_log_likelihood as marginal_log_likelihood
from .patches import (
    disc_mask as disc_mask,
    noise_images as noise_images,
    turned_pairs as turned_pairs,
)
from .rings import ring_samples as ring_samples
from .subgroup import ToroidalSubgroup as ToroidalSubgroup
from .suggest import (
    principal_columns as principal_columns,
    ring_pairs as ring_pairs,
    suggest_type as suggest_type,
)
from .von_mises import (
    CoupledVonMises as CoupledVonMises,
    VonMises as VonMises,
    bessel_ratio as bessel_ratio,
    log_i0 as log_i0,
)
