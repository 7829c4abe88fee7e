"""Sequence models for invariant channels: the selective state-space block, and conditioning on a context.

The block is that of A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", arXiv:2312.00752
(2023). With u the input, d channels inside, and N states for each of them,

    (x, z) = in_proj u,     x = silu(causal convolution of x),     (s, B, C) = x_proj x,     dt = softplus(dt_proj s)
    h <- exp(-dt exp(A_log)) h + dt B x,     y = (C.h + D x) silu(z),     output = out_proj y

Its parameters have the names and shapes of ``mamba_ssm.Mamba`` of the package mamba-ssm, so that weights go from one to
the other. What it depends on of the past is an explicit state, so that a sequence may be run in pieces, as time steps
come.

Gates and activations act on single channels and therefore break equivariance if applied to components of vectors:
channels here must be scalars, which do not change when the molecule is turned.
"""

import importlib
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Annotations are evaluated here, unlike elsewhere: TorchScript looks into those of MambaState.

# Time constants at the start of training lie between these, in steps.
_SHORTEST, _LONGEST = 1e-3, 1e-1


class MambaState(NamedTuple):
    """What of the past the next outputs depend on.

    Attributes:
        recent: last inputs of the convolution [B,d,kernel_size-1].
        hidden: h [B,d,N].
    """

    recent: Tensor
    hidden: Tensor


class Mamba(nn.Module):
    """The block; scriptable.

    Args:
        width: channels of input and output.
        state_size: N.
        kernel_size: of the convolution in time.
        expansion: d / width.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, width: int, state_size: int = 16, kernel_size: int = 4, expansion: int = 2) -> None:
        super().__init__()
        if min(width, state_size, kernel_size, expansion) < 1:
            raise ValueError("width, state_size, kernel_size and expansion must be at least 1")
        inner = expansion * width
        self.width = width
        self.inner = inner
        self.state_size = state_size
        self.kernel_size = kernel_size
        self.rank = math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel_size, groups=inner, padding=kernel_size - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log().expand(inner, state_size).clone())
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        with torch.no_grad():
            nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
            steps = torch.empty(inner).uniform_(math.log(_SHORTEST), math.log(_LONGEST)).exp()
            # The inverse of softplus.
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, sequence: Tensor) -> Tensor:
        """Outputs [B,T,width] for a whole sequence [B,T,width] that begins at rest; as in mamba-ssm."""
        output, _ = self.advance(sequence, self.initial_state(sequence.size(0)))
        return output

    @torch.jit.export
    def initial_state(self, batch: int) -> MambaState:
        """The state of rest for so many sequences."""
        return MambaState(
            self.D.new_zeros([batch, self.inner, self.kernel_size - 1]),
            self.D.new_zeros([batch, self.inner, self.state_size]),
        )

    @torch.jit.export
    def advance(self, sequence: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Continue sequences.

        Args:
            sequence: next inputs [B,T,width].
            state: after those before, or :meth:`initial_state`.

        Returns:
            Outputs [B,T,width] and the state after them.
        """
        if sequence.dim() != 3 or sequence.size(2) != self.width:
            raise ValueError(f"sequences must be [batch,time,{self.width}], got shape {list(sequence.shape)}")
        if sequence.size(1) == 0:
            return sequence, state
        inputs, gate = self.in_proj(sequence).chunk(2, dim=-1)
        extended = torch.cat([state.recent, inputs.transpose(1, 2)], dim=2)
        convolved = functional.conv1d(extended, self.conv1d.weight, self.conv1d.bias, groups=self.inner)
        x = functional.silu(convolved.transpose(1, 2))
        low, drive, read = torch.split(self.x_proj(x), [self.rank, self.state_size, self.state_size], dim=-1)
        dt = functional.softplus(self.dt_proj(low))
        decays = torch.exp(-dt.unsqueeze(-1) * torch.exp(self.A_log)).unbind(1)
        drives = ((dt * x).unsqueeze(-1) * drive.unsqueeze(2)).unbind(1)
        reads = read.unsqueeze(2).unbind(1)
        hidden = state.hidden
        outputs: list[Tensor] = []
        for decay, driven, reading in zip(decays, drives, reads):  # noqa: B905 (TorchScript knows no strict=)
            hidden = decay * hidden + driven
            outputs.append((hidden * reading).sum(-1))
        y = self.D * x + torch.stack(outputs, dim=1)
        kept = extended[:, :, extended.size(2) - (self.kernel_size - 1) :]
        return self.out_proj(y * functional.silu(gate)), MambaState(kept, hidden)

    @torch.jit.export
    def step(self, value: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """One step of time: input [B,width] to output [B,width] and the state after it."""
        output, following = self.advance(value.unsqueeze(1), state)
        return output.squeeze(1), following


def create_mamba(
    width: int,
    state_size: int = 16,
    kernel_size: int = 4,
    expansion: int = 2,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """A block for whole sequences, ``forward(sequence [B,T,width])``, on a device.

    On a CUDA device, where mamba-ssm can be imported, it is that package's own block with its fused kernels, for
    training; everywhere else it is :class:`Mamba`. Their state_dicts are interchangeable, so that what was trained with
    the one is run step by step and exported with the other.
    """
    place = torch.device(device)
    own = Mamba(width, state_size, kernel_size, expansion)
    if place.type == "cuda":
        try:
            fused = importlib.import_module("mamba_ssm").Mamba
        except (ImportError, AttributeError, OSError):
            # Also installed without a fitting compiled kernel, which shows in several ways.
            return own.to(place)
        block: nn.Module = fused(d_model=width, d_state=state_size, d_conv=kernel_size, expand=expansion, device=place)
        # Some of its versions limit the number of channels inside; weights of such a block would fit nowhere else.
        if _shapes(block) == _shapes(own):
            return block
    return own.to(place)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


class FiLM(nn.Module):
    """Scale and shift of invariant channels by a context: ``(1 + a) x + b`` with ``(a, b)`` linear in the context.

    In the beginning it changes nothing. After E. Perez et al., "FiLM: visual reasoning with a general conditioning
    layer", arXiv:1709.07871 (2017).

    Args:
        context: numbers in the context.
        channels: to be scaled and shifted; scalars, see the module.
    """

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear = nn.Linear(context, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Args: x [B,T,channels] or [B,channels]; context of each sequence [B,context], or as many dimensions as x."""
        if x.size(-1) != self.channels:
            raise ValueError(f"this layer is for {self.channels} channels, got shape {list(x.shape)}")
        values = self.linear(context)
        if values.dim() < x.dim():
            values = values.unsqueeze(1)
        scale, shift = values.chunk(2, dim=-1)
        return (1.0 + scale) * x + shift
