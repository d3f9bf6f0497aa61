"""One surface over many processes: parts with halos, on which layers and networks run as they are.

Each process has the points of its part, and of the others' points those that its edges start at, the halo. Layers ask
the graph for features of both (:meth:`GaugeGraph.spread <meshconv.GaugeGraph.spread>`): that is one exchange between
the processes (``torch.distributed``), and its derivative the exchange back. Norms, pools and contexts are reduced over
all processes.

A program is the same for every process (``torchrun --nproc-per-node 2 program.py``)::

    torch.distributed.init_process_group("gloo")
    with distributed.companions():
        part = distributed.partition_healpix(HealpixSphere(512), 4, world)[rank].to(torch.float32)
        x, target = x[part.finest.index], target[part.finest.index]
        loss = (network(x, part) - target).square().sum() / (12 * 512**2)   # this process' share of the mean
        loss.backward()
        distributed.sum_gradients(network)
        optimiser.step()

Each process starts with the same parameters (the same seed, or a checkpoint), and its loss is its share of the loss
of the whole: sums over its own points, over the number of all of them. A loss of what all processes have (outputs of
pools over the whole surface) is divided by the number of processes. Gradients are sums over processes:
:func:`sum_gradients`; or ``DistributedDataParallel``, which takes means, with losses multiplied by the number of
processes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
