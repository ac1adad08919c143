"""Can a program find the gradient of whatever it has just computed?"""

import numpy as np

from lexicon.foundations.computational_graph import Value

SAMPLES = 3  # try 1, 30: a parameter is used once for each sample, and the graph grows with them
FUNCTION = "tanh"  # try "relu": no new formula; neuron 1 is off for all samples, so gradient 0
HIDDEN = 2  # try 3: one neuron more, three parameters more

rng = np.random.default_rng(24)
names = [f"{kind}{i}" for i in range(HIDDEN) for kind in ("weight in ", "bias ", "weight out ")]
parameters = [Value(round(number, 2)) for number in rng.standard_normal(3 * HIDDEN)]


def loss_of(parameters):
    """Plain Python: two loops, a list, and nothing that knows of gradients."""
    loss = Value(0.0)
    for n in range(SAMPLES):
        x, y = Value((n + 1) / SAMPLES), 0.0
        for w, b, v in zip(parameters[::3], parameters[1::3], parameters[2::3], strict=True):
            y = y + v * getattr(w * x + b, FUNCTION)()
        loss = loss + (y - x.data**2) ** 2 / SAMPLES  # it should learn to square x
    return loss


loss = loss_of(parameters)
loss.backward()
uses = [used for value in loss.graph() for used, _ in value.inputs]

print("parameter      value   used   gradient   measured by a nudge")
for i, (name, value) in enumerate(zip(names, parameters, strict=True)):
    losses = []
    for nudge in (1e-5, -1e-5):
        moved = [Value(other.data + nudge * (i == j)) for j, other in enumerate(parameters)]
        losses.append(loss_of(moved).data)
    measured = (losses[0] - losses[1]) / 2e-5
    times = sum(used is value for used in uses)
    print(f"{name:13}{value.data:7.2f}{times:7}{value.grad:11.4f}{measured:15.4f}")
print(f"loss {loss.data:.4f}, from a graph of {len(loss.graph())} values")
