"""The selective state-space block and its conditioning: against a plain recurrence, in pieces, gradients, names."""

from __future__ import annotations

import io
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kstep_models.experimental.mamba import FiLM, Mamba, MambaState, create_mamba

WIDTH, STATES, KERNEL, EXPANSION = 3, 5, 4, 2
RealArray = NDArray[np.float64]


def block(seed: int = 0) -> Mamba:
    """With weights away from their initial values, so that each of them counts."""
    torch.manual_seed(seed)
    result = Mamba(WIDTH, STATES, KERNEL, EXPANSION).double()
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        result.dt_proj.bias.add_(2.0)
    return result


def sequence(batch: int = 2, steps: int = 9, seed: int = 1) -> Tensor:
    return torch.randn(batch, steps, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain(module: Mamba, values: RealArray) -> RealArray:
    """Outputs [T,width] for one sequence, number by number as the equations are written."""
    weights = {name: tensor.detach().numpy() for name, tensor in module.named_parameters()}
    inner, rank = EXPANSION * WIDTH, 1

    def silu(x: RealArray) -> RealArray:
        return x / (1.0 + np.exp(-x))

    inputs = values @ weights["in_proj.weight"].T
    hidden = np.zeros((inner, STATES))
    outputs = []
    for t in range(len(values)):
        x = np.zeros(inner)
        for d in range(inner):
            total = weights["conv1d.bias"][d]
            for k in range(KERNEL):
                past = t - (KERNEL - 1) + k
                if past >= 0:
                    total += weights["conv1d.weight"][d, 0, k] * inputs[past, d]
            x[d] = total
        x = silu(x)
        mixed = weights["x_proj.weight"] @ x
        dt = np.log1p(np.exp(weights["dt_proj.weight"] @ mixed[:rank] + weights["dt_proj.bias"]))
        y = np.zeros(inner)
        for d in range(inner):
            for n in range(STATES):
                decay = np.exp(-dt[d] * np.exp(weights["A_log"][d, n]))
                hidden[d, n] = decay * hidden[d, n] + dt[d] * mixed[rank + n] * x[d]
                y[d] += mixed[rank + STATES + n] * hidden[d, n]
            y[d] += weights["D"][d] * x[d]
        outputs.append(weights["out_proj.weight"] @ (y * silu(inputs[t, inner:])))
    return np.array(outputs)


def test_equals_the_plain_recurrence() -> None:
    module, values = block(), sequence()
    expected = np.stack([plain(module, part.numpy()) for part in values])
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(module(values).detach().numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("lengths", [[9], [1, 8], [2, 2, 5], [0, 4, 5], [1] * 9])
def test_in_pieces(lengths: list[int]) -> None:
    module, values = block(), sequence()
    whole, end = module.advance(values, module.initial_state(2))
    state, parts = module.initial_state(2), []
    for piece in values.split(lengths, dim=1):
        output, state = module.advance(piece, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(state.hidden, end.hidden, rtol=0, atol=1e-14)
    torch.testing.assert_close(state.recent, end.recent, rtol=0, atol=1e-14)


def test_step_is_a_piece_of_length_one() -> None:
    module, values = block(), sequence()
    _, state = module.advance(values[:, :5], module.initial_state(2))
    output, following = module.step(values[:, 5], state)
    expected, other = module.advance(values[:, 5:6], state)
    assert torch.equal(output, expected[:, 0])
    assert torch.equal(following.hidden, other.hidden) and torch.equal(following.recent, other.recent)


def test_no_output_depends_on_later_inputs() -> None:
    module, values = block(), sequence()
    changed = values.clone()
    changed[:, 6:] += 1.0
    before, after = module(values), module(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert float((before[:, 6:] - after[:, 6:]).detach().abs().min()) > 0


def test_a_kernel_of_one_needs_no_recent_inputs() -> None:
    module = Mamba(WIDTH, STATES, kernel_size=1).double()
    whole, _ = module.advance(sequence(), module.initial_state(2))
    first, state = module.advance(sequence()[:, :4], module.initial_state(2))
    rest, _ = module.advance(sequence()[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, rtol=0, atol=1e-14)


def test_scripted_saved_and_loaded() -> None:
    module = block()
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    stream.seek(0)
    loaded = torch.jit.load(stream)
    torch.testing.assert_close(loaded(sequence()), module(sequence()), rtol=0, atol=1e-14)
    state = loaded.initial_state(2)
    for t in range(3):
        output, state = loaded.step(sequence()[:, t], state)
    torch.testing.assert_close(output, module(sequence())[:, 2], rtol=0, atol=1e-14)


def test_gradients() -> None:
    module = block()
    names = [name for name, _ in module.named_parameters()]

    def run(values: Tensor, recent: Tensor, hidden: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, parameters, strict=True))
        caller = _Advance(module)
        output, state = torch.func.functional_call(
            caller, {f"module.{name}": value for name, value in weights.items()}, (values, recent, hidden)
        )
        return output, state.recent, state.hidden

    random = torch.Generator().manual_seed(5)
    inputs = [
        sequence(1, 3),
        torch.randn(1, 6, KERNEL - 1, dtype=torch.float64, generator=random),
        torch.randn(1, 6, STATES, dtype=torch.float64, generator=random),
        *(parameter.detach().clone() for parameter in module.parameters()),
    ]
    assert torch.autograd.gradcheck(run, [value.requires_grad_(True) for value in inputs])


class _Advance(nn.Module):
    """So that the parameters may be given from outside."""

    def __init__(self, module: Mamba) -> None:
        super().__init__()
        self.module = module

    def forward(self, values: Tensor, recent: Tensor, hidden: Tensor) -> tuple[Tensor, MambaState]:
        return self.module.advance(values, MambaState(recent, hidden))


def test_names_and_shapes_of_mamba_ssm() -> None:
    """Those of mamba_ssm.Mamba(d_model=40, d_state=8): dt_rank is 40 / 16 rounded up, d_inner 80."""
    shapes = {name: tuple(value.shape) for name, value in Mamba(40, 8).state_dict().items()}
    assert shapes == {
        "A_log": (80, 8),
        "D": (80,),
        "in_proj.weight": (160, 40),
        "conv1d.weight": (80, 1, 4),
        "conv1d.bias": (80,),
        "x_proj.weight": (3 + 16, 80),
        "dt_proj.weight": (80, 3),
        "dt_proj.bias": (80,),
        "out_proj.weight": (40, 80),
    }


def test_memory_at_the_start_of_training() -> None:
    """Time steps between a thousandth and a tenth, decay rates 1, 2, ... N for every channel."""
    torch.manual_seed(0)
    module = Mamba(64, STATES)
    steps = nn.functional.softplus(module.dt_proj.bias)
    assert float(steps.min()) > 9e-4 and float(steps.max()) < 0.11
    torch.testing.assert_close(torch.exp(module.A_log), torch.arange(1.0, STATES + 1).expand(128, STATES))


class Fused(Mamba):
    """Stands for mamba_ssm.Mamba where there is no GPU: the same arguments and parameters, channels limited to 256."""

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int, device: torch.device) -> None:
        super().__init__(d_model, d_state, d_conv, expand)
        self.place = device
        if self.inner > 256:
            self.D = nn.Parameter(torch.ones(256))


def test_the_block_of_mamba_ssm_is_used_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("mamba_ssm")
    package.Mamba = Fused  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mamba_ssm", package)
    monkeypatch.setattr(Mamba, "to", lambda self, place: self)
    assert type(create_mamba(WIDTH, STATES)) is Mamba
    fused = create_mamba(WIDTH, STATES, kernel_size=3, expansion=1, device="cuda:0")
    assert isinstance(fused, Fused)
    assert fused.place == torch.device("cuda:0")
    assert (fused.width, fused.state_size, fused.kernel_size, fused.inner) == (WIDTH, STATES, 3, WIDTH)
    own = Mamba(WIDTH, STATES, 3, 1)
    own.load_state_dict(fused.state_dict())
    assert type(create_mamba(200, STATES, device="cuda")) is Mamba


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_weights_go_from_one_to_the_other() -> None:
    torch.manual_seed(0)
    other = create_mamba(16, 8, device="cuda")
    own = Mamba(16, 8)
    own.load_state_dict(other.state_dict())
    values = torch.randn(2, 32, 16)
    torch.testing.assert_close(other(values.cuda()).cpu(), own(values), rtol=1e-3, atol=1e-4)


def test_without_mamba_ssm_a_gpu_gets_the_own_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    moved: list[torch.device] = []
    monkeypatch.setattr(Mamba, "to", lambda self, place: moved.append(place) or self)
    assert isinstance(create_mamba(WIDTH, STATES, device="cuda"), Mamba)
    assert moved == [torch.device("cuda")]


def test_unsuitable_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Mamba(0)
    with pytest.raises(ValueError, match=r"must be \[batch,time,3\]"):
        block()(torch.zeros(2, 4, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="for 4 channels"):
        FiLM(2, 4)(torch.zeros(1, 3), torch.zeros(1, 2))


def conditioning() -> FiLM:
    torch.manual_seed(3)
    layer = FiLM(2, WIDTH).double()
    nn.init.normal_(layer.linear.weight)
    nn.init.normal_(layer.linear.bias)
    return layer


def test_conditioning_scales_and_shifts() -> None:
    layer, x = conditioning(), sequence()
    context = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=torch.float64)
    weight, bias = (value.detach().numpy() for value in (layer.linear.weight, layer.linear.bias))
    values = context.numpy() @ weight.T + bias
    expected = (1 + values[:, None, :WIDTH]) * x.numpy() + values[:, None, WIDTH:]
    for given in (context, context.unsqueeze(1).expand(2, 9, 2)):
        np.testing.assert_allclose(layer(x, given).detach().numpy(), expected, atol=1e-14)
    np.testing.assert_allclose(layer(x[:, 0], context).detach().numpy(), expected[:, 0], atol=1e-14)
    scripted = torch.jit.script(layer)
    assert torch.equal(scripted(x, context), layer(x, context))


def test_conditioning_changes_nothing_at_first() -> None:
    x = sequence()
    assert torch.equal(FiLM(2, WIDTH).double()(x, torch.ones(2, 2, dtype=torch.float64)), x)


def test_gradients_of_conditioning() -> None:
    layer = conditioning()
    x, context = sequence(1, 2).requires_grad_(True), torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    weight, bias = layer.linear.weight.detach().clone(), layer.linear.bias.detach().clone()

    def run(x: Tensor, context: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(layer, {"linear.weight": weight, "linear.bias": bias}, (x, context))
        return result

    assert torch.autograd.gradcheck(run, (x, context, weight.requires_grad_(True), bias.requires_grad_(True)))
