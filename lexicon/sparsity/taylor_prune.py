"""Taylor pruning removes the weights whose removal would change the loss of each sample least.

Setting a weight w to zero moves it by -w, and a sample's loss, to first order, by -w times its
slope there, gₙ = ∂Lₙ/∂w. A trained network is where the slopes of the samples cancel: the mean
gradient is near zero for every weight, needed or not. So take the size before the mean:

    scoreᵢⱼ = 1/N Σₙ |wᵢⱼ gₙᵢⱼ| = |wᵢⱼ| Σₙ |dyₙᵢ| |xₙⱼ|

The right side needs no loop over samples: one weight meets one input and one output of each, and
the size of a product is the product of sizes. The 1/N is in dy already, since L is a mean. Second
order, scores of whole neurons, and the sum of squares (Molchanov et al., 2019) are left out.

References
----------
Mozer, M., Smolensky, P. (1989). Skeletonization: a technique for trimming the fat from a network
    via relevance assessment. NeurIPS.
Molchanov, P., Tyree, S., Karras, T., Aila, T., Kautz, J. (2017). Pruning convolutional neural
    networks for resource efficient inference. ICLR.
Molchanov, P., Mallya, A., Tyree, S., Frosio, I., Kautz, J. (2019). Importance estimation for
    neural network pruning. CVPR.
"""

import numpy as np

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, trace_signals
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import prunable_layers
from lexicon.sparsity.sampled_gradient import sampled_gradient

__all__ = ["taylor_scores"]


def taylor_scores(network: Sequential, x: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Score every weight by how much a sample's loss would change without it, on average.

    Parameters
    ----------
    network : Sequential
        A trained classifier: its weights in `Linear` or `CSRLinear` layers, those of a
        `Sequential` inside it too. Its ``grads`` are filled.
    x : ndarray, shape (N, in)
        Samples of all classes.
    labels : ndarray of int, shape (N,)
        Their classes.

    Returns
    -------
    dict of str to ndarray
        The mean of ``|w gₙ|`` in nats, under the names and with the shapes of
        ``network.params``; higher = keep. Biases are not scored.

    Raises
    ------
    TypeError
        If another kind of layer has weights, `x` is not of their type, or `labels` are not
        integers.
    ValueError
        If `x` or a parameter is not finite, a shape does not fit or a label is out of range.
    """
    layers = prunable_layers(network)
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    criterion = CrossEntropy()

    def gradient(logits: np.ndarray) -> np.ndarray:
        criterion.forward(logits, labels)
        return criterion.backward()

    scores = {}
    for name, (received, dy) in trace_signals(network, x, gradient).items():
        layer = layers[name]
        if isinstance(layer, CSRLinear):
            parts = layer.weight.indptr, layer.weight.indices
            moved = sampled_gradient(np.abs(dy), np.abs(received), *parts)
        else:
            moved = np.abs(dy).T @ np.abs(received)
        scores[name] = np.abs(layer.params["weight"]) * moved
    return scores
