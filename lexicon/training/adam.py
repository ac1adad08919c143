"""Adam divides each parameter's averaged gradient by its usual size: all step about equally far.

One learning rate for all is too long where gradients are large and too short where they are
small. RMSProp divides each gradient by a running root mean square of its own. Adam also averages
the gradient itself, and divides both averages by the share of them that is filled so far, because
they start at 0:

    RMSProp:  v ← βv + (1-β)g²         θ ← θ - η (g / (√v + ε) + λθ)
    Adam:     m ← β₁m + (1-β₁)g        m̂ = m / (1 - β₁ᵗ)
              v ← β₂v + (1-β₂)g²       v̂ = v / (1 - β₂ᵗ)
              θ ← θ - η (m̂ / (√v̂ + ε) + λθ)

t counts the steps of a parameter. The decay λθ stands outside of the division (AdamW), for weights
only. AMSGrad's running maximum of v is left out.

References
----------
Tieleman, T., Hinton, G. (2012). Lecture 6.5: rmsprop, divide the gradient by a running average of
    its recent magnitude. Coursera, Neural Networks for Machine Learning.
Kingma, D., Ba, J. (2015). Adam: a method for stochastic optimization. ICLR.
Reddi, S., Kale, S., Kumar, S. (2018). On the convergence of Adam and beyond. ICLR.
Loshchilov, I., Hutter, F. (2019). Decoupled weight decay regularization. ICLR.
"""

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.training.momentum import carry
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent

__all__ = ["Adam", "RMSProp"]


class RMSProp(StochasticGradientDescent):
    """Divide every gradient by a running root mean square of its own.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`.
    learning_rate : float
        η, above 0, about as far as a parameter moves in a step; may be changed between steps.
    beta : float, default 0.9
        How much of the running mean survives a step, in [0, 1).
    epsilon : float, default 1e-8
        ε, above 0: gradients well below it are not scaled up any further.
    weight_decay : float, default 0.0
        λ, 0 or above: also steps towards zero, undivided. Applied to weights, never to biases.

    Attributes
    ----------
    v : dict of str to ndarray
        Running means of the squared gradients, named and shaped like ``network.params``.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    def __init__(
        self,
        network: Layer,
        *,
        learning_rate: float,
        beta: float = 0.9,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, learning_rate=learning_rate, weight_decay=weight_decay)
        _check("beta", beta, epsilon)
        self.beta = beta
        self.epsilon = epsilon
        self.v = {name: np.zeros_like(theta) for name, theta in network.params.items()}

    def step(self) -> None:
        """Take one step with the gradients of the last backward.

        Raises
        ------
        RuntimeError
            If no backward came before, a gradient is not shaped like its parameter or is sparse,
            or a parameter changed its size and `follow` was not told; nothing is changed then.
        """
        params, grads = self._checked()
        _check_fresh(params, self.v)
        for name, theta in params.items():
            g, v = grads[name], self.v[name]
            v *= self.beta
            v += (1 - self.beta) * g * g
            update = g / (np.sqrt(v) + self.epsilon)
            if self.weight_decay and name.endswith("weight"):
                update += self.weight_decay * theta
            theta -= self.learning_rate * update

    def follow(self, name: str, source: np.ndarray) -> None:
        """Carry the running means of a parameter to its new positions; new ones start at 0.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.

        Raises
        ------
        ValueError
            As `carry`; nothing is changed then.
        """
        carry(self.v, name, source)


class Adam(StochasticGradientDescent):
    """Divide the averaged gradient by the root of the averaged square, without the bias of both.

    Parameters
    ----------
    network : Layer
        One layer or a `Sequential`.
    learning_rate : float, default 0.001
        η, above 0, about as far as a parameter moves in a step; may be changed between steps.
    beta1, beta2 : float, default 0.9 and 0.999
        How much of m and of v survives a step, each in [0, 1).
    epsilon : float, default 1e-8
        ε, above 0: gradients well below it are not scaled up any further.
    weight_decay : float, default 0.0
        λ, 0 or above: also steps towards zero, undivided. Applied to weights, never to biases.

    Attributes
    ----------
    m, v : dict of str to ndarray
        Running means of the gradients and of their squares, named and shaped like
        ``network.params``; zeros at first.
    steps : dict of str to ndarray of int
        t, one number for a parameter; one for each position once `follow` was called.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    def __init__(
        self,
        network: Layer,
        *,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, learning_rate=learning_rate, weight_decay=weight_decay)
        _check("beta1", beta1, epsilon)
        _check("beta2", beta2, epsilon)
        self.beta1, self.beta2 = beta1, beta2
        self.epsilon = epsilon
        self.m = {name: np.zeros_like(theta) for name, theta in network.params.items()}
        self.v = {name: np.zeros_like(theta) for name, theta in network.params.items()}
        self.steps = {name: np.zeros((), np.int32) for name in network.params}

    def step(self) -> None:
        """Take one step with the gradients of the last backward.

        Raises
        ------
        RuntimeError
            If no backward came before, a gradient is not shaped like its parameter or is sparse,
            or a parameter changed its size and `follow` was not told; nothing is changed then.
        """
        params, grads = self._checked()
        _check_fresh(params, self.v)
        for name, theta in params.items():
            g, m, v, t = grads[name], self.m[name], self.v[name], self.steps[name]
            t += 1
            m *= self.beta1
            m += (1 - self.beta1) * g
            v *= self.beta2
            v += (1 - self.beta2) * g * g
            m_hat = m / (1 - self.beta1**t).astype(theta.dtype)
            v_hat = v / (1 - self.beta2**t).astype(theta.dtype)
            update = m_hat / (np.sqrt(v_hat) + self.epsilon)
            if self.weight_decay and name.endswith("weight"):
                update += self.weight_decay * theta
            theta -= self.learning_rate * update

    def follow(self, name: str, source: np.ndarray) -> None:
        """Carry all that is kept for a parameter to its new positions; new ones start anew.

        Parameters
        ----------
        name : str
            The parameter, as in ``network.params``.
        source : ndarray of int, shape (new size,)
            For every new position the old one that it continues, or -1.

        Raises
        ------
        ValueError
            As `carry`; nothing is changed then.
        """
        carry(self.m, name, source)  # first of all, because it looks before it changes anything
        self.steps[name] = np.full(self.v[name].shape, self.steps[name])
        carry(self.v, name, source)
        carry(self.steps, name, source)


def _check(name: str, beta: float, epsilon: float) -> None:
    if not 0 <= beta < 1:
        raise ValueError(f"{name} must be in [0, 1), got {beta}")
    if not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon must be above 0 and finite, got {epsilon}")


def _check_fresh(params: dict[str, np.ndarray], kept: dict[str, np.ndarray]) -> None:
    for name, theta in params.items():
        if kept[name].shape != theta.shape:
            raise RuntimeError(f"v of {name} is stale: call follow when positions move")
