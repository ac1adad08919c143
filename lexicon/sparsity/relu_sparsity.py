"""ReLU sparsity is the zeros that activations already have, and a product that skips them.

ReLU turns about half of its inputs into zeros at the start, more or fewer once trained. A dense
product multiplies them all the same. Stored as CSR, the batch x holds nnz of N · in numbers, and
each of the layer's three products can be a sum over these:

    y  = x Wᵀ + b                      2·nnz·out FLOPs instead of 2·N·in·out
    dW = dyᵀ x, db = Σₙ dyₙ            2·nnz·out
    dxₙⱼ = Σᵢ dyₙᵢ Wᵢⱼ, (n, j) stored  2·nnz·out: the `sampled_gradient`, with its limit

The last line leaves out what the activation before would multiply by zero anyway, so it is right
only behind one that passes no gradient where it returned zero: ReLU, k-winners-take-all. An entry
takes 8 bytes, a float32 of a dense batch 4; and the zeros have to be found first. Skipping whole
neurons or samples is left out.

References
----------
Glorot, X., Bordes, A., Bengio, Y. (2011). Deep sparse rectifier neural networks. AISTATS.
Maas, A., Hannun, A., Ng, A. (2013). Rectifier nonlinearities improve neural network acoustic
    models. ICML.
Ahmad, S., Scheinkman, L. (2019). How can we be so dense? The benefits of using highly sparse
    representations. arXiv:1903.11257.
"""

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.forward_pass import Sequential, trace_inputs
from lexicon.foundations.linear_layer import Linear, check_batch
from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = [
    "SparseInputLinear",
    "dead_neurons",
    "input_densities",
    "product_flops",
    "sparse_input_product",
]


def sparse_input_product(x: csr_array, weight: np.ndarray | csr_array) -> np.ndarray:
    """Compute ``x Wᵀ`` from the stored entries of `x` alone.

    Parameters
    ----------
    x : csr_array, shape (N, in)
        A batch of activations, such as ``csr_array(dense)``, float32 or float64.
    weight : ndarray or csr_array, shape (out, in)
        The weights, of the same type. Where dense, SciPy wants the order of the transpose
        (``order="F"``) and copies any other; where CSR, the result is made sparse first.

    Returns
    -------
    ndarray, shape (N, out)
        The product, in the FLOPs that `product_flops` counts.

    Raises
    ------
    TypeError
        If `x` is not a csr_array, or `weight` of another type.
    ValueError
        If the shapes do not fit.
    """
    _check_product(x, weight)
    y = x @ weight.T
    return y if isinstance(y, np.ndarray) else y.toarray()


def product_flops(x: csr_array, weight: np.ndarray | csr_array) -> int:
    """Count the FLOPs of ``x Wᵀ``, a multiplication and an addition as two.

    Parameters
    ----------
    x : csr_array, shape (N, in)
        A batch of activations.
    weight : ndarray or csr_array, shape (out, in)
        The weights.

    Returns
    -------
    int
        ``2 · nnz · out`` where `weight` is dense. Where it is CSR, each entry of `x` meets only
        the weights stored in its column: ``2 Σⱼ (entries of x in column j)(weights in column j)``.

    Raises
    ------
    TypeError, ValueError
        As `sparse_input_product`.
    """
    _check_product(x, weight)
    if isinstance(weight, np.ndarray):
        return 2 * x.nnz * len(weight)
    n_in = x.shape[1]
    met = np.bincount(x.indices, minlength=n_in) @ np.bincount(weight.indices, minlength=n_in)
    return 2 * int(met)


def dead_neurons(y: np.ndarray) -> np.ndarray:
    """Mark the neurons that are zero for every sample.

    Parameters
    ----------
    y : ndarray, shape (N, n)
        What a layer of neurons returned, after its activation, for at least one sample.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where not a single sample made the neuron speak.

    Raises
    ------
    ValueError
        If `y` is not a batch.
    """
    if y.ndim != 2 or len(y) == 0:
        raise ValueError(f"y must be (N ≥ 1, n), got {y.shape}")
    return ~(y != 0).any(axis=0)


