"""Stochastic gradient descent steps against the gradient of a few samples at a time.

The gradient over all samples is a mean, and a mean over B of them, drawn at random, estimates
it without bias at B/N of the cost. Its standard error falls only with √B, so many cheap noisy
steps beat few exact ones:

    g = 1/B Σ ∇Lₙ(θ) + λθ
    θ ← θ - η g

with learning rate η and weight decay λ. Velocity and per-parameter rates are left out.

References
----------
Robbins, H., Monro, S. (1951). A stochastic approximation method. Annals of Mathematical
    Statistics 22(3).
Bottou, L. (2010). Large-scale machine learning with stochastic gradient descent. COMPSTAT.
"""

from collections.abc import Iterator

import numpy as np

from lexicon.training.gradient_descent import GradientDescent

__all__ = ["StochasticGradientDescent", "minibatches"]


class StochasticGradientDescent(GradientDescent):
    """Update a network's parameters in place: ``θ ← θ - η (g + λθ)``.

    The step is that of gradient descent; what makes it stochastic is whose gradient `backward`
    left: that of a minibatch.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`; its `params` are updated, its `grads` are read.
    learning_rate : float
        η, above 0; may be changed between steps.
    weight_decay : float, default 0.0
        λ, 0 or above: also steps towards zero. Applied to weights, never to biases.

    Raises
    ------
    ValueError
        If `learning_rate` or `weight_decay` is out of range.
    """


def minibatches(
    n_samples: int, batch_size: int, *, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Deal all samples once, in random order, in batches.

    Parameters
    ----------
    n_samples : int
        How many samples there are, at least 1.
    batch_size : int
        How many make a batch, 1 to `n_samples`; the last one may be smaller.
    rng : numpy.random.Generator
        Shuffles, anew at every call.

    Returns
    -------
    iterator of ndarray of int, shape (at most batch_size,)
        The positions of one batch's samples.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    if not 1 <= batch_size <= n_samples:
        raise ValueError(f"batch_size must be 1 to {n_samples}, got {batch_size}")
    order = rng.permutation(n_samples)
    return (order[i : i + batch_size] for i in range(0, n_samples, batch_size))
