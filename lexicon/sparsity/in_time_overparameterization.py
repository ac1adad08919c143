"""In-time overparameterization asks how many connections a sparse network has tried so far.

At any moment a sparse network has few connections, but one that is rewired has had many. The
exploration rate is the share of all positions that ever existed, each counted once:

    R = |P₀ ∪ P₁ ∪ … ∪ P_T| / (out · in)

The conjecture: what dense training gains from having all weights at once, sparse training can gain
from trying them one after the other, if each is trained long enough before it is judged. Under
random growth the rate is predictable, whatever is dropped. With F = out · in - nnz free positions,
of which every rewiring fills n, a position never tried is missed with probability 1 - n/F, so

    E[R] = 1 - (1 - nnz / (out · in)) (1 - n/F)ᵀ     after T rewirings

The set is kept as sorted int64 numbers, or as one bit a position once that takes less memory: from
a rate of 1/64 on. Nothing dense is held before.

References
----------
Liu, S., Yin, L., Mocanu, D., Pechenizkiy, M. (2021). Do we actually need dense
    over-parameterization? In-time over-parameterization in sparse training. ICML.
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
"""

import numpy as np

from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.sparsity.csr_layer import CSRLinear

__all__ = ["Explored", "expected_rate"]


class Explored:
    """Keep the union of all positions that a network's CSR layers have had.

    It begins empty. Call `update` where connections have been trained, that is right before each
    rewiring and once at the end: what is counted then has really been tried.

    Parameters
    ----------
    network : Sequential
        Its `CSRLinear` layers are watched, those of a `Sequential` inside it too.

    Raises
    ------
    ValueError
        If there is no such layer.
    """

    def __init__(self, network: Sequential) -> None:
        self._layers = {
            f"{name}.weight": layer
            for name, layer in named_layers(network)
            if isinstance(layer, CSRLinear)
        }
        if not self._layers:
            raise ValueError("network must hold at least one CSRLinear")
        self._seen = {name: np.empty(0, np.int64) for name in self._layers}

    def update(self) -> None:
        """Count the positions that exist now; those counted before change nothing."""
        for name, layer in self._layers.items():
            seen, now = self._seen[name], layer.positions
            if seen.dtype == np.int64:
                seen = np.union1d(seen, now)
                bytes_as_bits = (_size(layer) + 7) // 8
                if seen.nbytes > bytes_as_bits:
                    seen, now = np.zeros(bytes_as_bits, np.uint8), seen
            if seen.dtype == np.uint8:
                # Not seen[...] |= ...: of two positions in one byte it would mark only the last.
                np.bitwise_or.at(seen, now >> 3, np.uint8(1) << (now & 7).astype(np.uint8))
            self._seen[name] = seen

    def rates(self) -> dict[str, float]:
        """Return the share of each layer's positions that have been counted.

        Returns
        -------
        dict of str to float
            In [0, 1], by the weight's name in ``network.params``.
        """
        return {name: self._count(name) / _size(layer) for name, layer in self._layers.items()}

    @property
    def rate(self) -> float:
        """Return the share of all layers' positions together, in [0, 1]."""
        sizes = sum(_size(layer) for layer in self._layers.values())
        return sum(self._count(name) for name in self._layers) / sizes

    @property
    def nbytes(self) -> int:
        """Return the bytes that the sets take: 8 a counted position, or 1/8 for every one."""
        return sum(seen.nbytes for seen in self._seen.values())

    def _count(self, name: str) -> int:
        seen = self._seen[name]
        return len(seen) if seen.dtype == np.int64 else int(np.bitwise_count(seen).sum())


def expected_rate(size: int, connections: int, *, fraction: float, rewirings: int) -> float:
    """Return the exploration rate to expect of a layer under random growth.

    Parameters
    ----------
    size : int
        Positions of the layer, out · in, at least 1.
    connections : int
        How many exist at a time, 0 to `size`.
    fraction : float
        ζ, the share of connections that each rewiring moves, in [0, 1].
    rewirings : int
        T, how many rewirings there were, 0 or above.

    Returns
    -------
    float
        The mean over all draws, in [0, 1]; which connections are dropped does not matter.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if not size >= 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not 0 <= connections <= size:
        raise ValueError(f"connections must be 0 to {size}, got {connections}")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be in [0, 1], got {fraction}")
    if not rewirings >= 0:
        raise ValueError(f"rewirings must be 0 or above, got {rewirings}")
    free = size - connections
    if free == 0:
        return 1.0
    grown = min(round(fraction * connections), free)
    return 1 - free / size * (1 - grown / free) ** rewirings


def _size(layer: CSRLinear) -> int:
    n_out, n_in = layer.weight.shape
    return n_out * n_in
