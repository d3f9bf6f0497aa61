from .calibrated import (
    load_calibrated as load_calibrated,
    save_calibrated as save_calibrated,
)
from .calibration import (
    Calibration as Calibration,
    calibrate as calibrate,
    evaluate as evaluate,
    uncertain as uncertain,
)
from .conformal import (
    conformal_threshold as conformal_threshold,
    prediction_sets as prediction_sets,
)
from .dropout import (
    DroppedFields as DroppedFields,
    MonteCarloDropout as MonteCarloDropout,
)
from .last_layer import laplace as laplace
from .measures import (
    brier_score as brier_score,
    calibration_error as calibration_error,
    entropy as entropy,
    rejection_curve as rejection_curve,
)
from .predict import UncertainPredictor as UncertainPredictor
from .sampled import (
    Ensemble as Ensemble,
    LastLayers as LastLayers,
    Sampled as Sampled,
)
from .temperature import (
    fit_noise as fit_noise,
    fit_temperature as fit_temperature,
)
