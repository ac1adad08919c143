"""The smallest case: s = a + b, y = s b. Each value with its gradient below, on each arrow the
local derivative. b is used twice, so two paths lead back to it: 3 · 1 + 5 = 8.

Four boxes, each with a name, a value and below it a gradient. a: 2 with 3, and b: 3 with 8, at the
left. s: 5 with 3, in the middle. y: 15 with 1, at the right. Arrows lead from a to s, from b to s,
from s to y and, passing below s, from b to y. Their local derivatives are 1, 1, 3 and 5.
"""

import matplotlib.pyplot as plt

from lexicon.foundations.computational_graph import Value

a, b = Value(2.0), Value(3.0)
s = a + b
y = s * b
y.backward()

fig, ax = plt.subplots(figsize=(5.6, 2.9))
places = {"a": (0, 1), "b": (0, -1), "s = a + b": (2.1, 1), "y = s b": (4.2, 0)}
values = dict(zip(places, (a, b, s, y), strict=True))
where = {id(values[name]): place for name, place in places.items()}
for name, value in values.items():
    at_x, at_y = places[name]
    ax.add_patch(plt.Rectangle((at_x - 0.42, at_y - 0.5), 0.84, 1.0, fill=False))
    ax.text(at_x, at_y + 0.63, name, ha="center")
    ax.text(at_x, at_y + 0.22, f"{value.data:g}", ha="center", va="center")
    ax.text(at_x, at_y - 0.22, f"{value.grad:g}", ha="center", va="center", color="C1")
    for used, slope in value.inputs:
        from_x, from_y = where[id(used)]
        ax.annotate(
            "",
            (at_x - 0.45, at_y),
            (from_x + 0.45, from_y),
            arrowprops={"arrowstyle": "->", "color": "black"},
        )
        part = 0.36 if used is b and value is s else 0.5
        middle = (from_x + part * (at_x - from_x), from_y + part * (at_y - from_y) + 0.14)
        ax.text(*middle, f"× {slope:g}", ha="right" if part < 0.5 else "center", color="C0")
ax.text(2.1, -1.35, "value", ha="right")
ax.text(2.2, -1.35, "gradient", color="C1")
ax.text(3.25, -1.35, "× local derivative", color="C0")
ax.set(xlim=(-0.55, 4.75), ylim=(-1.55, 1.9))
ax.axis("off")
