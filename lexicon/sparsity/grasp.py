"""GraSP keeps, before training, the weights without which the gradient would shrink most.

A step against the gradient g lowers the loss by about η ‖g‖², the gradient flow: what prunes a
network before training should leave that as large as it can. Removing a weight moves θ by -θᵢ,
and the flow, to first order, by that times its derivative 2 H g, with H the Hessian of the loss:

    scoreᵢ = θᵢ (H g)ᵢ        ‖g‖² without weight i ≈ ‖g‖² - 2 scoreᵢ

Higher = keep: this is minus the published S(-θ), of which the highest go. g and H are those of
weights and biases together. H is never built: H v is the derivative of the gradient along v, and
Pearlmutter's R takes it exactly, every line of the gradient differentiated beside it. The
temperature in the softmax and the batches of the authors' program are left out.

References
----------
Wang, C., Zhang, G., Grosse, R. (2020). Picking winning tickets before training by preserving
    gradient flow. ICLR.
Pearlmutter, B. (1994). Fast exact multiplication by the Hessian. Neural Computation 6(1).
Lubana, E., Dick, R. (2021). A gradient flow framework for analyzing network pruning. ICLR.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from lexicon.foundations.activation import Activation, leaky_relu, relu, sigmoid, softplus, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.foundations.linear_layer import Linear, check_batch
from lexicon.foundations.softmax import softmax
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = ["grasp_scores", "hessian_vector_product"]

# f'' from f and f'; none is asked for at a kink, where there is none.
_BENDS: dict[Callable[..., Any], Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    relu: lambda y, slope: np.zeros_like(y),
    leaky_relu: lambda y, slope: np.zeros_like(y),
    tanh: lambda y, slope: -2 * y * slope,
    sigmoid: lambda y, slope: slope * (1 - 2 * y),
    softplus: lambda y, slope: slope * (1 - slope),
}


def grasp_scores(network: Sequential, x: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Score every weight by how much of the gradient's norm would go with it.

    Parameters
    ----------
    network : Sequential
        A classifier, as `hessian_vector_product` takes it; its ``grads`` are filled.
    x : ndarray, shape (N, in)
        Samples of all classes.
    labels : ndarray of int, shape (N,)
        Their classes.

    Returns
    -------
    dict of str to ndarray
        ``θ ⊙ H g`` for each weight, under the names and with the shapes of ``network.params``:
        of either sign, higher = keep. Biases are not scored, but belong to g.

    Raises
    ------
    TypeError, ValueError
        As `hessian_vector_product`; ``grads`` are left as they were then.
    """
    _layers(network)  # refused before anything is filled
    _check_finite(x)
    criterion = CrossEntropy()
    criterion.forward(network.forward(x), labels)
    network.backward(criterion.backward())
    moved = hessian_vector_product(network, x, labels, network.grads)
    params = network.params
    return {name: params[name] * moved[name] for name in params if name.endswith("weight")}


def hessian_vector_product(
    network: Sequential, x: np.ndarray, labels: np.ndarray, vectors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Multiply the Hessian of the mean cross-entropy by a vector, exactly, without building it.

    Parameters
    ----------
    network : Sequential
        `Linear`, `CSRLinear` and `Activation` layers, those of a `Sequential` inside it too; the
        activations relu, leaky_relu, tanh, sigmoid or softplus. Neither changed nor run.
    x : ndarray, shape (N, in)
        Samples, of the type of the weights.
    labels : ndarray of int, shape (N,)
        Their classes.
    vectors : mapping of str to ndarray
        The vector's parts: the names, shapes and types of ``network.params``.

    Returns
    -------
    dict of str to ndarray
        The product's parts, the same names and shapes; of a CSR layer at its stored positions.

    Raises
    ------
    TypeError
        If a layer or an activation is another, or `x` or a vector of another type.
    ValueError
        If a shape or a name does not fit, `x` or a vector is not finite, or a label is out of
        range.
    """
    layers = _layers(network)
    params = network.params
    if vectors.keys() != params.keys():
        raise ValueError(f"vectors must be named {[*params]}, got {[*vectors]}")
    for name, vector in vectors.items():
        if vector.dtype != params[name].dtype:
            raise TypeError(f"vectors must be {params[name].dtype}, got {vector.dtype} for {name}")
        if vector.shape != params[name].shape:
            raise ValueError(f"vectors of {name} must be {params[name].shape}, got {vector.shape}")
        if not np.isfinite(vector).all():
            raise ValueError(f"vectors of {name} must be finite")
    _check_finite(x)
    kept = []
    r_x = np.zeros_like(x)  # the input does not move
    for name, layer in layers:
        kept.append((x, r_x))
        if isinstance(layer, Activation):
            y, slope = layer.function(x)
            r_y = r_x * slope
        else:
            w, b = _matrix(layer, layer.params["weight"]), layer.params["bias"]
            v, v_b = _matrix(layer, vectors[f"{name}.weight"]), vectors[f"{name}.bias"]
            check_batch("x", x, w.shape[1], w.dtype)
            y = (w @ x.T).T + b
            r_y = (w @ r_x.T).T + (v @ x.T).T + v_b
        x, r_x = y, r_y
    criterion = CrossEntropy()
    criterion.forward(x, labels)
    dy, p = criterion.backward(), softmax(x)
    r_dy = p * (r_x - (p * r_x).sum(axis=1, keepdims=True)) / len(x)
    products = {}
    for (name, layer), (x, r_x) in zip(reversed(layers), reversed(kept), strict=True):
        if isinstance(layer, Activation):
            y, slope = layer.function(x)
            r_dy = r_dy * slope + dy * _BENDS[layer.function](y, slope) * r_x
            dy = dy * slope
        else:
            w = _matrix(layer, layer.params["weight"])
            v = _matrix(layer, vectors[f"{name}.weight"])
            products[f"{name}.weight"] = _outer(layer, r_dy, x) + _outer(layer, dy, r_x)
            products[f"{name}.bias"] = r_dy.sum(axis=0)
            r_dy = (w.T @ r_dy.T).T + (v.T @ dy.T).T
            dy = (w.T @ dy.T).T
    return {name: products[name] for name in params}


def _check_finite(x: np.ndarray) -> None:
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")


def _matrix(layer: Linear | CSRLinear, values: np.ndarray) -> np.ndarray | csr_array:
    if isinstance(layer, CSRLinear):
        return csr_array((values, layer.weight.indices, layer.weight.indptr), layer.weight.shape)
    return values


def _outer(layer: Linear | CSRLinear, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    if isinstance(layer, CSRLinear):
        return sampled_gradient(dy, x, layer.weight.indptr, layer.weight.indices)
    return dy.T @ x


def _layers(network: Sequential) -> list[tuple[str, Linear | CSRLinear | Activation]]:
    layers: list[tuple[str, Linear | CSRLinear | Activation]] = []
    for name, layer in named_layers(network):
        if not isinstance(layer, Linear | CSRLinear | Activation):
            raise TypeError(
                f"network must hold Linear, CSRLinear and Activation, got {type(layer).__name__}"
            )
        if isinstance(layer, Activation) and layer.function not in _BENDS:
            allowed = ", ".join(function.__name__ for function in _BENDS)
            raise TypeError(f"network must activate by one of {allowed}, got {layer.function}")
        layers.append((name, layer))
    return layers
