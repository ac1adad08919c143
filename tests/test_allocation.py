"""Whatever takes a sparse network allocates nothing of the size of its dense weights."""

import io
import pickle
import tracemalloc
from copy import deepcopy

import numpy as np
import pytest

from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.sparsity.activation_prune import activation_scores
from lexicon.sparsity.constant_fan_in import CondensedLinear, constant_fan_in
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import sample_positions
from lexicon.sparsity.fine_tuning import movement, rewind
from lexicon.sparsity.global_prune import (
    global_masks,
    layer_masks,
    prune_network,
    random_scores,
)
from lexicon.sparsity.grasp import grasp_scores
from lexicon.sparsity.in_time_overparameterization import Explored
from lexicon.sparsity.l1_regularization import ProximalL1, SubgradientL1
from lexicon.sparsity.layer_collapse import guarded_masks
from lexicon.sparsity.lottery_ticket import find_tickets, reinitialised, shuffled, signs_only
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.million_neurons import wide_mlp
from lexicon.sparsity.prune_schedule import prune_further
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.rigl import rewire_by_gradient
from lexicon.sparsity.sensitivity import sensitivity
from lexicon.sparsity.snip import snip_scores
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.sparsity.sparse_interpretability import input_degrees
from lexicon.sparsity.sparse_momentum import rewire_by_momentum
from lexicon.sparsity.sparse_storage import pack_gaps, unpack_gaps
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.sparsity.sparsity import density, structured_sparsity
from lexicon.sparsity.synflow import synflow_masks, synflow_scores
from lexicon.sparsity.taylor_prune import taylor_scores
from lexicon.sparsity.wanda import wanda_scores
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train

WIDTH = 6000
MASK_BYTES = WIDTH * WIDTH  # of one layer, a byte a weight; its weights would take four times that
SCORES = {
    "magnitude": lambda network, x, labels: magnitude_scores(network),
    "random": lambda network, x, labels: random_scores(network, rng=np.random.default_rng(0)),
    "synflow": lambda network, x, labels: synflow_scores(network),
    "wanda": lambda network, x, labels: wanda_scores(network, x),
    "activation": lambda network, x, labels: activation_scores(network, x),
    "snip": snip_scores,
    "taylor": taylor_scores,
    "grasp": grasp_scores,
}


class Case:
    """Two sparse layers that would take 144 MB each as dense matrices, and one batch."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.network = sparse_mlp([WIDTH, WIDTH, WIDTH], density=0.001, rng=self.rng)
        self.x = self.rng.standard_normal((8, WIDTH)).astype(np.float32)
        self.labels = np.arange(8)
        self.optimizer = Momentum(self.network, learning_rate=0.01)
        self.layer = self.network.layers[0]

    def gradients(self):
        criterion = CrossEntropy()
        criterion.forward(self.network.forward(self.x), self.labels)
        self.network.backward(criterion.backward())

    def trained(self, optimizer):
        self.gradients()
        optimizer.step()


def peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def train_and_rewire(case):
    train(
        case.network,
        case.optimizer,
        case.x,
        case.labels,
        epochs=2,
        batch_size=4,
        rng=case.rng,
        after_epoch=lambda _: rewire_network(
            case.network, case.optimizer, fraction=0.3, rng=case.rng
        ),
        validation=(case.x, case.labels),
    )


def seek_tickets(case):
    tickets = find_tickets(case.network, lambda network: None, share=0.5, rounds=2)
    ticket = list(tickets)[-1]
    other = deepcopy(case.network)
    reinitialised(ticket, other)
    shuffled(ticket, case.network, rng=case.rng)
    signs_only(ticket, case.network)


def prune_and_rewind(case):
    pruned = prune_network(case.network, global_masks(magnitude_scores(case.network), 0.5))
    movement(pruned, case.network)
    rewind(pruned, case.network)


def explore(case):
    explored = Explored(case.network)
    explored.update()
    assert 0 < explored.rate < 0.01


def train_condensed(case):
    layer = CondensedLinear(constant_fan_in((WIDTH, WIDTH), 6, rng=case.rng))
    layer.backward(layer.forward(case.x))


def pack_and_unpack(case):
    unpack_gaps(pack_gaps(case.layer.weight, gap_type=np.uint16))
    pickle.dump(case.layer.weight, io.BytesIO())


WAYS = {
    "forward and backward": Case.gradients,
    "descent": lambda case: case.trained(
        StochasticGradientDescent(case.network, learning_rate=0.1, weight_decay=0.1)
    ),
    "momentum": lambda case: case.trained(
        Momentum(case.network, learning_rate=0.1, weight_decay=0.1)
    ),
    "proximal L1": lambda case: case.trained(
        ProximalL1(case.optimizer, case.network, strength=0.1)
    ),
    "subgradient L1": lambda case: case.trained(
        SubgradientL1(case.optimizer, case.network, strength=0.1)
    ),
    "training with rewiring": train_and_rewire,
    "RigL": lambda case: rewire_by_gradient(
        case.network, case.optimizer, case.x, case.labels, fraction=0.3
    ),
    "sparse momentum": lambda case: (
        case.trained(case.optimizer),
        rewire_by_momentum(case.network, case.optimizer, fraction=0.3, rng=case.rng),
    ),
    "pruning further": lambda case: prune_further(
        case.network, case.optimizer, global_masks(magnitude_scores(case.network), 0.5)
    ),
    "pruning and rewinding": prune_and_rewind,
    "tickets": seek_tickets,
    "exploration": explore,
    "synflow in rounds": lambda case: prune_network(
        case.network, synflow_masks(case.network, 0.5, rounds=3)
    ),
    "sensitivity": lambda case: sensitivity(
        case.network, magnitude_scores(case.network), [0.5], lambda network: 0.0
    ),
    "connections from scratch": lambda case: random_csr((WIDTH, WIDTH), 36_000, rng=case.rng),
    "positions": lambda case: sample_positions(WIDTH * WIDTH, 36_000, rng=case.rng),
    "a wide network": lambda case: wide_mlp([WIDTH, WIDTH, 10], [36_000, 6000], rng=case.rng),
    "constant fan-in": train_condensed,
    "storage": pack_and_unpack,
    "counting": lambda case: (
        network_cost(case.network),
        density(case.layer.weight),
        structured_sparsity(case.layer.weight, 0),
    ),
    "degrees of the inputs": lambda case: input_degrees(case.layer),
}


@pytest.fixture
def case():
    return Case()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_dense_is_allocated(case, way):
    assert peak(lambda: WAYS[way](case)) < MASK_BYTES / 2


@pytest.mark.parametrize("name", SCORES)
def test_scores_and_masks_of_a_sparse_network_are_sparse(case, name):
    def prune():
        scores = SCORES[name](case.network, case.x, case.labels)
        for masks in (global_masks(scores, 0.5), layer_masks(scores, 0.5)):
            pruned = prune_network(case.network, masks)
            layers = [layer for _, layer in named_layers(pruned)]
            assert sum(isinstance(layer, CSRLinear) for layer in layers) == 2
        guarded_masks(scores, 0.5)

    assert peak(prune) < MASK_BYTES / 2


def test_the_meter_sees_a_dense_weight(case):
    assert peak(lambda: case.layer.weight.toarray()) >= 4 * MASK_BYTES
    assert peak(lambda: case.layer.weight.astype(bool).toarray()) >= MASK_BYTES


def test_a_network_is_what_is_measured(case):
    assert isinstance(case.network, Sequential)
    assert case.layer.weight.shape == (WIDTH, WIDTH)
