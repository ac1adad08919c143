"""Four activations and their slopes, which multiply the gradient on its way back. Sigmoid and tanh
are flat on both sides, ReLU and GELU on one, and the slope of the sigmoid never exceeds a quarter.

Two panels against x from −4 to 4. Values: ReLU is 0 up to x = 0 and then climbs as x does; GELU
follows it without a corner and dips a little below 0 on the left; tanh rises from −1 to 1, and
the sigmoid, less steeply, from 0 to 1. Slopes: that of ReLU jumps from 0 to 1 at x = 0; that of
GELU goes from 0 through a dip below 0 and a hump a little above 1 towards 1; those of tanh and
of the sigmoid are bells around x = 0, the first 1 high and the second a quarter.
"""

import matplotlib.pyplot as plt
import numpy as np

from lexicon.foundations.activation import gelu, relu, sigmoid, tanh

x = np.linspace(-4, 4, 321)
fig, (values, slopes) = plt.subplots(1, 2)
for function, name, line, value_at, slope_at in [
    (relu, "ReLU", "-", (0.3, 2.3), (2.3, 0.86)),
    (gelu, "GELU", "--", (-2.7, -0.5), (1.0, 1.17)),
    (tanh, "tanh", "-.", (-3.9, -0.88), (-2.7, 0.55)),
    (sigmoid, "sigmoid", ":", (1.4, 0.5), (-4, 0.16)),
]:
    y, slope = function(x)
    (drawn,) = values.plot(x, y, line)
    values.text(*value_at, name, color=drawn.get_color())
    slopes.plot(x, slope, line)
    slopes.text(*slope_at, name, color=drawn.get_color())
values.set(title="value", xlabel="x", ylim=(-1.1, 3), xticks=[-4, 0, 4], yticks=[-1, 0, 1, 2, 3])
slopes.set(title="slope", xlabel="x", ylim=(-0.2, 1.3), xticks=[-4, 0, 4])
slopes.set_yticks([0, 0.25, 1], ["0", "¼", "1"])
