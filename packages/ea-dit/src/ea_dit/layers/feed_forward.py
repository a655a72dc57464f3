"""The token-wise MLPs."""

from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.rounding import Activations


class FeedForward(nn.Module):
    """Linear up, tanh-approximated GELU, Linear down.

    Args:
        width: Width of the tokens.
        hidden: Width in between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x_BLD: Activations) -> Tensor:
        """Returns the update, same shape."""
        return self.down(ops.gelu(self.up(x_BLD), tanh=True, reuse=True))


class GatedFeedForward(nn.Module):
    """Linear to values and gates, value * exact GELU of the gate, Linear down.

    Args:
        width: Width of the tokens.
        hidden: Width in between, of the values and of the gates.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Returns the update, same shape."""
        return self.down(ops.geglu(self.up(x_BLD)))
