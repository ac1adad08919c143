"""A training loop repeats forward, loss, backward, step, and watches what happens.

One epoch shows every sample once, in random order. Everything else is watching: the loss that
is minimised, the accuracy one wants, on data kept apart, and two numbers that tell an
illness early, the norm of the gradient and the ratio of update to weight:

    loss = L(f(x), y);   dz = L.backward();   f.backward(dz);   optimiser.step()
    update ratio = ‖Δθ‖ / ‖θ‖, the share of the weights that one step replaces

A rule of thumb wants that share near 1e-3; compare it between runs rather than with the rule.
A schedule sets the rate before every step; rewiring and early stopping hook in after an epoch.

References
----------
Bottou, L. (2012). Stochastic gradient descent tricks. Neural Networks: Tricks of the Trade,
    Springer.
Karpathy, A. (2019). A recipe for training neural networks. karpathy.github.io.
Karpathy, A. (2016). Neural networks part 3: learning and evaluation. Notes of the course CS231n,
    Stanford University.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import issparse

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Layer, evaluating
from lexicon.training.gradient_descent import Optimizer
from lexicon.training.stochastic_gradient_descent import minibatches

__all__ = ["Epoch", "accuracy", "train"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed.

    Parameters
    ----------
    loss : float
        Mean training loss over the epoch's samples, measured while the weights moved.
    validation : float or None
        Accuracy on the validation set after the epoch, where one was given.
    validation_loss : float or None
        Mean loss on it.
    gradient_norm : float
        Norm of all gradients together, at the epoch's last batch.
    update_ratio : float
        Norm of the last step's change over the norm of the parameters before it; infinity if
        they were all zero.
    """

    loss: float
    validation: float | None
    validation_loss: float | None
    gradient_norm: float
    update_ratio: float


def accuracy(network: Layer, x: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of samples whose largest logit is the true class, in use, not in training.

    Parameters
    ----------
    network : Layer
        Returns logits (N, classes).
    x : ndarray, shape (N, in)
        Samples.
    labels : ndarray of int, shape (N,)
        Their classes.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If `labels` is not (N,).
    FloatingPointError
        If a logit is NaN: it has no rank.
    """
    if labels.shape != (len(x),):
        raise ValueError(f"labels must be ({len(x)},), got {labels.shape}")
    with evaluating(network):
        logits = network.forward(x)
    if np.isnan(logits).any():
        raise FloatingPointError("the network returned NaN: no class is the largest")
    return float((logits.argmax(axis=1) == labels).mean())


def train(
    network: Layer,
    optimizer: Optimizer,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    schedule: Callable[[int], float] | None = None,
    after_epoch: Callable[[int], None] | None = None,
    stop: Callable[[list[Epoch]], bool] | None = None,
) -> list[Epoch]:
    """Train a classifier with cross-entropy.

    Parameters
    ----------
    network : Layer
        Returns logits (N, classes); trained in place.
    optimizer : Optimizer
        Made for this network.
    x : ndarray, shape (N, in)
        Training samples.
    labels : ndarray of int, shape (N,)
        Their classes.
    epochs : int
        How many times every sample is shown, at least 1.
    batch_size : int
        Samples per step, 1 to N.
    rng : numpy.random.Generator
        Shuffles.
    validation : tuple of ndarray, optional
        Samples and labels that are only looked at.
    schedule : callable, optional
        Takes how many steps were taken, from 0 on and over all epochs; returns the learning rate
        of the next one. Without it the optimiser keeps its own.
    after_epoch : callable, optional
        Called with the number of epochs done: the place for a rewiring or for showing progress.
    stop : callable, optional
        Takes the history so far, once an epoch is in it and before `after_epoch` changes anything;
        training ends with that epoch if it returns True.

    Returns
    -------
    list of Epoch
        What each epoch showed.

    Raises
    ------
    TypeError
        If `x` or the validation samples are not of the weights' type, or `labels` not integers.
    ValueError
        If `epochs` or `batch_size` is out of range, samples are not finite, there are none or
        they have another shape, or labels do not fit their samples or the logits. In both cases
        no parameter is changed, unless a layer refuses only a later batch, such as one of a
        single sample.
    FloatingPointError
        If the logits or the weights are no longer finite: training has diverged.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if labels.shape != (len(x),):
        raise ValueError(f"labels must be ({len(x)},), got {labels.shape}")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite")
    every = labels
    if validation is not None:
        apart, answers = validation
        if answers.shape != (len(apart),):
            raise ValueError(
                f"validation must hold a label for each of {len(apart)} samples, "
                f"got {answers.shape}"
            )
        if apart.dtype != x.dtype:
            raise TypeError(f"validation must be {x.dtype} like x, got {apart.dtype}")
        if len(apart) == 0 or apart.shape[1:] != x.shape[1:] or not np.isfinite(apart).all():
            raise ValueError(
                f"validation must hold finite samples, at least one, of {x.shape[1:]} like x, "
                f"got {apart.shape}"
            )
        every = np.concatenate([labels, answers])
    highest = every.max(initial=0)
    lowest = every.min(initial=highest)
    criterion = CrossEntropy()
    history: list[Epoch] = []
    step = 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        batches = list(minibatches(len(x), batch_size, rng=rng))
        for batch in batches:
            logits = network.forward(x[batch])
            if not np.isfinite(logits).all():
                raise FloatingPointError(f"training diverged in epoch {epoch}: logits not finite")
            if not 0 <= lowest <= highest < logits.shape[1]:
                # Here and not batch by batch, so that no weight has moved yet.
                raise ValueError(
                    f"labels must be 0 to {logits.shape[1] - 1}, got {lowest} to {highest}"
                )
            total += criterion.forward(logits, labels[batch]) * len(batch)
            network.backward(criterion.backward())
            if batch is batches[-1]:
                before = {name: theta.copy() for name, theta in network.params.items()}
            if schedule:
                optimizer.learning_rate = schedule(step)
            optimizer.step()
            step += 1
        weight_norm = _norm(before)
        update_norm = _norm({name: theta - before[name] for name, theta in network.params.items()})
        if not np.isfinite(update_norm):
            raise FloatingPointError(f"training diverged in epoch {epoch}: weights not finite")
        right, apart_loss = None, None
        if validation:
            with evaluating(network):
                logits = network.forward(apart)
            if not np.isfinite(logits).all():
                raise FloatingPointError(f"training diverged in epoch {epoch}: logits not finite")
            right = float((logits.argmax(axis=1) == answers).mean())
            apart_loss = criterion.forward(logits, answers)
        history.append(
            Epoch(
                loss=total / len(x),
                validation=right,
                validation_loss=apart_loss,
                gradient_norm=_norm(network.grads),
                update_ratio=update_norm / weight_norm if weight_norm else np.inf,
            )
        )
        enough = stop is not None and stop(history)
        if after_epoch:
            after_epoch(epoch)
        if enough:
            break
    return history


def _norm(arrays: dict[str, np.ndarray]) -> float:
    # What a sparse gradient does not store is 0 and adds nothing.
    stored = [a.data if issparse(a) else a for a in arrays.values()]
    # In float64: the square of a float32 overflows at 2e19 and vanishes at 4e-23.
    return float(np.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in stored)))