def input_densities(network: Sequential, x: np.ndarray) -> dict[str, np.ndarray]:
    """Measure for each layer with weights what share of its input is not zero.

    Parameters
    ----------
    network : Sequential
        The layers; each runs forward once, and keeps this `x` for a `backward`.
    x : ndarray, shape (N, in)
        A batch.

    Returns
    -------
    dict of str to ndarray
        By the name of the weight in ``network.params``, such as ``"2.weight"``: the density of
        every sample, (N,). One mean over them would hide how they differ.
    """
    return {
        name: np.count_nonzero(received, axis=1) / received.shape[1]
        for name, received in trace_inputs(network, x).items()
    }


class SparseInputLinear:
    """Compute ``y = x Wᵀ + b`` and its gradients from the nonzeros of `x` alone.

    Parameters
    ----------
    linear : Linear
        The weights and biases, float32 or float64; copied, the weights in the order that the
        products want.
    gated : bool, default False
        Whether the layer before passes no gradient where it returned zero, as ReLU and
        k-winners-take-all do. Then `backward` computes the input's gradient at the nonzeros of x
        only, and returns 0 elsewhere. Without it, that gradient is complete, and costs
        ``2·N·in·out``.

    Attributes
    ----------
    params, grads : dict
        ``"weight"`` (out, in) and ``"bias"`` (out,), as in `Linear`.

    Raises
    ------
    TypeError
        If the weights are neither float32 nor float64.
    """

    def __init__(self, linear: Linear, *, gated: bool = False) -> None:
        weight, bias = linear.params["weight"], linear.params["bias"]
        if weight.dtype not in (np.float32, np.float64):
            raise TypeError(f"linear must be float32 or float64, got {weight.dtype}")
        self.params = {"weight": weight.copy(order="F"), "bias": bias.copy()}
        self.grads: dict[str, np.ndarray] = {}
        self.gated = gated
        self._x: csr_array | None = None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Find the nonzeros of `x`, multiply by them, and keep only them for `backward`.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, of the type of the weights.

        Returns
        -------
        ndarray, shape (N, out)
            The outputs.

        Raises
        ------
        TypeError, ValueError
            As `check_batch`.
        """
        weight, bias = self.params["weight"], self.params["bias"]
        check_batch("x", x, weight.shape[1], weight.dtype)
        self._x = csr_array(x)
        y = sparse_input_product(self._x, weight)
        return np.add(y, bias, out=y)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        ndarray, shape (N, in)
            The gradient with respect to the input; where `gated`, zero at the zeros of x.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `check_batch`.
        """
        if self._x is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        weight, x = self.params["weight"], self._x
        check_batch("dy", dy, len(weight), weight.dtype, samples=x.shape[0])
        self._x = None
        self.grads = {"weight": (x.T @ dy).T, "bias": dy.sum(axis=0)}
        if not self.gated:
            return dy @ weight
        # Wanted is dy W where x is stored: the same sampled product that gives CSR weights theirs.
        values = sampled_gradient(dy.T, weight, x.indptr, x.indices)
        return csr_array((values, x.indices, x.indptr), x.shape).toarray()


def _check_product(x: csr_array, weight: np.ndarray | csr_array) -> None:
    if not isinstance(x, csr_array):
        raise TypeError(f"x must be a csr_array, got {type(x).__name__}")
    if not isinstance(weight, np.ndarray | csr_array):
        raise TypeError(f"weight must be an ndarray or a csr_array, got {type(weight).__name__}")
    if weight.dtype != x.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"x and weight must be float32 or float64 both, got {x.dtype}, {weight.dtype}"
        )
    if x.ndim != 2 or weight.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"x and weight must be (N, in) and (out, in), got {x.shape}, {weight.shape}"
        )
