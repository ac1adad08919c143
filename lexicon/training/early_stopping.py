"""Early stopping ends training when the validation loss has turned, and keeps the best network.

The training loss can fall as long as anything is left to memorise. The loss on a validation set
falls only with what holds for other samples too, and turns. One bad epoch may be noise, so
patience is counted since the best:

    better    loss < best loss - min_delta       then keep a copy of the network
    stop      when the best is `patience` epochs old

Fewer steps also act like a pull towards the start. From 0, down a parabola with curvature κ and
minimum m, t steps of gradient descent have gone a share of the way, as L2 regularisation would:

    θₜ = (1 - (1 - ηκ)ᵗ) m        L2: κ / (κ + λ) m        nearly equal where λ = 1 / (ηt)

Rules that look at the slope of the curve are left out, and so is training anew on all samples.

References
----------
Prechelt, L. (1998). Early stopping, but when? Neural Networks: Tricks of the Trade, Springer.
Goodfellow, I., Bengio, Y., Courville, A. (2016). Deep Learning, section 7.8. MIT Press.
"""

from copy import deepcopy

import numpy as np

from lexicon.foundations.forward_pass import Layer
from lexicon.training.training_loop import Epoch

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Say when the validation loss has not improved for some epochs: the `stop` of `train`.

    Parameters
    ----------
    network : Layer
        The network that is trained; only copied.
    patience : int
        How many epochs in a row may pass without a better one, at least 1.
    min_delta : float, default 0.0
        The loss must fall below the best by more than this to count as better; 0 or above.

    Attributes
    ----------
    best : Layer
        A copy of the whole network after the best epoch, connections and all else included; of
        the network as it was given before the first finite loss.
    best_loss : float
        The validation loss of that epoch; infinity at first.
    best_epoch : int
        Its number, counted from 1 over all calls; 0 at first.

    Raises
    ------
    ValueError
        If `patience` or `min_delta` is out of range.
    """

    def __init__(self, network: Layer, *, patience: int, min_delta: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        if not 0 <= min_delta < np.inf:
            raise ValueError(f"min_delta must be 0 or above and finite, got {min_delta}")
        self.network = network
        self.patience = patience
        self.min_delta = min_delta
        self.best = deepcopy(network)
        self.best_loss = np.inf
        self.best_epoch = 0
        self._epochs = 0

    def __call__(self, history: list[Epoch]) -> bool:
        """Look at the last epoch; keep a copy of the network if it is the best so far.

        Parameters
        ----------
        history : list of Epoch
            What `train` has seen so far, the last epoch last. Each call counts as one epoch.

        Returns
        -------
        bool
            True if the best epoch is `patience` epochs old: time to stop.

        Raises
        ------
        ValueError
            If there is no epoch, or it has no validation loss; nothing is changed then.
        """
        if not history or history[-1].validation_loss is None:
            raise ValueError("history must end with a validation loss: give train a validation set")
        loss = history[-1].validation_loss
        self._epochs += 1
        if loss < self.best_loss - self.min_delta:
            self.best, self.best_loss = deepcopy(self.network), loss
            self.best_epoch = self._epochs
        return self._epochs - self.best_epoch >= self.patience
