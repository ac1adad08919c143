"""Runs the file of a figure, and prints what it drew as SVG."""

import runpy
import sys

import matplotlib as mpl
from cycler import cycler
from palette import COLOURS

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap

# Plasma without its ends, of which one vanishes on black and the other on white.
mpl.colormaps.register(ListedColormap(mpl.colormaps["plasma"](range(45, 225)), "lexicon"))
mpl.rcParams.update(
    {
        # The page gives these colours and black the tones of its palette.
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": "medium",
        "figure.constrained_layout.use": True,
        "figure.figsize": (5.6, 3.0),  # narrow, so that its text is still legible on a phone
        "font.size": 10.0,
        "image.cmap": "lexicon",
        "image.interpolation": "nearest",
        "legend.frameon": False,
        "savefig.transparent": True,
        "svg.fonttype": "none",  # text stays text: it can be selected, searched and enlarged
        "svg.hashsalt": "lexicon",  # the same picture gives the same bytes
    }
)
runpy.run_path(sys.argv[1])
plt.savefig(sys.stdout.buffer, format="svg", metadata={"Date": None})
