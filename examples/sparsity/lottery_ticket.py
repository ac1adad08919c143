"""Does a sparse part of an untrained network learn as well as the whole?"""

from copy import deepcopy

import numpy as np

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.lottery_ticket import find_tickets, reinitialised, shuffled, signs_only
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SHARE = 0.34  # try 0.2: more is left, and the shuffled mask can still learn
RATE = 0.2  # try 0.05: smaller steps, and the controls end farther behind
SEED = 0  # try 1: other numbers; the ticket still learns faster than its controls

rng = np.random.default_rng(SEED)
x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)


def fit(network, epochs=5):
    """Train at the same rate, with the same batches, whoever it is."""
    test, again = (x_test, labels_test), np.random.default_rng(SEED)
    optimizer, untrained = Momentum(network, learning_rate=RATE), accuracy(network, *test)
    plan = {"epochs": epochs, "batch_size": 64, "rng": again, "validation": test}
    return [untrained] + [
        epoch.validation for epoch in train(network, optimizer, x, labels, **plan)
    ]


start, fresh = mlp([64, 64, 10], rng=rng), mlp([64, 64, 10], rng=rng)
later = deepcopy(start)  # rewinding to epoch 1 goes back to this
before, _ = fit(later, epochs=1)
tickets = list(find_tickets(start, fit, share=SHARE, rounds=8))
rewound = list(find_tickets(later, lambda network: fit(network, 4), share=SHARE, rounds=8))

print("weights  test accuracy after epoch     0      1      5")
rows = [(1.0, "dense", fit(deepcopy(start)))]
for round_ in (4, 8):
    ticket = tickets[round_ - 1]
    left = sum(layer.weight.nnz for layer in ticket.layers[::2]) / (64 * 64 + 64 * 10)
    others = reinitialised(ticket, fresh), shuffled(ticket, start, rng=rng)
    rows.append((left, "other first values", fit(others[0])))
    rows.append((left, "shuffled mask", fit(others[1])))
    rows.append((left, "ticket, signs only", fit(signs_only(ticket, start))))
    rows.append((left, "ticket, rewound to epoch 1", [before, *fit(rewound[round_ - 1], 4)]))
    rows.append((left, "ticket, rewound to epoch 0", fit(ticket)))
for left, name, curve in rows:
    print(f"{left:7.1%}  {name:26s}" + "".join(f"  {curve[epoch]:5.3f}" for epoch in (0, 1, 5)))
