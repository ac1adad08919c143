"""What a sparse network looks at can be read from its connections: how many, how heavy, where to.

A missing connection is certain, a present one is only a possibility. Two readings, the second of
which follows the connections through all layers:

    degree of input j            the number of stored wᵢⱼ in the first layer
    strength from input j to c   P = |Wₗ| … |W₂| |W₁|: the sum over all paths of the product of |w|

With activations of slope 0 to 1 (ReLU) every derivative is bounded, |∂z_c/∂xⱼ| ≤ P_cj: where P is
0, output c cannot depend on input j. Where it is not, the input may still not matter: signs
cancel, neurons are silent, the input may hardly vary. So check by permuting it. Methods that
explain single predictions are left out.

References
----------
Garson, G. (1991). Interpreting neural network connection weights. AI Expert 6(4).
Breiman, L. (2001). Random forests. Machine Learning 45.
Mocanu, D., et al. (2018). Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science. Nature Communications 9.
Atashgahi, Z., et al. (2022). Quick and robust feature selection: the strength of energy-efficient
    sparse training for autoencoders. Machine Learning 111.
"""

import numpy as np

from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import prunable_layers

__all__ = ["input_degrees", "path_strengths"]


def input_degrees(layer: Linear | CSRLinear) -> np.ndarray:
    """Count the connections of every input: its fan-out.

    Parameters
    ----------
    layer : Linear or CSRLinear
        A stored zero counts, as a connection does. All degrees of a dense layer are ``out``.

    Returns
    -------
    ndarray of int64, shape (in,)
        They sum to the number of connections.
    """
    if isinstance(layer, CSRLinear):
        return np.bincount(layer.weight.indices, minlength=layer.weight.shape[1])
    n_out, n_in = layer.params["weight"].shape
    return np.full(n_in, n_out)


def path_strengths(network: Sequential) -> np.ndarray:
    """Sum, for every input and output, the paths between them, each the product of its ``|w|``.

    Parameters
    ----------
    network : Sequential
        Its weights in `Linear` or `CSRLinear` layers, those of a `Sequential` inside it too; the
        other layers act on each number by itself.

    Returns
    -------
    ndarray, shape (out, in)
        P, of the type of the weights. Nothing larger than (out, widest layer) is made.

    Raises
    ------
    TypeError
        If a layer of another kind has weights.
    ValueError
        If there are no weights, one is NaN or infinite, or two layers do not fit each other.
    """
    layers = prunable_layers(network)
    if not layers:
        raise ValueError("network must hold at least one layer with weights")
    first, last = next(iter(layers.values())), next(reversed(layers.values()))
    strengths = np.eye(len(last.params["bias"]), dtype=first.params["bias"].dtype)
    for name, layer in reversed(layers.items()):
        n_out = len(layer.params["bias"])
        if strengths.shape[1] != n_out:
            raise ValueError(
                f"network must pass on each number by itself, but {name} returns {n_out} "
                f"and the next layer takes {strengths.shape[1]}"
            )
        if isinstance(layer, CSRLinear):
            strengths = (abs(layer.weight).T @ strengths.T).T
        else:
            strengths = strengths @ np.abs(layer.params["weight"])
    return strengths
