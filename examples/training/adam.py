"""Does Adam notice that one direction is a thousand times steeper than the other?"""

from types import SimpleNamespace

import numpy as np

from lexicon.training.adam import Adam, RMSProp
from lexicon.training.gradient_descent import GradientDescent

STEEP = 1000.0  # try 10.0, 100000.0: plain descent feels it, the other columns do not move
TURN = 0.0  # try 45.0: turned in its coordinates, the same valley holds Adam up for long
BETA1 = 0.9  # try 0.0: without the averaged gradient Adam does not overshoot
LEARNING_RATE = 0.05  # try 0.2: longer steps; RMSProp trembles more, four times as widely

slope = np.array([1.0, STEEP])  # along the valley, and across it
angle = np.deg2rad(TURN)
turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

paths = []
for kind in "plain descent", "RMSProp", "Adam":
    model = SimpleNamespace(params={"theta": turn @ [1.0, 1.0]}, grads={})
    if kind == "plain descent":
        optimizer = GradientDescent(model, learning_rate=1.9 / STEEP)  # 2 / STEEP would diverge
    elif kind == "RMSProp":
        optimizer = RMSProp(model, learning_rate=LEARNING_RATE)
    else:
        optimizer = Adam(model, learning_rate=LEARNING_RATE, beta1=BETA1)
    path = [turn.T @ model.params["theta"]]
    for _ in range(400):
        model.grads["theta"] = turn @ (slope * (turn.T @ model.params["theta"]))
        optimizer.step()
        path.append(turn.T @ model.params["theta"])
    paths.append(np.array(path))

print("          plain descent           RMSProp              Adam")
print("step     along    across    along    across    along    across")
for step in (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 400):
    places = np.concatenate([path[step] for path in paths]).round(3) + 0  # -0 becomes 0
    print(f"{step:4}" + "".join(f"{place:10.3f}" for place in places))
