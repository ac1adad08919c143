"""Movement pruning keeps the weights that fine-tuning moves away from zero, large or not.

What is large after one task is what that task needed. Fine-tuned for another, a network says what
that one needs by where it moves its weights. Each weight W has a score S, zero at first, and the
best v scores of the layer are in use:

    M  = top-v(S)         y  = x (W ⊙ M)ᵀ + b         dx = dy (W ⊙ M)
    dW = (dyᵀ x) ⊙ M      dS = (dyᵀ x) ⊙ W

dS is no derivative: a step of top-v is flat, and its slope is taken for 1 (straight-through). Since
S ← S - η dS, a score is -η times the sum of w · dL/dw over the steps: it rises where descent would
move a weight away from zero, and that counts for weights out of use too. They can come back.

A threshold on the scores in place of a count (soft movement pruning) is left out, and so is
distillation.

References
----------
Sanh, V., Wolf, T., Rush, A. (2020). Movement pruning: adaptive sparsity by fine-tuning. NeurIPS.
Bengio, Y., Léonard, N., Courville, A. (2013). Estimating or propagating gradients through
    stochastic neurons for conditional computation. arXiv:1308.3432.
"""

import numpy as np

from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.foundations.linear_layer import Linear, check_batch
from lexicon.sparsity.mask import kept, top_k

__all__ = ["MovementLinear", "movement_scores"]


class MovementLinear(Linear):
    """A linear layer that uses the weights with the best scores, and learns the scores too.

    All weights are stored and all scores computed at every step: it saves nothing while it trains.
    Afterwards `prune_network` stores what is in use.

    Parameters
    ----------
    linear : Linear
        The trained layer; copied.
    sparsity : float, default 0.0
        The share of the weights out of use, in [0, 1); may be changed between steps.

    Attributes
    ----------
    params, grads : dict
        ``"weight"`` (out, in), ``"bias"`` (out,) and ``"scores"`` (out, in), zero at first.
    sparsity : float
        As given.

    Raises
    ------
    ValueError
        If `sparsity` is out of range or leaves no weight.
    """

    def __init__(self, linear: Linear, sparsity: float = 0.0) -> None:
        super().__init__(linear.params["weight"], linear.params["bias"])
        kept(self.params["weight"].size, sparsity)
        self.params["scores"] = np.zeros_like(self.params["weight"])
        self.sparsity = sparsity
        self._used: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """Return which weights are in use, as bool (out, in): the best scores, ties by position."""
        scores = self.params["scores"]
        best = top_k(scores.ravel(), kept(scores.size, self.sparsity))
        return best.reshape(scores.shape)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute the outputs with the weights that are in use now.

        Parameters
        ----------
        x : ndarray, shape (N, in)
            A batch, as `Linear.forward` takes it.

        Returns
        -------
        ndarray, shape (N, out)
            The outputs.

        Raises
        ------
        TypeError, ValueError
            As `Linear.forward`; also if a score is NaN or `sparsity` is out of range.
        """
        weight = self.params["weight"]
        check_batch("x", x, weight.shape[1], weight.dtype)
        used = self.mask
        self._x, self._used = x, used
        return x @ (weight * used).T + self.params["bias"]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill `grads` and return the gradient with respect to the input.

        Parameters
        ----------
        dy : ndarray, shape (N, out)
            The gradient of the loss with respect to the output of the last `forward`.

        Returns
        -------
        ndarray, shape (N, in)
            The gradient of the loss with respect to that `forward`'s input.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError, ValueError
            As `Linear.backward`.
        """
        if self._x is None or self._used is None:
            raise RuntimeError("backward needs a forward first, one for each backward")
        weight, x, used = self.params["weight"], self._x, self._used
        check_batch("dy", dy, len(weight), weight.dtype, samples=len(x))
        self._x = None
        slope = dy.T @ x
        self.grads = {
            "weight": slope * used,
            "bias": dy.sum(axis=0),
            "scores": slope * weight,  # of all weights, in use or not
        }
        return dy @ (weight * used)


def movement_scores(network: Sequential) -> dict[str, np.ndarray]:
    """Return the score of every weight: how much fine-tuning moved it, or would, away from zero.

    Parameters
    ----------
    network : Sequential
        Fine-tuned, with `MovementLinear` layers; those of a `Sequential` inside it count too.

    Returns
    -------
    dict of str to ndarray
        Copies of the scores, under the names and with the shapes of the weights in
        ``network.params``; higher = keep.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    scores = {
        f"{name}.weight": layer.params["scores"].copy()
        for name, layer in named_layers(network)
        if isinstance(layer, MovementLinear)
    }
    if not scores:
        raise ValueError("network must hold at least one MovementLinear")
    return scores
