"""Which one number describes five measurements best, and how hard does each pull at it?"""

import numpy as np

from lexicon.foundations.regression_loss import Huber, MeanAbsoluteError, MeanSquaredError

LAST = 60.0  # try 10.0, 6000.0: no outlier, similar answers; only the squared loss runs after it
DELTA = 2.0  # try 0.01, 1000.0: Huber answers like the absolute loss; like the squared one
UNIT = 1.0  # try 60.0: seconds instead of minutes; of the three answers only Huber's changes

minutes = np.array([4.0, 5.0, 6.0, 8.0, LAST])  # five trips by bus; was the last one mistyped?
targets = minutes * UNIT

print("                        pull of the trip that took")
print("loss       best" + "".join(f"{trip:9g}" for trip in minutes) + "   others missed by")
for name, loss in [
    ("squared", MeanSquaredError()),
    ("absolute", MeanAbsoluteError()),
    ("Huber", Huber(DELTA)),
]:
    low, high = targets.min(), targets.max()
    for _ in range(60):  # the loss falls, then rises: halve the interval in which it turns
        best = (low + high) / 2
        loss.forward(np.full(5, best), targets)
        if loss.backward().sum() > 0:
            high = best
        else:
            low = best
    best = np.round(best, 9)
    loss.forward(np.full(5, best), targets)
    pull = 0 - loss.backward()  # where a step downhill would take the number
    misses = MeanAbsoluteError().forward(np.full(4, best), targets[:4]) / UNIT
    print(f"{name:8}{best / UNIT:7.2f}" + "".join(f"{p:9.3f}" for p in pull) + f"{misses:19.2f}")
