from .export import (
    Export as Export,
    export_network as export_network,
)
from .files import open_program as open_program
from .preprocess import (
    Prepared as Prepared,
    Preprocess as Preprocess,
)
