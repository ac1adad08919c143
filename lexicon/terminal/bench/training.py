"""Loads data and trains networks for experiments: so that only what is asked differs."""

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.data import load_digits, load_fashion_mnist, load_mnist, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

__all__ = ["DATA", "Data", "fit", "load"]

DATA = ("digits", "fashion-mnist", "mnist")
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load(name: str, *, rng: np.random.Generator, samples: int | None = None) -> Data:
    """Return training samples and labels, test samples and labels.

    Parameters
    ----------
    name : str
        One of `DATA`. The digits are split anew; the others come with their test part.
    rng : numpy.random.Generator
        Splits the digits, and draws samples where not all are wanted.
    samples : int, optional
        How many training samples; all, if not given.

    Returns
    -------
    tuple of ndarray
        Centred and scaled by the mean and deviation of the training pixels, float32.
    """
    if name == "digits":
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    else:
        of_publisher = {"fashion-mnist": load_fashion_mnist, "mnist": load_mnist}[name]
        x, labels, x_test, labels_test = of_publisher()
    if samples is not None:
        drawn = rng.permutation(len(x))[:samples]
        x, labels = x[drawn], labels[drawn]
    mean, scale = x.mean(), x.std()
    return (x - mean) / scale, labels, (x_test - mean) / scale, labels_test


def fit(
    network: Sequential,
    data: Data,
    *,
    epochs: int,
    rng: np.random.Generator,
    learning_rate: float = 0.05,
    beta: float = 0.9,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    falls: bool = True,
    after_epoch: Callable[[int, Momentum], None] | None = None,
) -> list[float]:
    """Train with momentum, on one thread.

    Parameters
    ----------
    network : Sequential
        Trained in place.
    data : tuple of ndarray
        As `load` returns them.
    epochs : int
        How many.
    rng : numpy.random.Generator
        Shuffles.
    learning_rate, beta, weight_decay : float
        Of the optimiser, at the start.
    batch_size : int, default 64
        Samples of a step.
    falls : bool, default True
        Whether the learning rate falls to zero on a straight line; it stays otherwise.
    after_epoch : callable, optional
        Called with the number of epochs done and the optimiser: the place for a rewiring.

    Returns
    -------
    list of float
        Test accuracy after each epoch, before `after_epoch`.
    """
    x, labels, x_test, labels_test = data
    for layer in network.layers:
        if isinstance(layer, CSRLinear):
            layer.threads = 1
    optimizer = Momentum(network, learning_rate=learning_rate, beta=beta, weight_decay=weight_decay)
    reads: list[float] = []

    def end_of_epoch(epoch: int) -> None:
        reads.append(accuracy(network, x_test, labels_test))
        if falls:
            optimizer.learning_rate = learning_rate * (1 - epoch / epochs)
        if after_epoch:
            after_epoch(epoch, optimizer)

    with threadpool_limits(1):
        train(
            network,
            optimizer,
            x,
            labels,
            epochs=epochs,
            batch_size=batch_size,
            rng=rng,
            after_epoch=end_of_epoch,
        )
    return reads
