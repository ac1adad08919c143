"""k-winners-take-all keeps the k largest activations of each sample and silences the rest.

Where ReLU asks whether a neuron is above zero, k-WTA asks whether it is among the k best of its
layer: activity is exactly k/n for every sample, whatever the weights do. The winners pass
unchanged, and only they learn:

    yₙᵢ  = xₙᵢ   if xₙᵢ is among the k largest of sample n, else 0
    dxₙᵢ = dyₙᵢ  for those winners, else 0

Ties go to the neuron that comes first. Duty cycles that let every neuron win now and then
(boosting) are left out.

References
----------
Majani, E., Erlanson, R., Abu-Mostafa, Y. (1988). On the k-winners-take-all network. NeurIPS.
Makhzani, A., Frey, B. (2014). k-sparse autoencoders. ICLR.
Ahmad, S., Scheinkman, L. (2019). How can we be so dense? The benefits of using highly sparse
    representations. arXiv:1903.11257.
"""

import numpy as np

from lexicon.sparsity.mask import top_k

__all__ = ["KWinnersTakeAll"]


class KWinnersTakeAll:
    """Keep the k largest activations of every sample.

    Parameters
    ----------
    k : int
        How many neurons of the layer may speak, at least 1.

    Attributes
    ----------
    params, grads : dict
        Empty: there is nothing to train.

    Raises
    ------
    TypeError
        If `k` is not an integer.
    ValueError
        If `k` is below 1.
    """

    def __init__(self, k: int) -> None:
        if not isinstance(k, int | np.integer):
            raise TypeError(f"k must be an integer, got {k!r}")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self._kept: tuple[np.ndarray, np.dtype] | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Silence all but each sample's winners.

        Parameters
        ----------
        x : ndarray, shape (N, n)
            Activations, floating point, n at least k.

        Returns
        -------
        ndarray, shape (N, n)
            The winners' values, zero elsewhere.

        Raises
        ------
        TypeError
            If `x` is not floating point.
        ValueError
            If `x` is not a batch, n is smaller than k, or a value is NaN.
        """
        if not np.issubdtype(x.dtype, np.floating):
            raise TypeError(f"x must be floating point, got {x.dtype}")
        if x.ndim != 2 or len(x) == 0:
            raise ValueError(f"x must be (N ≥ 1, n), got {x.shape}")
        winners = top_k(x, self.k)
        self._kept = winners, x.dtype
        return np.where(winners, x, x.dtype.type(0))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Pass the gradient to the winners only.

        Parameters
        ----------
        dy : ndarray, shape (N, n)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, n)
            The same at the winners, zero elsewhere.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is of another type than the last input.
        ValueError
            If the shape is another.
        """
        if self._kept is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        winners, dtype = self._kept
        if dy.dtype != dtype:
            raise TypeError(f"dy must be {dtype} like the input, got {dy.dtype}")
        if dy.shape != winners.shape:
            raise ValueError(f"dy must be {winners.shape}, got {dy.shape}")
        self._kept = None
        return np.where(winners, dy, dy.dtype.type(0))
