"""Mixed precision computes in float16, keeps the weights in float32, and scales the loss between.

A float16 takes half the bytes, but ends at 65,504 above, and below 6e-8 comes 0. Gradients of a
trained network are smaller than that. So multiply the loss by a scale S before backward, which by
the chain rule multiplies every gradient, and divide in float32 afterwards. The weights themselves
stay in float32, because float16 has 11 binary digits and loses updates below 1/4000 of a weight:

    forward:   W₁₆ = float16(W),   h = float16(x),   logits = float32(f₁₆(h))
    backward:  dW = float32(f₁₆.backward(float16(S · dlogits))) / S
    step:      all dW finite: W ← step(W, dW); after enough such steps in a row S ← 2S
               otherwise:     no step, S ← S / 2

Only `Linear` layers and layers without parameters run in float16; all others, sparse ones too, in
float32, as do sums over the batch. Types with more range and fewer digits, such as bfloat16, are
left out: NumPy has none.

References
----------
Micikevicius, P., et al. (2018). Mixed precision training. ICLR.
"""

import numpy as np

from lexicon.foundations.forward_pass import Layer, Sequential, named_layers
from lexicon.foundations.linear_layer import Linear
from lexicon.training.gradient_descent import Optimizer

__all__ = ["HalfPrecision", "LossScaling"]

_LOWEST_SCALE = 2.0**-24


class HalfPrecision(Sequential):
    """Run a float32 network in float16, and train its float32 weights.

    Parameters
    ----------
    network : Sequential
        All parameters float32. They stay where they are: an optimiser updates them in place, and
        at the end `network` itself is the trained float32 network.
    scale : float, default 65536.0
        S, a power of two, so that scaling changes no digit, from 2⁻¹²⁶ to 2¹²⁷.

    Attributes
    ----------
    layers : list of Layer
        Those of `network`; their `params` are the float32 masters, their `grads` unscaled float32.
    scale : float
        S; may be changed between a backward and the next.

    Raises
    ------
    TypeError
        If a parameter is not float32.
    ValueError
        If `scale` is not a power of two in that range.
    """

    def __init__(self, network: Sequential, *, scale: float = 65536.0) -> None:
        for name, theta in network.params.items():
            if theta.dtype != np.float32:
                raise TypeError(f"network must be float32, but {name} is {theta.dtype}")
        if not 2.0**-126 <= scale <= 2.0**127 or np.frexp(scale)[0] != 0.5:
            raise ValueError(f"scale must be a power of two that float32 holds, got {scale}")
        super().__init__(network.layers)
        self.scale = scale
        self._halves = {
            name: Linear(*(np.zeros(theta.shape, np.float16) for theta in layer.params.values()))
            for name, layer in named_layers(network)
            if type(layer) is Linear
        }

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Round the batch and the weights to float16 and send the one through the other.

        Parameters
        ----------
        x : ndarray of float32, shape (N, in)
            A batch.

        Returns
        -------
        ndarray of float32, shape (N, out)
            The last layer's output; infinite where float16 overflowed.

        Raises
        ------
        TypeError
            If `x` is not float32.
        ValueError
            As the layer that meets a batch it cannot take.
        """
        if x.dtype != np.float32:
            raise TypeError(f"x must be float32, got {x.dtype}")
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is how an overflow shows
            for name, layer in named_layers(self):
                if half := self._halves.get(name):
                    for key, master in layer.params.items():
                        half.params[key][:] = master
                    x = half.forward(x.astype(np.float16, copy=False))
                else:
                    x = layer.forward(x.astype(_kind(layer), copy=False))
            return x.astype(np.float32)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Scale the gradient, send it back in float16, and unscale what arrives in float32.

        Parameters
        ----------
        dy : ndarray of float32, shape (N, out)
            The gradient of the loss, unscaled, with respect to the output.

        Returns
        -------
        ndarray of float32, shape (N, in)
            The gradient with respect to the input, unscaled; not finite after an overflow, and
            `grads` likewise.

        Raises
        ------
        RuntimeError
            If no `forward` came before.
        TypeError
            If `dy` is not float32.
        ValueError
            If its shape does not fit.
        """
        if dy.dtype != np.float32:
            raise TypeError(f"dy must be float32, got {dy.dtype}")
        with np.errstate(over="ignore", invalid="ignore"):
            dy = dy * np.float32(self.scale)
            for name, layer in reversed([*named_layers(self)]):
                if half := self._halves.get(name):
                    rounded = dy.astype(np.float16, copy=False)
                    dy = half.backward(rounded)
                    layer.grads["weight"] = half.grads["weight"].astype(np.float32)
                    # A sum that grows in float16 loses digits: 2048 + 1 is 2048 there.
                    layer.grads["bias"] = rounded.sum(axis=0, dtype=np.float32)
                    half.grads = {}
                else:
                    dy = layer.backward(dy.astype(_kind(layer), copy=False))
                for gradient in layer.grads.values():
                    gradient /= np.float32(self.scale)
            return dy.astype(np.float32) / np.float32(self.scale)


class LossScaling:
    """An optimiser that skips a step after an overflow, and finds the loss scale by trying.

    Parameters
    ----------
    network : HalfPrecision
        Whose gradients are looked at, and whose `scale` is adapted.
    optimizer : Optimizer
        Made for this network; takes the steps.
    growth_interval : int, default 2000
        After how many steps in a row without an overflow the scale doubles, at least 1.

    Attributes
    ----------
    good : int
        Steps taken since the scale last changed.
    skipped : int
        Steps skipped so far.

    Raises
    ------
    ValueError
        If `growth_interval` is below 1.
    """

    def __init__(
        self, network: HalfPrecision, optimizer: Optimizer, *, growth_interval: int = 2000
    ) -> None:
        if growth_interval < 1:
            raise ValueError(f"growth_interval must be at least 1, got {growth_interval}")
        self.network = network
        self.optimizer = optimizer
        self.growth_interval = growth_interval
        self.good = 0
        self.skipped = 0

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the optimiser inside, which may be set here."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        self.optimizer.learning_rate = learning_rate

    def step(self) -> None:
        """Step if every gradient is finite, otherwise halve the scale and leave the weights.

        Raises
        ------
        FloatingPointError
            If the scale would fall below 2⁻²⁴: no scale can help then. Nothing is changed.
        RuntimeError
            As the optimiser inside.
        """
        if all(np.isfinite(gradient).all() for gradient in self.network.grads.values()):
            self.optimizer.step()
            self.good += 1
            if self.good == self.growth_interval:
                self.network.scale *= 2
                self.good = 0
        elif self.network.scale <= _LOWEST_SCALE:
            raise FloatingPointError("gradients are not finite at any scale of the loss")
        else:
            self.network.scale /= 2
            self.good = 0
            self.skipped += 1

    def follow(self, name: str, source: np.ndarray) -> None:
        """Tell the optimiser inside where a parameter's positions went.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.
        """
        self.optimizer.follow(name, source)


def _kind(layer: Layer) -> type[np.floating]:
    return np.float32 if layer.params else np.float16
