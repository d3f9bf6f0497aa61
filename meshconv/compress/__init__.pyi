from .checkpoint import (
    Pruning as Pruning,
    compress_checkpoint as compress_checkpoint,
    save as save,
)
from .gates import (
    Gate as Gate,
    HardConcrete as HardConcrete,
    NormalJeffreys as NormalJeffreys,
    Sparsity as Sparsity,
    add_gates as add_gates,
    gates_of as gates_of,
)
from .measure import (
    Measures as Measures,
    measure as measure,
    table as table,
)
from .prune import (
    magnitude_masks as magnitude_masks,
    prune as prune,
    prune_network as prune_network,
)
from .quantise import (
    equalise as equalise,
    quantise as quantise,
)
