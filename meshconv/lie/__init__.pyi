from .likelihood import marginal_log_likelihood as marginal_log_likelihood
from .subgroup import ToroidalSubgroup as ToroidalSubgroup
from .von_mises import (
    CoupledVonMises as CoupledVonMises,
    VonMises as VonMises,
    bessel_ratio as bessel_ratio,
    log_i0 as log_i0,
)
