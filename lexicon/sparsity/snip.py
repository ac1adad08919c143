"""SNIP prunes before training, by how much the loss feels each connection in one batch.

Hang a gate c on every weight, 1 for open and 0 for closed, and ask how fast the loss changes as
the gate begins to close. One pass forward and one back through the untrained network answer it
for all gates:

    L(c ⊙ w) at c = 1:   ∂L/∂cᵢ = wᵢ ∂L/∂wᵢ       score sᵢ = |wᵢ ∂L/∂wᵢ|

The best of the whole network stay, with the values that they have, and are trained. Lee and others
divide the scores by their sum, which changes no ranking and is left out.

References
----------
Lee, N., Ajanthan, T., Torr, P. (2019). SNIP: single-shot network pruning based on connection
    sensitivity. ICLR.
Mozer, M., Smolensky, P. (1989). Skeletonization: a technique for trimming the fat from a network
    via relevance assessment. NeurIPS.
Frankle, J., Dziugaite, G., Roy, D., Carbin, M. (2021). Pruning neural networks at initialization:
    why are we missing the mark? ICLR.
"""

import numpy as np

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Layer

__all__ = ["snip_scores"]


def snip_scores(network: Layer, x: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Score every weight of a network by the slope of the loss along its gate.

    Parameters
    ----------
    network : Layer
        A network, dense or sparse, that returns logits (N, classes); meant to be untrained. Its
        `params` stay, its `grads` are filled.
    x : ndarray, shape (N, in)
        One batch, of every class and finite.
    labels : ndarray of int, shape (N,)
        Their classes.

    Returns
    -------
    dict of str to ndarray
        ``|w · dw|`` for each weight, under the names and with the shapes of ``network.params``.

    Raises
    ------
    TypeError
        If `x` is not of the weights' type, or `labels` are not integers.
    ValueError
        If `x` or a parameter is not finite, or `x` or `labels` does not fit.
    """
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    for name, theta in network.params.items():
        if not np.isfinite(theta).all():
            raise ValueError(f"network must have finite parameters, {name} has not")
    loss = CrossEntropy()
    loss.forward(network.forward(x), labels)
    network.backward(loss.backward())
    weights = {name: w for name, w in network.params.items() if name.endswith("weight")}
    grads = network.grads
    return {name: np.abs(w * grads[name]) for name, w in weights.items()}
