"""The main job: the whole story of sparsity on real digits, from a dense network to a rewired one.

Every contestant has the same data, the same number of epochs and the same schedule. Learning
rates, weight decay, k and the share rewired were chosen by accuracy on a fifth of the training
digits, never on the held-out ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Layer, Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.erdos_renyi import erdos_renyi, sample_positions
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.magnitude_prune import magnitude_prune
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

__all__ = ["MODELS", "Row", "run_tour", "what_to_notice"]

SIZES = (64, 256, 256, 10)
EPOCHS = 40
FINE_TUNING = 20  # of those epochs, how many come after pruning
WINNERS = 32


@dataclass(frozen=True)
class Row:
    """What one model achieved, over all seeds.

    Parameters
    ----------
    model : str
        Its name.
    sparsity : float
        The share of weights that do not exist.
    accuracy, accuracy_std : float
        Mean and sample standard deviation over the seeds, on held-out digits; with a single
        seed there is no deviation, and 0.
    connections : int
        Weights that exist.
    bytes : int
        What weights, biases, indices and masks take.
    flops_per_sample : int
        Multiplications and additions of the products in one forward pass.
    seconds : float
        Mean training time, on one thread.
    """

    model: str
    sparsity: float
    accuracy: float
    accuracy_std: float
    connections: int
    bytes: int
    flops_per_sample: int
    seconds: float


@dataclass(frozen=True)
class _Digits:
    x: np.ndarray
    labels: np.ndarray
    rng: np.random.Generator

    def fit(
        self,
        network: Sequential,
        *,
        learning_rate: float,
        weight_decay: float,
        epochs: int = EPOCHS,
        rewired: float = 0.0,
    ) -> Sequential:
        """Train with a learning rate that falls linearly to zero."""
        optimizer = Momentum(network, learning_rate=learning_rate, weight_decay=weight_decay)

        def after_epoch(epoch: int) -> None:
            optimizer.learning_rate = learning_rate * (1 - epoch / epochs)
            if rewired and epoch <= 0.75 * epochs:  # the last grown need time to learn
                rewire_network(network, optimizer, fraction=rewired, rng=self.rng)

        train(
            network,
            optimizer,
            self.x,
            self.labels,
            epochs=epochs,
            batch_size=32,
            rng=self.rng,
            after_epoch=after_epoch,
        )
        return network


def _dense(digits: _Digits) -> Sequential:
    return digits.fit(mlp(SIZES, rng=digits.rng), learning_rate=0.2, weight_decay=1e-3)


def _masked(digits: _Digits) -> Sequential:
    dense = mlp(SIZES, rng=digits.rng)
    shapes = [layer.params["weight"].shape for layer in dense.layers if isinstance(layer, Linear)]
    counts = iter(erdos_renyi(shapes, 0.1))
    layers: list[Layer] = []
    for layer in dense.layers:
        if isinstance(layer, Linear):
            weight = layer.params["weight"]
            mask = np.zeros(weight.size, dtype=bool)
            mask[sample_positions(weight.size, next(counts), rng=digits.rng)] = True
            weight *= np.sqrt(mask.size / mask.sum())  # as many inputs as are left
            layers.append(MaskedLinear(layer, mask.reshape(weight.shape)))
        else:
            layers.append(layer)
    return digits.fit(Sequential(layers), learning_rate=0.2, weight_decay=1e-4)


def _pruned(sparsity: float) -> Callable[[_Digits], Sequential]:
    def build(digits: _Digits) -> Sequential:
        dense = digits.fit(
            mlp(SIZES, rng=digits.rng),
            learning_rate=0.2,
            weight_decay=1e-3,
            epochs=EPOCHS - FINE_TUNING,
        )
        pruned = [
            magnitude_prune(layer, sparsity) if isinstance(layer, Linear) else layer
            for layer in dense.layers
        ]
        return digits.fit(
            Sequential(pruned), learning_rate=0.1, weight_decay=1e-3, epochs=FINE_TUNING
        )

    return build


def _k_wta(digits: _Digits) -> Sequential:
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(SIZES):
        layers += [Linear(he_normal(fan_in, fan_out, rng=digits.rng)), KWinnersTakeAll(WINNERS)]
    return digits.fit(Sequential(layers[:-1]), learning_rate=0.2, weight_decay=1e-4)


def _from_scratch(digits: _Digits) -> Sequential:
    network = sparse_mlp(SIZES, density=0.1, rng=digits.rng)
    return digits.fit(network, learning_rate=0.2, weight_decay=1e-4)


def _rewired(digits: _Digits) -> Sequential:
    network = sparse_mlp(SIZES, density=0.1, rng=digits.rng)
    return digits.fit(network, learning_rate=0.2, weight_decay=1e-4, rewired=0.3)


MODELS: dict[str, Callable[[_Digits], Sequential]] = {
    "dense": _dense,
    "random mask, 90 %": _masked,
    "pruned, 80 %": _pruned(0.80),
    "pruned, 90 %": _pruned(0.90),
    "pruned, 95 %": _pruned(0.95),
    f"k-WTA, {WINNERS} of 256": _k_wta,
    "sparse from scratch, 90 %": _from_scratch,
    "rewired, 90 %": _rewired,
}


def run_tour(*, seeds: int, before: Callable[[str], None], after: Callable[[], None]) -> list[Row]:
    """Train every model with every seed.

    Parameters
    ----------
    seeds : int
        How many; each draws its own split, weights and order.
    before : callable
        Called with a model's name before each training.
    after : callable
        Called after each.

    Returns
    -------
    list of Row
        One for each model, in the story's order.
    """
    rows = []
    for model, build in MODELS.items():
        accuracies, seconds = [], []
        for seed in range(seeds):
            before(model)
            rng = np.random.default_rng(seed)
            x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
            # Layers as small as these gain nothing from a second BLAS thread, and lose twenty
            # times over to one that has to wait for a busy core.
            with threadpool_limits(1):
                start = perf_counter()
                network = build(_Digits(x, labels, rng))
                seconds.append(perf_counter() - start)
            accuracies.append(accuracy(network, x_test, labels_test))
            after()
        cost = network_cost(network)
        rows.append(
            Row(
                model=model,
                sparsity=1 - cost.connections / _possible(),
                accuracy=float(np.mean(accuracies)),
                accuracy_std=float(np.std(accuracies, ddof=1)) if seeds > 1 else 0.0,
                connections=cost.connections,
                bytes=cost.weight_bytes,
                flops_per_sample=cost.forward_flops,
                seconds=float(np.mean(seconds)),
            )
        )
    return rows


def what_to_notice(rows: list[Row]) -> list[str]:
    """Say in three sentences what the rows show.

    Parameters
    ----------
    rows : list of Row
        What `run_tour` returned.

    Returns
    -------
    list of str
        Three sentences, made from the rows' own numbers.
    """
    dense, mask, _, pruned, _, _, scratch, rewired = rows
    read = {row.model: f"{100 * row.accuracy:.1f} %" for row in rows}
    speed = dense.seconds / scratch.seconds
    return [
        f"Pruned to 90 % and fine-tuned, the network reads {read[pruned.model]} of the digits it "
        f"never saw, the dense one {read[dense.model]}; sparse from the start it is "
        f"{read[scratch.model]}, and {read[rewired.model]} with rewiring.",
        f"The mask takes {mask.bytes:,} bytes, more than the dense network's {dense.bytes:,}, and "
        f"as many FLOPs: zeros that are stored and multiplied save nothing. As many connections "
        f"on CSR take {scratch.bytes:,} bytes, indices included.",
        f"On CSR a sample costs {dense.flops_per_sample / scratch.flops_per_sample:.1f} × fewer "
        f"FLOPs than dense, yet training from scratch was "
        + (f"{speed:.1f} × faster" if speed >= 1 else f"{1 / speed:.1f} × slower")
        + ": FLOPs are not seconds, least of all in layers as small as these.",
    ]


def _possible() -> int:
    return sum(n_in * n_out for n_in, n_out in pairwise(SIZES))
