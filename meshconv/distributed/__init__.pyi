from .graph import DistributedGraph as DistributedGraph
from .healpix import partition_healpix as partition_healpix
from .parts import (
    Partition as Partition,
    partition as partition,
)
from .send import (
    Traffic as Traffic,
    collect as collect,
    distribute as distribute,
    sum_gradients as sum_gradients,
    traffic as traffic,
)
from .watch import companions as companions
